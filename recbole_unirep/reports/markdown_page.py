"""A report as one Markdown page (GitHub's kind), its figures as files beside it."""

import re

from recbole_unirep.reports.document import Cell, Code, Picture, Report, Table

MARKUP = re.compile(r"([\\*_\[\]<>|~]|&(?=#?\w+;))")
BLOCK_MARK = re.compile(r"^(-+|\+|#{1,6}|\d+[.)])(?=\s|$)")  # would begin a list, a heading or a rule
CODE = re.compile(r"(`[^`\n]+`)")
NUMBER = re.compile(r"^[(\[]?([<>≤≥]\s?)?[-+−±]?[.\d]")


def markdown_page(report: Report, picture_paths: dict) -> str:
    """The page.

    Args:
        report (Report): checked by `report.write_report`.
        picture_paths (dict[str, str]): where the page finds the figure of each name.

    Returns:
        str: ends with a line break.
    """
    blocks = [f"# {escape(report.title)}"]
    for section in report.sections:
        blocks.append(f"## {escape(section.title)}")
        for part in section.parts:
            blocks.append(_block(part, picture_paths))
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Text in one line in which nothing but `code` is read as Markdown or HTML."""
    parts = CODE.split(" ".join(text.split()))
    escaped = "".join(part if i % 2 else MARKUP.sub(r"\\\1", part).replace("`", "\\`") for i, part in enumerate(parts))
    return BLOCK_MARK.sub(lambda match: f"{match[1][:-1]}\\{match[1][-1]}", escaped)


def is_number(text: str) -> bool:
    """Whether a cell of a table holds a number, and so stands to the right."""
    return bool(NUMBER.match(text.strip()))


def aligned_right(table: Table) -> list:
    """Whether each column has numbers, and nothing else but empty cells and n/a, bool, as many as headers."""
    columns = zip(*([_text(cell).strip() for cell in row] for row in table.rows))
    right = [any(map(is_number, column)) and all(map(_is_number_or_gap, column)) for column in columns]
    return right or [False] * len(table.headers)


def _is_number_or_gap(text):
    return is_number(text) or text in ("", "n/a", "-", "–", "—")


def _text(cell):
    return cell.text if isinstance(cell, Cell) else cell


def _block(part, picture_paths):
    if isinstance(part, Table):
        return markdown_table(part)
    if isinstance(part, Picture):
        return f"![{part.name}]({picture_paths[part.name]})\n\n{escape(part.caption)}"
    if isinstance(part, Code):
        return f"```\n{part.text.strip()}\n```"
    return escape(part)


def markdown_table(table: Table) -> str:
    """A table with its title and note."""
    rules = ["---:" if right else "---" for right in aligned_right(table)]
    lines = [_row(map(_cell, table.headers)), _row(rules), *(_row(map(_cell, row)) for row in table.rows)]
    blocks = [f"**{escape(table.title)}**"] * bool(table.title) + ["\n".join(lines)]
    return "\n\n".join(blocks + [escape(table.note)] * bool(table.note))


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _cell(cell):
    if not isinstance(cell, Cell):
        return _one_line(cell)
    text = _one_line(cell.text)
    text = f"**{text}**" if cell.bold and text else text
    return f"<ins>{text}</ins>" if cell.underline and text else text  # GitHub drops <u>


def _one_line(text):
    """In a cell a bar ends it even within code."""
    parts = CODE.split(escape(text))
    return "".join(part.replace("|", "\\|") if i % 2 else part for i, part in enumerate(parts))

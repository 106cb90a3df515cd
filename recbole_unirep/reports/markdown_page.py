"""Writes a report as one page of GitHub Flavored Markdown, with figures as separate files."""

import re

from recbole_unirep.reports.document import Cell, Code, Picture, Report, Table

MARKUP = re.compile(r"([\\*_\[\]<>|~]|&(?=#?\w+;))")
BLOCK_MARK = re.compile(r"^(-+|\+|#{1,6}|\d+[.)])(?=\s|$)")  # would start a list, a heading or a rule
CODE = re.compile(r"(`[^`\n]+`)")
NUMBER = re.compile(r"^[(\[]?([<>≤≥]\s?)?[-+−±]?[.\d]")


def markdown_page(report: Report, picture_paths: dict) -> str:
    """Renders a report as Markdown.

    Args:
        report (Report): checked by `report.write_report`.
        picture_paths (dict[str, str]): path of each figure by name, relative to the page.

    Returns:
        str: the page; ends with a line break.
    """
    blocks = [f"# {escape(report.title)}"]
    for section in report.sections:
        blocks.append(f"## {escape(section.title)}")
        for part in section.parts:
            blocks.append(_block(part, picture_paths))
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Joins text to one line and escapes Markdown and HTML in it, except `code`."""
    parts = CODE.split(" ".join(text.split()))
    escaped = "".join(part if i % 2 else MARKUP.sub(r"\\\1", part).replace("`", "\\`") for i, part in enumerate(parts))
    return BLOCK_MARK.sub(lambda match: f"{match[1][:-1]}\\{match[1][-1]}", escaped)


def is_number(text: str) -> bool:
    """True if a cell of a table holds a number."""
    return bool(NUMBER.match(text.strip()))


def aligned_right(table: Table) -> list:
    """True for each column of numbers, which may also have empty cells and n/a; one bool per header."""
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
    """Renders a table with its title and note."""
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
    """Escapes a cell; a bar would end the cell even within code."""
    parts = CODE.split(escape(text))
    return "".join(part.replace("|", "\\|") if i % 2 else part for i, part in enumerate(parts))

"""Writes a report as one Markdown page and one self-contained HTML page, with its figures.

    write_report(folder, Report("Beauty", [Section("Table 4", ["One `code` word.", Table(...), Picture(...)])]))

writes report.md, report.html and figures/NAME.png into the folder. This module does not import matplotlib, so a report
without figures does not need it.
"""

import re
from collections import Counter
from io import BytesIO
from pathlib import Path

from recbole_unirep.reports.document import Cell, Code, Part, Picture, Report, Section, Table
from recbole_unirep.reports.html_page import html_page
from recbole_unirep.reports.markdown_page import markdown_page

__all__ = ["Cell", "Code", "Part", "Picture", "Report", "Section", "Table", "write_report"]
NAME = re.compile(r"[\w-][\w.-]*")


def write_report(folder, report: Report) -> Path:
    """Writes report.md, report.html and figures/NAME.png; the same report gives the same bytes.

    Args:
        folder (str or Path): created if missing; overwrites a report in it.
        report (Report): the report to write.

    Returns:
        Path: path of the HTML page.

    Raises:
        ValueError: a row has more or fewer cells than headers, two figures have the same name, or a name cannot be that
            of a file.
    """
    _check(report)
    folder = Path(folder)
    pictures = {
        part.name: _png(part.figure) for section in report.sections for part in section.parts if _is_picture(part)
    }
    paths = {name: f"figures/{name}.png" for name in pictures}
    (folder / "figures" if pictures else folder).mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        (folder / paths[name]).write_bytes(png)
    (folder / "report.md").write_text(markdown_page(report, paths), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(html_page(report, pictures), encoding="utf-8")
    return page


def _check(report):
    parts = [part for section in report.sections for part in section.parts]
    for table in (part for part in parts if isinstance(part, Table)):
        for row in table.rows:
            if len(row) != len(table.headers):
                raise ValueError(
                    f"table '{table.title}' has {len(table.headers)} headers and a row of {len(row)} cells "
                    f"({_first(row)}, ...): give one cell per header"
                )
    names = Counter(part.name for part in parts if _is_picture(part))
    for name, count in names.items():
        if count > 1 or not NAME.fullmatch(name):
            raise ValueError(
                f"{count} of the figures are named '{name}': give each a unique name of letters, digits, _ - ."
            )


def _first(row):
    cell = row[0] if row else ""
    return cell.text if isinstance(cell, Cell) else cell


def _is_picture(part):
    return isinstance(part, Picture)


def _png(figure):
    if isinstance(figure, Path):
        return figure.read_bytes()
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()

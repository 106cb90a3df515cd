"""Parts of a report, independent of Markdown and HTML.

Texts are plain: the only markup is `words in backquotes`, which are set as code.
"""

from typing import Any, NamedTuple, Union


class Cell(NamedTuple):
    """A highlighted cell of a table; other cells are plain str.

    Attributes:
        text (str): content of the cell.
        bold (bool): for example the best value of a column.
        underline (bool): for example the second best value.
    """

    text: str
    bold: bool = False
    underline: bool = False


class Table(NamedTuple):
    """A table.

    Attributes:
        title (str): text above the table, "" for none.
        headers (list of str): one per column.
        rows (list of list of str or Cell): one cell per header; numbers are right-aligned.
        note (str): text below the table, "" for none.
    """

    title: str
    headers: list
    rows: list
    note: str = ""


class Picture(NamedTuple):
    """A figure.

    Attributes:
        name (str): stem of its file, of letters, digits, '_', '-' and '.', unique in a report.
        figure (matplotlib.figure.Figure or Path): the figure, or its PNG file.
        caption (str): text below the figure.
    """

    name: str
    figure: Any
    caption: str


class Chart(NamedTuple):
    """An interactive chart, for HTML pages only.

    Attributes:
        html (str): element that draws the chart; that of a page's first chart includes the library.
        caption (str): text below the chart.
    """

    html: str
    caption: str


class Code(NamedTuple):
    """Preformatted lines, such as commands."""

    text: str


class Section(NamedTuple):
    """A section of a report, with a heading.

    Attributes:
        title (str): the heading.
        parts (list of str, Table, Picture, Chart or Code): in reading order; a str is a paragraph.
    """

    title: str
    parts: list


class Report(NamedTuple):
    """A report.

    Attributes:
        title (str): title of the page.
        sections (list of Section): in reading order.
    """

    title: str
    sections: list


Part = Union[str, Table, Picture, Chart, Code]

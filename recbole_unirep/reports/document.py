"""What a report is made of, before it is Markdown or HTML.

Text is plain: nothing in it is markup, but `words between back quotes`, which are set as code.
"""

from typing import Any, NamedTuple


class Cell(NamedTuple):
    """A marked cell of a table; a plain str is an unmarked one.

    Attributes:
        text (str): what stands in it.
        bold (bool): such as the best of a column.
        underline (bool): such as the second.
    """

    text: str
    bold: bool = False
    underline: bool = False


class Table(NamedTuple):
    """A table.

    Attributes:
        title (str): above it; "" for none.
        headers (list of str): of the columns.
        rows (list of list of str or Cell): as wide as the headers; numbers stand to the right.
        note (str): below it; "" for none.
    """

    title: str
    headers: list
    rows: list
    note: str = ""


class Picture(NamedTuple):
    """A figure.

    Attributes:
        name (str): stem of its file, of letters, digits, '_', '-' and '.', once a report.
        figure (matplotlib.figure.Figure or Path): the drawing, or the PNG file that holds it.
        caption (str): below it.
    """

    name: str
    figure: Any
    caption: str


class Chart(NamedTuple):
    """An interactive chart, for HTML pages alone.

    Attributes:
        html (str): the element that draws it; of a page's charts the first brings the library.
        caption (str): below it.
    """

    html: str
    caption: str


class Code(NamedTuple):
    """Lines set as they are, such as commands."""

    text: str


class Section(NamedTuple):
    """A part of a report under a heading.

    Attributes:
        title (str): the heading.
        parts (list of str, Table, Picture or Code): in the order of reading; a str is a paragraph.
    """

    title: str
    parts: list


class Report(NamedTuple):
    """A report.

    Attributes:
        title (str): of the page.
        sections (list of Section): in the order of reading.
    """

    title: str
    sections: list


Part = str | Table | Picture | Chart | Code

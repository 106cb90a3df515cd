"""atomic_files: a RecBole atomic file row by row, as RecBole's reader will split it, and what is wrong with a cell.

Reference:
    RecBole, "Atomic Files": one `name:type` per column in the first line. RecBole 1.2.1 reads them by pandas' Python
    parser with quotation marks, and reads some words as missing values.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

from dataset_prep.raw_fields import READ_AS_MISSING

TYPES = ("token", "token_seq", "float", "float_seq")


class Row(NamedTuple):
    """A row of an atomic file.

    Attributes:
        number (int): the line it begins in, from 1.
        n_lines (int): lines that it spans.
        cells (list of str): its values; empty where it can't be read.
        error (str or None): why it can't be read.
    """

    number: int
    n_lines: int
    cells: list
    error: Optional[str]


def read_columns(file: Path, separator: str) -> dict[str, str]:
    """The columns of an atomic file, name to type.

    Args:
        file (Path): the file.
        separator (str): between its columns.

    Returns:
        dict: in the file's order.

    Raises:
        ValueError: RecBole would stop at this header.
    """
    try:
        with open(file, "rb") as lines:
            header = lines.readline().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"line 1 is no UTF-8 ({error.reason})") from error
    if not header.endswith("\n"):
        raise ValueError(f"it has no rows, its one line is {header[:60]!r}")
    if header.startswith("\ufeff"):
        raise ValueError("a byte order mark stands before the first column's name: save it as UTF-8 without one")
    names = header.rstrip("\r\n").split(separator)
    columns = {}
    for column in names:
        name, colon, kind = column.partition(":")
        if not name or not colon or kind not in TYPES:
            raise ValueError(f"column {column!r} is not NAME:TYPE with TYPE one of {', '.join(TYPES)}")
        columns[name] = kind
    if len(columns) < len(names):
        raise ValueError(f"a column stands twice among {', '.join(names)}")
    return columns


def read_rows(file: Path, separator: str) -> Iterator[Row]:
    """The rows below the header; blank lines are none.

    Args:
        file (Path): the file.
        separator (str): between its columns.

    Yields:
        Row: each row.
    """
    with open(file, encoding="utf-8", errors="surrogateescape", newline="") as lines:
        lines.readline()
        rows, before = csv.reader(lines, delimiter=separator, strict=True), 0
        while True:
            try:
                cells, error = next(rows), None
            except StopIteration:
                return
            except csv.Error as fault:
                cells, error = [], str(fault)
            if cells or error:
                yield Row(before + 2, rows.line_num - before, cells, error)
            before = rows.line_num


def fault_of(cell: str, kind: str) -> Optional[str]:
    """What RecBole would stumble over in a cell.

    Args:
        cell (str): its text.
        kind (str): type of its column.

    Returns:
        str, optional: None where it reads the value that is meant.
    """
    if kind in ("float", "float_seq"):
        for number in (cell,) if kind == "float" else cell.split():
            if kind == "float" and (not number or number in READ_AS_MISSING):
                return None  # a gap
            try:
                float(number)
            except ValueError:
                return "is no number"
    if not cell.isascii() and not cell.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in cell):
        return "is no UTF-8"
    return None


def is_missing(cell: str) -> bool:
    """Whether RecBole reads a token as missing."""
    return not cell or cell in READ_AS_MISSING

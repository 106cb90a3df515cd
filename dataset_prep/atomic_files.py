"""atomic_files: reads a RecBole atomic file row by row as RecBole splits it, and checks its cells.

Reference:
    RecBole, "Atomic Files": one `name:type` per column in the first line. RecBole 1.2.1 reads them with pandas' Python
    parser, which honours quotation marks and reads some words as missing values.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dataset_prep.raw_fields import READ_AS_MISSING

TYPES = ("token", "token_seq", "float", "float_seq")


class Row(NamedTuple):
    """A row of an atomic file.

    Attributes:
        number (int): its first line, counted from 1.
        n_lines (int): number of lines it spans.
        cells (list of str): its values; empty if it can't be read.
        error (str or None): why it can't be read.
    """

    number: int
    n_lines: int
    cells: list
    error: str | None


def read_columns(file: Path, separator: str) -> dict[str, str]:
    """Reads the columns of an atomic file.

    Args:
        file (Path): the file.
        separator (str): between its columns.

    Returns:
        dict: column name to type, in the file's order.

    Raises:
        ValueError: RecBole would stop at this header.
    """
    try:
        with open(file, "rb") as lines:
            header = lines.readline().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"line 1 is not UTF-8 ({error.reason})") from error
    if not header.endswith("\n"):
        raise ValueError(f"it has no rows, its one line is {header[:60]!r}")
    if header.startswith("\ufeff"):
        raise ValueError(
            "the file starts with a byte order mark, part of the first name to RecBole: save it as UTF-8 without one"
        )
    names = header.rstrip("\r\n").split(separator)
    columns = {}
    for column in names:
        name, colon, kind = column.partition(":")
        if not name or not colon or kind not in TYPES:
            raise ValueError(f"column {column!r} is not NAME:TYPE with TYPE one of {', '.join(TYPES)}")
        columns[name] = kind
    if len(columns) < len(names):
        raise ValueError(f"a column name is repeated in {', '.join(names)}")
    return columns


def read_rows(file: Path, separator: str) -> Iterator[Row]:
    """Reads the rows below the header, without blank lines.

    Args:
        file (Path): the file.
        separator (str): between its columns.

    Yields:
        Row: one per row, readable or not.
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


def fault_of(cell: str, kind: str) -> str | None:
    """Why RecBole can't read a cell.

    Args:
        cell (str): its text.
        kind (str): type of its column.

    Returns:
        str or None: None if RecBole reads the value as intended.
    """
    if kind in ("float", "float_seq"):
        for number in (cell,) if kind == "float" else cell.split():
            if kind == "float" and (not number or number in READ_AS_MISSING):
                return None  # a missing value
            try:
                float(number)
            except ValueError:
                return "is not a number"
    if not cell.isascii() and not cell.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in cell):
        return "is not UTF-8"
    return None


def is_missing(cell: str) -> bool:
    """Whether RecBole reads a token as missing."""
    return not cell or cell in READ_AS_MISSING

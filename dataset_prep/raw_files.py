"""raw_files: reads raw files (JSON lines, Python-literal lines, CSV, Parquet) one record at a time, gzipped or not.

A line that can't be read gives a record too, which holds the reason instead of the fields. Amazon's files of 2014 hold
Python literals: ast.literal_eval reads them, which runs no code.
"""

import ast
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from dataset_prep.spilling import parquet_columns, parquet_rows
from recbole_unirep.files.checksums import file_sha256

KINDS = {
    ".json": "jsonl", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"
}  # fmt: skip
LONGEST_LINE = 1 << 24  # bytes
PEEKED = 100  # first records, whose fields are taken as the file's
PARQUET_ROWS = 50_000
UNREADABLE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


class Record(NamedTuple):
    """One record of a raw file.

    Attributes:
        number (int): its line, counted from 1; of several lines the last; in Parquet its row.
        fields (dict or str): its values by name, or why it can't be read.
        raw (object): the original bytes or str, or the values of a row.
    """

    number: int
    fields: dict | str
    raw: Any


class RawFile:
    """A raw file; its attributes are complete once all records are read.

    Args:
        path (Path): the file.
        form (str, optional): jsonl, csv or parquet; None goes by the file's name.
        header (list of str, optional): column names of a CSV file without a header line.
        separator (str, optional): between the columns of a CSV file; None is a tab for .tsv, else a comma.

    Attributes:
        n_read (int): records read so far, unreadable ones included.
        sha256 (str): checksum of the file's bytes.
        n_bytes (int): bytes read so far.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the format is not clear from the name, or the separator is not one character.
    """

    def __init__(self, path: Path, form=None, header=None, separator=None) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not a file: check the path (separate several by spaces)")
        name = path.name[: -len(".gz")] if path.name.endswith(".gz") else path.name
        kind = form or KINDS.get(Path(name).suffix.lower())
        if kind is None:
            raise ValueError(f"{path}: its format is not clear from its name: give --format=jsonl, csv or parquet")
        if separator is not None and len(separator) != 1:
            raise ValueError(f"separator='{separator}' is {len(separator)} characters long: give one, or tab")
        self.path, self.kind, self.header = path, kind, header
        self.separator = separator or ("\t" if Path(name).suffix.lower() == ".tsv" else ",")
        self.is_gzipped = path.name.endswith(".gz")
        self.n_read, self.sha256, self.n_bytes = 0, None, 0

    def field_names(self) -> list[str]:
        """Field names: the header of a CSV file, else all fields of the first hundred records."""
        if self.kind == "parquet":
            return parquet_columns(self.path)
        if self.kind == "csv":
            return list(self.header or self._first_row())
        names: dict[str, None] = {}
        for record in islice(self._records(self._open()), PEEKED):
            if isinstance(record.fields, dict):
                names.update(dict.fromkeys(record.fields))
        return list(names)

    def records(self) -> Iterator[Record]:
        """All records in the file's order, without blank lines.

        Raises:
            ValueError: the compressed file is truncated or damaged.
        """
        if self.kind == "parquet":
            yield from self._counted(self._parquet())
            self.sha256 = file_sha256(self.path)
            self.n_bytes = self.path.stat().st_size
            return
        reader = self._open()
        yield from self._counted(self._records(reader))
        self.sha256 = reader.digest.hexdigest()

    def summary(self) -> dict[str, Any]:
        """Name, size, checksum and number of records, once all are read."""
        size = self.path.stat().st_size
        return {"file": self.path.name, "bytes": size, "sha256": self.sha256, "records": self.n_read}

    def _counted(self, records):
        self.n_read = 0
        for record in records:
            self.n_read += 1
            yield record

    def _open(self):
        return _HashedReader(self.path, self)

    def _records(self, reader):
        with self._lines(reader) as lines:
            yield from self._csv(lines) if self.kind == "csv" else _json(lines)

    def _first_row(self):
        with self._lines(self._open()) as lines:
            rows = csv.reader(lines.texts(), delimiter=self.separator)
            try:
                return _checked_header(self.path, next(filter(None, rows), []))
            except csv.Error as error:
                raise ValueError(f"{self.path} is not CSV ({error}): give --separator, or repair the file") from error

    @contextmanager
    def _lines(self, reader):
        with reader:
            stream = io.BufferedReader(reader, 1 << 20)
            if self.is_gzipped:
                stream = io.BufferedReader(gzip.GzipFile(fileobj=stream), 1 << 20)
            lines = _Lines(stream)
            try:
                yield lines
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ValueError(
                    f"{self.path} is a truncated or damaged gzip file, line {lines.number + 1:,} can't be read "
                    f"({error}): download it again"
                ) from error

    def _csv(self, lines):
        rows = csv.reader(lines.texts(), delimiter=self.separator)
        header = self.header
        while True:
            lines.taken = []
            try:
                cells = next(rows, None)
            except csv.Error as error:
                yield Record(lines.number, f"not CSV ({error})", lines.raw())
                continue
            if cells is None:
                return
            if not cells:
                continue
            if header is None:
                header = _checked_header(self.path, cells)
            elif len(cells) != len(header):
                yield Record(lines.number, f"{len(cells)} cells, {len(header)} columns", lines.raw())
            else:
                yield Record(lines.number, dict(zip(header, cells)), lines.raw())

    def _parquet(self):
        names = parquet_columns(self.path)
        for number, values in enumerate(parquet_rows(self.path, PARQUET_ROWS), 1):
            yield Record(number, dict(zip(names, values)), values)


class _HashedReader(io.RawIOBase):
    """Reads a file's bytes, and hashes and counts them on the way."""

    def __init__(self, path, counter):
        self.file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed with the reader
        self.digest, self.counter = sha256(), counter
        counter.n_bytes = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        n = self.file.readinto(buffer)
        self.digest.update(memoryview(buffer)[:n])
        self.counter.n_bytes += n
        return n

    def close(self):
        self.file.close()
        super().close()


class _Lines:
    """Lines of a stream, cut at LONGEST_LINE.

    Args:
        stream (io.BufferedReader): the bytes.
    """

    def __init__(self, stream):
        self.stream, self.number, self.taken = stream, 0, []

    def __iter__(self):
        """Yields each line, and whether it is whole."""
        readline = self.stream.readline
        while line := readline(LONGEST_LINE):
            self.number += 1
            if self.number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            whole = len(line) < LONGEST_LINE
            while not whole and (rest := readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield line, whole

    def texts(self):
        """Yields lines as text; bytes that are not UTF-8 become surrogates, which no valid name or number holds."""
        for line, _ in self:
            text = line.decode("utf-8", "surrogateescape")
            self.taken.append(text)
            yield text

    def raw(self):
        """The lines read since `taken` was emptied."""
        return "".join(self.taken)


def _json(lines):
    for line, whole in lines:
        if line.isspace():
            continue
        if not whole:
            yield Record(lines.number, f"longer than {LONGEST_LINE:,} bytes", line)
            continue
        yield Record(lines.number, _object(line), line)


def _object(line):
    """The fields of a line (dict), or why it has none (str)."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"not UTF-8 ({error.reason} at byte {error.start})"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not text.lstrip().startswith("{"):
            return f"not JSON ({error})"
        try:
            value = ast.literal_eval(text.strip())
        except UNREADABLE:
            return f"neither JSON ({error}) nor a Python literal"
    return value if isinstance(value, dict) else f"a {type(value).__name__}, not an object"


def _checked_header(path, cells):
    if len(set(cells)) < len(cells):
        raise ValueError(
            f"{path}: its first line repeats a column name ({', '.join(cells)}): give --header=NAME,NAME,.."
        )
    return cells

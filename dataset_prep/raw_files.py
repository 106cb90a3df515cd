"""raw_files: records of raw files (JSON lines, Python-literal lines, CSV, Parquet), one at a time, gzipped or not.

A line that can't be read is a record too: the reason, in place of the fields. Amazon's files of 2014 hold Python
literals; they are read by ast.literal_eval, which runs nothing.
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
from typing import Any, NamedTuple, Union

from dataset_prep.spilling import parquet_columns, parquet_rows
from dataset_prep.vector_files import file_sha256

KINDS = {
    ".json": "jsonl", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"
}  # fmt: skip
LONGEST_LINE = 1 << 24  # bytes
PEEKED = 100  # records whose fields count as the file's
PARQUET_ROWS = 50_000
UNREADABLE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


class Record(NamedTuple):
    """One record of a raw file.

    Attributes:
        number (int): its line, from 1; where it has several, the last one; in Parquet its row.
        fields (dict or str): its values by name, or why it can't be read.
        raw (object): what stood there, bytes or str or the values of a row.
    """

    number: int
    fields: Union[dict, str]
    raw: Any


class RawFile:
    """A raw file; reading it to its end fills in the last three attributes.

    Args:
        path (Path): the file.
        form (str, optional): jsonl, csv or parquet; None is what the name says.
        header (list of str, optional): names of the columns of a CSV file that has no line of names.
        separator (str, optional): between the columns of a CSV file; None is a tab for .tsv, else a comma.

    Attributes:
        n_read (int): records, those that can't be read included.
        sha256 (str): of the file's bytes.
        n_bytes (int): read so far.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the name says no kind, or an option does not suit it.
    """

    def __init__(self, path: Path, form=None, header=None, separator=None) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file: look at the path (several are separated by blanks)")
        name = path.name[: -len(".gz")] if path.name.endswith(".gz") else path.name
        kind = form or KINDS.get(Path(name).suffix.lower())
        if kind is None:
            raise ValueError(f"{path}: its name does not say what it is: give --format=jsonl, csv or parquet")
        if separator is not None and len(separator) != 1:
            raise ValueError(f"separator='{separator}' is {len(separator)} characters long: give one, or tab")
        self.path, self.kind, self.header = path, kind, header
        self.separator = separator or ("\t" if Path(name).suffix.lower() == ".tsv" else ",")
        self.is_gzipped = path.name.endswith(".gz")
        self.n_read, self.sha256, self.n_bytes = 0, None, 0

    def field_names(self) -> list[str]:
        """Names of the fields: the first row's of a CSV file, else all that the first hundred records have."""
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
        """All records in the file's order; blank lines are none.

        Raises:
            ValueError: the compressed file is cut off or damaged.
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
        """Name, size, checksum and number of records, once it is read."""
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
                raise ValueError(f"{self.path} is no CSV ({error}): give --separator, or repair the file") from error

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
                    f"{self.path} is no whole gzip file, line {lines.number + 1:,} can't be read ({error}): "
                    f"fetch the file anew"
                ) from error

    def _csv(self, lines):
        rows = csv.reader(lines.texts(), delimiter=self.separator)
        header = self.header
        while True:
            lines.taken = []
            try:
                cells = next(rows, None)
            except csv.Error as error:
                yield Record(lines.number, f"no CSV ({error})", lines.raw())
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
    """A file's bytes, hashed and counted as they are read."""

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
    """Lines of a stream, none of them longer than LONGEST_LINE.

    Args:
        stream (io.BufferedReader): bytes.
    """

    def __init__(self, stream):
        self.stream, self.number, self.taken = stream, 0, []

    def __iter__(self):
        """Each line and whether it is whole."""
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
        """Lines as texts; bytes that are no UTF-8 become surrogates, which no name and no number has."""
        for line, _ in self:
            text = line.decode("utf-8", "surrogateescape")
            self.taken.append(text)
            yield text

    def raw(self):
        """The lines since `taken` was emptied."""
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
    """The fields of a line, or why there are none."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"no UTF-8 ({error.reason} at byte {error.start})"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not text.lstrip().startswith("{"):
            return f"no JSON ({error})"
        try:
            value = ast.literal_eval(text.strip())
        except UNREADABLE:
            return f"neither JSON ({error}) nor a Python literal"
    return value if isinstance(value, dict) else f"no object but a {type(value).__name__}"


def _checked_header(path, cells):
    if len(set(cells)) < len(cells):
        raise ValueError(
            f"{path}: its first line names a column twice ({', '.join(cells)}): give --header=NAME,NAME,.."
        )
    return cells

"""spilling: SQL tables that go to disk when they do not fit into memory. The only module that imports duckdb.

The database is a file in a work folder. Sorts and joins that exceed the memory use files next to it. Parquet files are
read a part at a time.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

try:
    import duckdb
except ImportError as error:
    raise ImportError(
        f"unirep prepare and unirep validate need duckdb ({error}): install it with pip install 'recbole-unirep[prep]'"
    ) from error

MEMORY = re.compile(r"[1-9]\d*(\.\d+)?\s*[MG]B", re.IGNORECASE)
VERSION = duckdb.__version__


class SpillingDatabase:
    """A database in a folder, for one process.

    Args:
        folder (Path): an empty folder; the caller removes it.
        memory (str): memory limit of the database, such as "2GB"; Python's own memory comes on top.

    Raises:
        ValueError: memory is not such an amount.
    """

    def __init__(self, folder: Path, memory: str) -> None:
        if not MEMORY.fullmatch(memory):
            raise ValueError(f"memory={memory} is not an amount of memory: write e.g. --memory=2GB or --memory=500MB")
        settings = {
            "memory_limit": memory,
            "temp_directory": str(folder / "spill"),
            "threads": max(1, min(4, os.cpu_count() or 1)),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        with _explained():
            self.connection = duckdb.connect(str(folder / "rows.duckdb"), config=settings)
            self.connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")

    def run(self, sql: str, *values: Any) -> None:
        """Runs a statement."""
        with _explained():
            self.connection.execute(sql, values)

    def row(self, sql: str, *values: Any) -> tuple:
        """The first row of a query's result."""
        with _explained():
            return self.connection.execute(sql, values).fetchall()[
                0
            ]  # all rows: an open result blocks the next statement

    def append(self, table: str, columns: Mapping[str, Sequence], where: str = "") -> None:
        """Adds rows to a table in a transaction of their own; a longer one would keep all its rows in memory.

        Args:
            table (str): its name; it has columns of these names.
            columns (mapping): name to values, all of the same length; texts as str or None.
            where (str): SQL that filters the new rows, called `block`, such as "SEMI JOIN wanted USING (item)".
        """
        block = {name: _array(values) for name, values in columns.items()}
        with _explained():
            self.connection.register("block", block)
            names = ", ".join(f"block.{name}" for name in columns)
            self.connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {names} FROM block {where}")
            self.connection.unregister("block")

    def export(self, query: str, file: Path) -> None:
        """Writes a query's result as an atomic file: a header, tabs, and quotation marks around cells that need them.

        Args:
            query (str): names its columns as in the header, and sorts its rows.
            file (Path): the file.
        """
        form = r"""FORMAT csv, DELIMITER '\t', HEADER true, QUOTE '"', ESCAPE '"', NULLSTR ''"""
        with _explained():
            self.connection.execute(f"COPY ({query}) TO '{_escaped(file)}' ({form})")

    def close(self) -> None:
        """Closes the database's files."""
        self.connection.close()


def parquet_columns(file: Path) -> list[str]:
    """Names of a Parquet file's columns, in order.

    Raises:
        ValueError: the file can't be read as Parquet.
    """
    with _explained(file):
        described = duckdb.connect().execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(file)])
        return [column[0] for column in described.fetchall()]


def parquet_rows(file: Path, rows_at_once: int) -> Iterator[tuple]:
    """Rows of a Parquet file in its order, as Python values; a part of them is in memory at a time.

    Raises:
        ValueError: the file can't be read as Parquet.
    """
    with _explained(file):
        connection = duckdb.connect(config={"threads": 1})
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        connection.execute("SELECT * FROM read_parquet(?)", [str(file)])
        while rows := connection.fetchmany(rows_at_once):
            yield from rows


@contextmanager
def _explained(file=None):
    """Turns the database's errors into one-line errors of a command, and its interruption into KeyboardInterrupt."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ValueError(
            f"out of memory or disk space ({_first_line(error)}): give more --memory, or a --data_path on a larger disk"
        ) from error
    except duckdb.Error as error:
        if file is None and not isinstance(error, duckdb.IOException):
            raise  # our own mistake
        what = f"{file} can't be read as Parquet" if file else "the database can't use the disk"
        remedy = "download or write the file again" if file else "check the disk of --data_path"
        raise ValueError(f"{what} ({_first_line(error)}): {remedy}") from error
    except RuntimeError as error:
        if "interrupted" in str(error):
            raise KeyboardInterrupt from error
        raise


def _array(values):
    if isinstance(values, np.ndarray):
        return values
    if values and isinstance(values[0], (int, float)):
        return np.array(values, dtype=np.int64 if isinstance(values[0], int) else np.float64)
    return np.array(values, dtype=object)


def _escaped(file):
    return str(file).replace("'", "''")


def _first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

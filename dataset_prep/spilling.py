"""spilling: tables of any size in SQL, on disk where they do not fit into memory (duckdb only here).

The database is a file in a folder of ours, what a sort or a join can't hold goes to files beside it, and the rows of a
Parquet file are read a part at a time.
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
        memory (str): what the database may hold, such as "2GB"; Python's own memory comes on top.

    Raises:
        ValueError: memory is no such amount.
    """

    def __init__(self, folder: Path, memory: str) -> None:
        if not MEMORY.fullmatch(memory):
            raise ValueError(f"memory={memory} is no amount of memory: write e.g. --memory=2GB or --memory=500MB")
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
        """The first row of a query's answer."""
        with _explained():
            return self.connection.execute(sql, values).fetchall()[0]  # to the end: an open answer blocks what follows

    def append(self, table: str, columns: Mapping[str, Sequence], where: str = "") -> None:
        """Adds rows to a table, in a transaction of their own: an open one would keep all rows that it has read.

        Args:
            table (str): its name; its columns are named as these.
            columns (mapping): name to values, all of one length; texts as str or None.
            where (str): SQL behind the rows, which are called `block`, such as "SEMI JOIN wanted USING (item)".
        """
        block = {name: _array(values) for name, values in columns.items()}
        with _explained():
            self.connection.register("block", block)
            names = ", ".join(f"block.{name}" for name in columns)
            self.connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {names} FROM block {where}")
            self.connection.unregister("block")

    def export(self, query: str, file: Path) -> None:
        """Writes a query's answer as an atomic file: a header, tabs, quotation marks where a cell needs them.

        Args:
            query (str): its columns are named as the header should have them; rows in the order it asks for.
            file (Path): the file.
        """
        form = r"""FORMAT csv, DELIMITER '\t', HEADER true, QUOTE '"', ESCAPE '"', NULLSTR ''"""
        with _explained():
            self.connection.execute(f"COPY ({query}) TO '{_escaped(file)}' ({form})")

    def close(self) -> None:
        """Lets go of the files."""
        self.connection.close()


def parquet_columns(file: Path) -> list[str]:
    """Names of a Parquet file's columns, in order.

    Raises:
        ValueError: it is no Parquet file.
    """
    with _explained(file):
        described = duckdb.connect().execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(file)])
        return [column[0] for column in described.fetchall()]


def parquet_rows(file: Path, rows_at_once: int) -> Iterator[tuple]:
    """Rows of a Parquet file in its order, Python values, a part of them in memory.

    Raises:
        ValueError: the file is damaged.
    """
    with _explained(file):
        connection = duckdb.connect(config={"threads": 1})
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        connection.execute("SELECT * FROM read_parquet(?)", [str(file)])
        while rows := connection.fetchmany(rows_at_once):
            yield from rows


@contextmanager
def _explained(file=None):
    """The database's errors as those that a command shows in one line, Ctrl-C as itself."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ValueError(
            f"the memory or the disk does not suffice ({_first_line(error)}): give more --memory, or a --data_path "
            f"on a larger disk"
        ) from error
    except duckdb.Error as error:
        if file is None and not isinstance(error, duckdb.IOException):
            raise  # a fault of ours
        asked = (
            f"{file} can't be read as Parquet" if file else "what does not fit into memory can't be kept on the disk"
        )
        todo = "fetch or write the file anew" if file else "look at the disk of --data_path"
        raise ValueError(f"{asked} ({_first_line(error)}): {todo}") from error
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

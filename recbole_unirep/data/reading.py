"""recbole_unirep.data.reading: reads atomic files by pandas' fast parser, with integer times as int64.

RecBole uses pandas' slow Python parser and reads times as float64, which scrambles times beyond 2 ** 53, such as
nanoseconds. Two silent faults are errors here: a quote that joins lines, and an interaction without a time, which
RecBole replaces by the mean of all times.
"""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas
from recbole.data.dataset import dataset as recbole_dataset

from dataset_prep.manifest import changed_files

READ = (".inter", ".item")


@contextmanager
def fast_reader(time_field):
    """Makes RecBole's datasets read files by the fast parser within the block; does not change pandas itself.

    Args:
        time_field (str or None): the column to read as int64 if all its cells are integers.
    """
    recbole_dataset.pd = _Reader(time_field)
    try:
        yield
    finally:
        recbole_dataset.pd = pandas


class _Reader:
    """Stands in for pandas with another `read_csv`."""

    def __init__(self, time_field):
        self.time_field = time_field

    def __getattr__(self, name):
        return getattr(pandas, name)

    def read_csv(self, file, *, delimiter, dtype, engine, **options):
        """Returns the table that RecBole's call gives, but integer times are int64."""
        time = f"{self.time_field}:float"
        if len(delimiter) > 1:  # the fast parser needs a single character
            return pandas.read_csv(file, delimiter=delimiter, dtype=dtype, engine=engine, **options)
        # Without a type pandas reads a column of integers as int64.
        types = {column: kind for column, kind in dtype.items() if column != time}
        options.update(float_precision="round_trip", low_memory=False)  # equal strings share an object
        try:
            table = pandas.read_csv(file, delimiter=delimiter, dtype=types, engine="c", **options)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{file} is not encoded in {options.get('encoding')} ({error}): convert it, or set encoding"
            ) from error
        if str(file).endswith(".inter"):
            _check_lines(file, len(table))
        if time in table and table[time].dtype != np.int64:
            table[time] = _times(file, table[time])
        return table


def _times(file, column):
    """Converts times to float64.

    Raises:
        ValueError: a time is missing, or is not a number.
    """
    try:
        numbers = column.astype(np.float64)
    except ValueError:
        numbers = pandas.to_numeric(column, errors="coerce")
    bad = np.flatnonzero(numbers.isna())
    if len(bad):
        raise ValueError(
            f"{file} has {len(bad)} of {len(column)} interactions without a number in column {column.name}, row "
            f"{bad[0] + 1} first ({column.iloc[bad[0]]}): repair or remove those lines"
        )
    return numbers


def _check_lines(file, n_rows):
    """Raises ValueError if there are fewer rows than lines after the header."""
    with open(file, "rb") as lines:
        n_lines = sum(chunk.count(b"\n") for chunk in iter(lambda: lines.read(2**20), b""))
        if n_rows >= n_lines:  # the last line may lack a line break
            return
        lines.seek(0)
        n_lines = sum(not line.isspace() for line in lines) - 1
    if n_rows < n_lines:
        raise ValueError(
            f"{file} has {n_lines} lines after its header, read as {n_rows} rows: a quote at the start of a cell joins "
            f"lines: remove the quotes"
        )


def check_prepared(config):
    """Compares the files that runs read with the dataset's manifest, if there is one.

    Args:
        config (Config): RecBole's or ours.

    Raises:
        ValueError: a file is missing, incomplete or changed, or a command was stopped while it replaced the files.
    """
    folder = Path(config["data_path"])
    for text in changed_files(folder, config["dataset"], READ):
        raise ValueError(f"{folder}: {text}")

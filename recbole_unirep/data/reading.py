"""recbole_unirep.data.reading: RecBole's atomic files by pandas' fast parser, with whole times as integers.

RecBole reads them by pandas' Python parser, a line at a time and every cell a text of its own, and takes times as
float64, which scrambles those beyond 2 ** 53 (nanoseconds). What both would lose without a word is an error here: lines
that a quote joins, and interactions without a time, which RecBole gives the mean of all times.
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
    """Within the block RecBole's datasets read by our parser; pandas itself is left as it is.

    Args:
        time_field (str or None): the column that is read as integers where all its cells are.
    """
    recbole_dataset.pd = _Reader(time_field)
    try:
        yield
    finally:
        recbole_dataset.pd = pandas


class _Reader:
    """pandas, but for `read_csv`."""

    def __init__(self, time_field):
        self.time_field = time_field

    def __getattr__(self, name):
        return getattr(pandas, name)

    def read_csv(self, file, *, delimiter, dtype, engine, **options):
        """The table that RecBole's call gives, but for whole times, which are int64."""
        time = f"{self.time_field}:float"
        if len(delimiter) > 1:  # the fast parser knows single characters
            return pandas.read_csv(file, delimiter=delimiter, dtype=dtype, engine=engine, **options)
        types = {
            column: kind for column, kind in dtype.items() if column != time
        }  # pandas finds out whether it is whole
        options.update(float_precision="round_trip", low_memory=False)  # in one piece equal texts are one object
        try:
            table = pandas.read_csv(file, delimiter=delimiter, dtype=types, engine="c", **options)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{file} is no text of encoding {options.get('encoding')} ({error}): save it so, or set encoding"
            ) from error
        if str(file).endswith(".inter"):
            _check_lines(file, len(table))
        if time in table and table[time].dtype != np.int64:
            table[time] = _times(file, table[time])
        return table


def _times(file, column):
    """Times as float64.

    Raises:
        ValueError: one is missing, or is no number.
    """
    try:
        numbers = column.astype(np.float64)
    except ValueError:
        numbers = pandas.to_numeric(column, errors="coerce")
    bad = np.flatnonzero(numbers.isna())
    if len(bad):
        raise ValueError(
            f"{file} has no number in column {column.name} of {len(bad)} of {len(column)} interactions, row "
            f"{bad[0] + 1} first ({column.iloc[bad[0]]}): repair or remove those lines"
        )
    return numbers


def _check_lines(file, n_rows):
    """Raises ValueError where the rows are fewer than the lines behind the header."""
    with open(file, "rb") as lines:
        n_lines = sum(chunk.count(b"\n") for chunk in iter(lambda: lines.read(2**20), b""))
        if n_rows >= n_lines:  # the last line may end without a break
            return
        lines.seek(0)
        n_lines = sum(not line.isspace() for line in lines) - 1
    if n_rows < n_lines:
        raise ValueError(
            f"{file} has {n_lines} lines behind its header, read as {n_rows} rows: a quote at the start of a cell "
            f"joins lines: remove the quotes"
        )


def check_prepared(config):
    """Compares the files that runs read with the dataset's manifest, where it has one.

    Args:
        config (Config): RecBole's or ours.

    Raises:
        ValueError: a file is missing, half copied or changed, or a command was stopped while it replaced them.
    """
    folder = Path(config["data_path"])
    for text in changed_files(folder, config["dataset"], READ):
        raise ValueError(f"{folder}: {text}")

"""recbole_unirep.data.reading: RecBole's atomic files by pandas' fast parser, with whole times as integers.

RecBole reads them by pandas' Python parser, a line at a time and every cell a text of its own, and takes times as
float64, which scrambles those beyond 2 ** 53 (nanoseconds).
"""

from contextlib import contextmanager

import numpy as np
import pandas
from recbole.data.dataset import dataset as recbole_dataset


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
        table = pandas.read_csv(file, delimiter=delimiter, dtype=types, engine="c", **options)
        if time in table and table[time].dtype != np.int64:
            table[time] = table[time].astype(np.float64)
        return table

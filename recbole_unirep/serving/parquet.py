"""recbole_unirep.serving.parquet: writes recommendations as an Apache Parquet file with pyarrow."""

from contextlib import contextmanager

try:
    import pyarrow
    from pyarrow.parquet import ParquetWriter
except ImportError as error:
    raise ImportError(
        f"a .parquet file needs pyarrow ({error}): install it with pip install 'recbole-unirep[serve]', or write .csv "
        f"or .jsonl"
    ) from error

TYPES = (pyarrow.string(), pyarrow.int32(), pyarrow.string(), pyarrow.string(), pyarrow.float32())
LINES_PER_GROUP = 131_072  # lines held in memory until a row group is written


@contextmanager
def parquet_file(path, columns, lines_of):
    """Context of a Parquet file with one row per item.

    Args:
        path (Path): path of the file.
        columns (sequence of str): column names, in the order of TYPES.
        lines_of (callable): returns the rows of a Recommendation.

    Yields:
        callable: appends one Recommendation.
    """
    schema, lines = pyarrow.schema(list(zip(columns, TYPES))), []

    def flush():
        if lines:
            arrays = [pyarrow.array(column, kind) for column, kind in zip(zip(*lines), TYPES)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            lines.clear()

    def write(recommendation):
        lines.extend(lines_of(recommendation))
        if len(lines) >= LINES_PER_GROUP:
            flush()

    with ParquetWriter(path, schema) as writer:
        yield write
        flush()

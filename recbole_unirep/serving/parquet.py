"""recbole_unirep.serving.parquet: recommendations as an Apache Parquet file, by pyarrow."""

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
LINES_OF_GROUP = 131_072  # that are held until they are written


@contextmanager
def parquet_file(path, columns, lines_of):
    """A file with a row an item.

    Args:
        path (Path): the file.
        columns (sequence of str): their names, of TYPES.
        lines_of (callable): a Recommendation to its lines.

    Yields:
        callable: appends a Recommendation.
    """
    schema, lines = pyarrow.schema(list(zip(columns, TYPES))), []

    def flush():
        if lines:
            arrays = [pyarrow.array(column, kind) for column, kind in zip(zip(*lines), TYPES)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            lines.clear()

    def write(recommendation):
        lines.extend(lines_of(recommendation))
        if len(lines) >= LINES_OF_GROUP:
            flush()

    with ParquetWriter(path, schema) as writer:
        yield write
        flush()

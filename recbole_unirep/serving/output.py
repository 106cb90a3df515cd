"""recbole_unirep.serving.output: writes recommendations to a file, which appears once it is complete."""

import csv
import json
from contextlib import contextmanager
from pathlib import Path

from tabulate import tabulate

from recbole_unirep.files.whole import whole

COLUMNS = ("user", "rank", "item", "title", "score")


def lines_of(recommendation):
    """Yields the values of COLUMNS per item; `user` is None if the history has no user."""
    ranks = range(1, len(recommendation.items) + 1)
    return zip(
        (recommendation.user for _ in ranks), ranks, recommendation.items, recommendation.titles, recommendation.scores
    )


def table(rows, has_users):
    """Formats recommendations as a table for the terminal, one line per item.

    Args:
        rows (iterable of Recommendation): the recommendations.
        has_users (bool): True adds a first column with the user.

    Returns:
        str: the table.
    """
    first = 0 if has_users else 1
    lines = [[*line[:-1], f"{line[-1]:.4f}"][first:] for row in rows for line in lines_of(row)]
    return tabulate(lines, COLUMNS[first:], disable_numparse=True)


@contextmanager
def _csv(path):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        yield lambda recommendation: writer.writerows(lines_of(recommendation))


@contextmanager
def _json_lines(path):
    def write(recommendation):
        lines = (json.dumps(dict(zip(COLUMNS, line)), ensure_ascii=False) for line in lines_of(recommendation))
        file.writelines(line + "\n" for line in lines)

    with open(path, "w", encoding="utf-8") as file:
        yield write


def _parquet(path):
    from recbole_unirep.serving.parquet import parquet_file  # pyarrow is needed only for .parquet

    return parquet_file(path, COLUMNS, lines_of)


FILES = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}


def check_out(out):
    """Checks that a file can be written, before anything is computed.

    Args:
        out (str or Path): path of the file.

    Raises:
        ValueError: the file ending is unknown, or `out` is a folder.
        FileNotFoundError: the folder of `out` does not exist.
        ImportError: `out` ends in .parquet and pyarrow is not installed.
    """
    path = Path(out)
    if path.suffix not in FILES:
        raise ValueError(f"out={out} ends in '{path.suffix}', known are {', '.join(FILES)}: choose one of them")
    if path.is_dir():
        raise ValueError(f"out={out} is a folder: name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"out={out}: there is no folder {path.parent}: create it, or choose another")
    if path.suffix == ".parquet":
        import recbole_unirep.serving.parquet  # noqa: F401


@contextmanager
def recommendation_file(out):
    """Context of a file that appears only if the block ends without an exception.

    Args:
        out (str or Path): path of the file, see `check_out`.

    Yields:
        callable: appends one Recommendation.
    """
    path = Path(out)
    with whole(path, shared=True) as partial, FILES[path.suffix](partial) as write:
        yield write

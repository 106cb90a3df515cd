"""recbole_unirep.serving.output: recommendations as a file, written bit by bit and moved to its place when whole."""

import csv
import json
from contextlib import contextmanager
from pathlib import Path

from tabulate import tabulate

from recbole_unirep.files.whole import whole

COLUMNS = ("user", "rank", "item", "title", "score")


def lines_of(recommendation):
    """Values of COLUMNS of each item; `user` is None where there is none."""
    ranks = range(1, len(recommendation.items) + 1)
    return zip(
        (recommendation.user for _ in ranks), ranks, recommendation.items, recommendation.titles, recommendation.scores
    )


def table(rows, has_users):
    """Recommendations as a table for the terminal, one line per item.

    Args:
        rows (iterable of Recommendation): the recommendations.
        has_users (bool): whether the first column shows the user.

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
    from recbole_unirep.serving.parquet import parquet_file  # pyarrow may be missing where nobody asks for it

    return parquet_file(path, COLUMNS, lines_of)


FILES = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}


def check_out(out):
    """Finds out whether a file can be written, before anything is computed.

    Raises:
        ValueError: its ending is unknown, or a folder lies there.
        FileNotFoundError: there is no such folder.
        ImportError: .parquet is asked for and pyarrow is not installed.
    """
    path = Path(out)
    if path.suffix not in FILES:
        raise ValueError(f"out={out} ends in '{path.suffix}', known are {', '.join(FILES)}: choose one of them")
    if path.is_dir():
        raise ValueError(f"out={out} is a folder: name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"out={out}: there is no folder {path.parent}: make it, or name another")
    if path.suffix == ".parquet":
        import recbole_unirep.serving.parquet  # noqa: F401


@contextmanager
def recommendation_file(out):
    """A file that appears when the block has ended well, and not at all otherwise.

    Args:
        out (str or Path): see `check_out`.

    Yields:
        callable: appends a Recommendation.
    """
    path = Path(out)
    with whole(path, shared=True) as partial, FILES[path.suffix](partial) as write:
        yield write

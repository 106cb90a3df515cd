"""recbole_unirep.commands.recommend: `unirep recommend`."""

from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm

from recbole_unirep.commands.options import SETTINGS, read_options
from recbole_unirep.runs.log import RunLog
from recbole_unirep.serving.output import COLUMNS, check_out, lines_of
from recbole_unirep.serving.recommender import Recommender

WHOM = ("items", "users", "all_users")
FLAGS = ("all_users", "keep_earlier")
VALUES = ("items", "users", "k", "out", "candidates", "index", "data_path")


def recommend(arguments):
    """Recommends by a finished run.

    Args:
        arguments (sequence of str): the run's folder, then `--items A,B,C`, `--users FILE` or `--all-users`, and
            `--k=10`, `--out FILE`, `--candidates FILE`, `--keep-earlier`, `--index=exact|faiss|hnsw`,
            `--data_path=FOLDER`, and settings of ranking; a value stands behind `=` or a blank.

    Yields:
        str: what to print: a table, or what has been written; with hnsw its recall before.

    Raises:
        FileNotFoundError: the folder holds no run or no checkpoint, or a file is missing.
        ValueError: an option is not understood, or nothing can be recommended by it.
        ImportError: .parquet is asked for and pyarrow is not installed.
    """
    if not arguments or arguments[0].startswith("--"):
        raise ValueError("recommend reads a finished run: write unirep recommend RUN, its folder first")
    options = read_options("recommend", arguments[1:], VALUES, FLAGS, SETTINGS)
    whom = [name for name in WHOM if name in options]
    if len(whom) != 1:
        given = " and ".join("--" + name.replace("_", "-") for name in whom) or "neither"
        raise ValueError(f"recommend: {given} given: write one of --items A,B,C, --users FILE, --all-users")
    out, k = options.get("out"), _whole(options.get("k", "10"))
    if out is not None:
        check_out(out)
    elif "all_users" in options:
        raise ValueError("recommend: --all-users goes to a file: add --out FILE.csv, .jsonl or .parquet")
    items = [_tokens(options["items"])] if "items" in options else None
    users = _lines(options["users"], "users") if "users" in options else None
    candidates = _lines(options["candidates"], "items") if "candidates" in options else None
    asked = {"items": items, "users": users, "k": k}
    limits = {"candidates": candidates, "keep_earlier": "keep_earlier" in options}
    with RunLog(speaks=False):
        settings = {name: options[name] for name in SETTINGS if name in options}
        index = options.get("index", "exact")
        recommender = Recommender.load(arguments[0], options.get("data_path"), index, **settings)
        if index == "hnsw":
            recall, n_rows = recommender.recall(**asked, keep_earlier=limits["keep_earlier"])
            yield f"hnsw: recall@{k} {recall:.4f} against exact ranking, mean of {n_rows} histories"
        if out is None:
            yield _table(recommender.stream(**asked, **limits), users is not None)
            return
        n_rows = recommender.write(out, **asked, **limits, progress=lambda rows: tqdm(rows, unit="", disable=None))
        yield f"{out}: recommendations of {n_rows} histories"


def _whole(text):
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"k={text} is no number of items: give a whole number above 0") from error


def _tokens(text):
    """Item tokens between commas."""
    tokens = [token.strip() for token in text.split(",")]
    if not all(tokens):
        raise ValueError(f"--items={text} has an empty place: write item tokens between commas, oldest first: A,B,C")
    return tokens


def _lines(path, what):
    """Tokens of a file, one a line."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{path} is missing: name a file of {what}, a token a line")
    try:
        tokens = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error.reason}): give {what}, a token a line") from error
    if not tokens:
        raise ValueError(f"{path} is empty: give {what}, a token a line")
    return tokens


def _table(rows, has_users):
    """Recommendations for a reader, a line an item."""
    first = 0 if has_users else 1
    lines = [[*line[:-1], f"{line[-1]:.4f}"][first:] for row in rows for line in lines_of(row)]
    return tabulate(lines, COLUMNS[first:], disable_numparse=True)

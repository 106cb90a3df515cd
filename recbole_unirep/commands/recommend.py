"""recbole_unirep.commands.recommend: `unirep recommend` recommends items with a finished run."""

from pathlib import Path

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import INDEXES, flag, option, ranking_keys, run_argument, run_data_path
from recbole_unirep.commands.types import OneOf, Place, Text, Whole


@command("recommend", example="unirep recommend runs/ml-100k-UniRep-20261124-024401 --items 50,181,172 --k=5")
@run_argument
@option("--items", Text("A,B,C"), "One history of item tokens, oldest first.", shown="none")
@option("--users", Place("FILE"), "File of known users, one token per line.", shown="none")
@flag("--all-users", "Recommend to all known users; needs --out.")
@option("--k", Whole(1), "Recommended items per history.", default="10")
@option("--out", Place("FILE"), "File to write: .csv, .jsonl or .parquet.", shown="a table on the terminal")
@option("--candidates", Place("FILE"), "File of items to choose from, one token per line.", shown="all items")
@flag("--keep-earlier", "Allow items of the history among the recommendations.")
@option(
    "--index",
    OneOf(*INDEXES),
    "How to search; hnsw is approximate and prints its recall.",
    default="exact",
)
@run_data_path
@ranking_keys
def recommend(run, items, users, all_users, k, out, candidates, keep_earlier, index, data_path, keys):
    """Recommend items with a finished run of any model, also RecBole's own.

    Give one of --items, --users and --all-users. A known user's whole history is used, and its items are left out.
    """
    given = [name for name, value in (("--items", items), ("--users", users), ("--all-users", all_users)) if value]
    if len(given) != 1:
        raise ValueError(
            f"recommend needs one of --items A,B,C, --users FILE, --all-users, found {' and '.join(given) or 'none'}: "
            f"give one"
        )
    if all_users and out is None:
        raise ValueError("recommend writes --all-users to a file: add --out FILE.csv, .jsonl or .parquet")
    histories = None if items is None else [_tokens(items)]
    users = None if users is None else _lines(users, "users")
    limits = {"candidates": None if candidates is None else _lines(candidates, "items"), "keep_earlier": keep_earlier}

    from tqdm import tqdm

    from recbole_unirep.runs.log import RunLog
    from recbole_unirep.serving.output import check_out, table
    from recbole_unirep.serving.recommender import Recommender

    if out is not None:
        check_out(out)
    asked = {"items": histories, "users": users, "k": k}
    with RunLog(speaks=False):
        recommender = Recommender.load(run, data_path, index, **keys)
        if index == "hnsw":
            recall, n_rows = recommender.recall(**asked, keep_earlier=keep_earlier)
            print(f"hnsw: recall@{k} {recall:.4f} against exact ranking, mean of {n_rows} histories", flush=True)
        if out is None:
            print(table(recommender.stream(**asked, **limits), has_users=users is not None), flush=True)
            return
        n_rows = recommender.write(out, **asked, **limits, progress=lambda rows: tqdm(rows, unit="", disable=None))
        print(f"{out}: recommendations for {n_rows} histories", flush=True)


def _tokens(text):
    """Splits item tokens at commas."""
    tokens = [token.strip() for token in text.split(",")]
    if not all(tokens):
        raise ValueError(f"--items={text} has an empty place: write item tokens between commas, oldest first: A,B,C")
    return tokens


def _lines(path, what):
    """Reads tokens from a file, one per line."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{path} is missing: name a file of {what}, one token per line")
    try:
        tokens = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error.reason}): give {what}, one token per line") from error
    if not tokens:
        raise ValueError(f"{path} is empty: give {what}, one token per line")
    return tokens

"""recbole_unirep.commands.prepare: `unirep prepare` turns raw reviews and metadata into a dataset."""

import re
import shlex
from glob import glob, has_magic
from pathlib import Path

from recbole_unirep.commands.command import command
from recbole_unirep.commands.dataset_files import DATA_PATH, log_to_stdout, separator_of
from recbole_unirep.commands.parameters import option
from recbole_unirep.commands.types import OneOf, Place, Share, Switch, Text, Whole

BUNDLED = "ml-100k"
NAME = re.compile(r"\w[\w.-]*")


@command(
    "prepare",
    needs_recbole=False,
    example="unirep prepare --dataset=beauty --reviews=reviews_Beauty.json.gz --metadata=meta_Beauty.json.gz",
)
@option("--dataset", Text("NAME"), "Name of the new dataset.", is_needed=True)
@option("--reviews", Text('"FILE FILE"'), "Files of reviews: JSONL, CSV or Parquet, also gzipped.", is_needed=True)
@option("--metadata", Text('"FILE FILE"'), "Files of item metadata.", default="", shown="none", may_be_empty=True)
@option("--data_path", Place("FOLDER"), "Folder that holds the datasets' folders.", default=DATA_PATH)
@option("--core", Whole(1), "Minimum interactions of each user and item to keep.", default="5")
@option("--user_core", Whole(1), "Minimum interactions of each user to keep.", shown="core")
@option("--item_core", Whole(1), "Minimum interactions of each item to keep.", shown="core")
@option(
    "--duplicates", OneOf("first", "last", "all"), "Which interactions of a user with an item to keep.", default="first"
)
@option(
    "--split", OneOf("leave_one_out", "temporal"), "temporal cuts all users at the same times.", default="leave_one_out"
)
@option("--valid_from", Whole(), "Start time of validation, in the data's unit.", shown="none")
@option("--test_from", Whole(), "Start time of testing, in the data's unit.", shown="none")
@option("--format", OneOf("jsonl", "csv", "parquet"), "Format of the reviews.", shown="from the file name")
@option(
    "--columns",
    Text('"user_id=FIELD item_id=FIELD"'),
    "Fields of the reviews, also of rating and timestamp.",
    default="",
    shown="the usual names",
    may_be_empty=True,
)
@option(
    "--item_columns",
    Text('"item_id=FIELD title=FIELD"'),
    "Fields of the metadata.",
    default="",
    shown="Amazon's names",
    may_be_empty=True,
)
@option("--header", Text("NAME,NAME"), "Column names of a CSV file without a header line.", shown="the first line")
@option("--separator", Text("CHARACTER"), "Separator of CSV columns, or tab.", shown="comma, or tab for .tsv")
@option("--max_broken", Share(), "Maximum share of broken records per file.", default="0.01")
@option("--memory", Text("SIZE"), "Memory limit of the database.", default="2GB")
@option("--overwrite", Switch(), "Replace an existing dataset of this name.", default="False")
@option("--show_progress", Switch(), "Show progress.", default="True")
def prepare(dataset, reviews, metadata, data_path, core, user_core, item_core, duplicates, **options):
    """Turn raw reviews and metadata into a dataset: Amazon 2014, 2018, 2023, or any CSV, JSONL, Parquet.

    Several files are separated by blanks; a pattern such as log-*.csv stands for all files it matches. The same files
    and options give the same bytes; an error or Ctrl-C leaves nothing behind.
    """
    if not NAME.fullmatch(dataset):
        raise ValueError(f"dataset='{dataset}' can't be a folder name: use letters, digits, '.', '-' and '_'")
    if dataset == BUNDLED:
        raise ValueError(
            f"dataset={BUNDLED} is bundled with RecBole, which reads no other of that name: choose another"
        )
    columns = {name: _mapping(name, options[name]) for name in ("columns", "item_columns")}
    borders = _borders(options["split"], options["valid_from"], options["test_from"])
    header = options["header"].split(",") if options["header"] else None
    paths = {"reviews": _paths("reviews", reviews), "metadata": _paths("metadata", metadata)}

    from dataset_prep.prepare import Options
    from dataset_prep.prepare import prepare as prepare_files
    from dataset_prep.raw_files import RawFile
    from dataset_prep.temporal_split import Period

    steps = Options(
        user_core=user_core or core,
        item_core=item_core or core,
        duplicates=duplicates,
        period=borders and Period(*borders),
        **columns,
        **{name: options[name] for name in ("max_broken", "memory", "overwrite", "show_progress")},
    )
    separator = separator_of(options["separator"])
    raw_reviews = [RawFile(path, options["format"], header, separator) for path in paths["reviews"]]
    raw_metadata = [RawFile(path) for path in paths["metadata"]]
    with log_to_stdout():
        return prepare_files(Path(data_path), dataset, raw_reviews, raw_metadata, steps)


def _paths(name, text):
    """Returns the files that are named with blanks between them; a pattern means all matching files, sorted by name."""
    paths = []
    for word in _words(name, text):
        found = sorted(glob(word)) if has_magic(word) and not Path(word).exists() else [word]
        if not found:
            raise FileNotFoundError(f"{name}={word} matches no file: check the path")
        paths += map(Path, found)
    if len(set(paths)) < len(paths):
        raise ValueError(f"{name}={text} names a file twice: name it once")
    return paths


def _words(name, text):
    """Splits text at blanks, except inside quotation marks."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{name}={text} is not understood ({error}): close the quotation mark") from error


def _mapping(name, text):
    """Parses `a=b c=d` into a dict."""
    pairs = [word.partition("=") for word in _words(name, text if "'" in text else text.replace(",", " "))]
    if not all(column and field for column, _, field in pairs) or len({pair[0] for pair in pairs}) < len(pairs):
        raise ValueError(f'{name}="{text}" is not understood: write COLUMN=FIELD COLUMN=FIELD .., each column once')
    return {column: field for column, _, field in pairs}


def _borders(split, valid_from, test_from):
    """Returns the border times of a temporal split, None for leave-one-out."""
    given = {"valid_from": valid_from, "test_from": test_from}
    names = [name for name, time in given.items() if time is not None]
    if split != "temporal":
        if names:
            raise ValueError(f"{names[0]} is not used with split={split}: leave it out, or give --split=temporal")
        return None
    if len(names) < 2:
        raise ValueError("split=temporal needs --valid_from=TIME and --test_from=TIME, in the data's unit: give them")
    if valid_from >= test_from:
        raise ValueError(f"valid_from={valid_from} is not before test_from={test_from}: swap them")
    return valid_from, test_from

"""recbole_unirep.commands.prepare: `unirep prepare` and `unirep validate`, from their arguments to dataset_prep.

Neither needs RecBole or torch.
"""

import logging
import re
import shlex
import sys
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path

from dataset_prep.prepare import Options, prepare
from dataset_prep.raw_files import RawFile
from dataset_prep.review_store import DUPLICATES
from dataset_prep.temporal_split import Period
from dataset_prep.validate import Fields, validate
from recbole_unirep.settings.values import split_arguments

DATA_PATH = "dataset/"  # RecBole's
PREPARE = {  # option -> what stands for it where it is not given
    "dataset": None,
    "reviews": None,
    "metadata": "",
    "data_path": DATA_PATH,
    "format": None,
    "columns": "",
    "item_columns": "",
    "header": None,
    "separator": None,
    "core": "5",
    "user_core": None,
    "item_core": None,
    "duplicates": "first",
    "split": "leave_one_out",
    "valid_from": None,
    "test_from": None,
    "max_broken": "0.01",
    "memory": "2GB",
    "overwrite": "False",
    "show_progress": "True",
    "debug": "False",
}
VALIDATE = {
    "data_path": DATA_PATH,
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "timestamp",
    "field_separator": "\t",
    "memory": "2GB",
    "debug": "False",
}
FORMATS, SPLITS = ("jsonl", "csv", "parquet"), ("leave_one_out", "temporal")
NAME = re.compile(r"\w[\w.-]*")
BUNDLED = "ml-100k"


def prepare_dataset(arguments):
    """Makes a dataset out of raw reviews and metadata.

    Args:
        arguments (sequence of str): `--dataset=NAME`, `--reviews="FILE FILE"`, and the further ones of PREPARE.

    Returns:
        Path: the dataset's folder.

    Raises:
        ValueError: an option or a file can't be used; nothing has been written then.
        FileNotFoundError: a file is missing.
        FileExistsError: the dataset is there.
    """
    given = _options("prepare", arguments, PREPARE)
    for name in ("dataset", "reviews"):
        if not given[name]:
            raise ValueError(f'prepare: --{name} is missing: write prepare --dataset=NAME --reviews="FILE.jsonl.gz"')
    if not NAME.fullmatch(given["dataset"]):
        raise ValueError(f"dataset='{given['dataset']}' is no name of a folder: use letters, digits, '.', '-' and '_'")
    if given["dataset"] == BUNDLED:
        raise ValueError(
            f"dataset={BUNDLED} is the one inside RecBole, which reads no other of that name: take another"
        )
    options = Options(
        user_core=_number("user_core" if given["user_core"] else "core", given["user_core"] or given["core"], 1),
        item_core=_number("item_core" if given["item_core"] else "core", given["item_core"] or given["core"], 1),
        duplicates=_one_of("duplicates", given["duplicates"], DUPLICATES),
        period=_period(given),
        columns=_mapping("columns", given["columns"]),
        item_columns=_mapping("item_columns", given["item_columns"]),
        max_broken=_share("max_broken", given["max_broken"]),
        memory=given["memory"],
        overwrite=_switch("overwrite", given["overwrite"]),
        show_progress=_switch("show_progress", given["show_progress"]),
    )
    if given["format"] is not None:
        _one_of("format", given["format"], FORMATS)
    header = given["header"].split(",") if given["header"] else None
    separator = "\t" if given["separator"] in ("tab", "\\t") else given["separator"]
    reviews = [RawFile(path, given["format"], header, separator) for path in _paths("reviews", given["reviews"])]
    metadata = [RawFile(path) for path in _paths("metadata", given["metadata"])]
    with _said():
        return prepare(Path(given["data_path"]), given["dataset"], reviews, metadata, options)


def validate_dataset(arguments):
    """Checks a dataset's atomic files as RecBole will read them, and says what it found.

    Args:
        arguments (sequence of str): the dataset's name, then options of VALIDATE.

    Returns:
        bool: whether RecBole reads them as they are meant.

    Raises:
        ValueError: an option can't be used.
        FileNotFoundError: there is no such dataset.
    """
    if not arguments or arguments[0].startswith("--"):
        raise ValueError("validate checks a dataset: write unirep validate DATASET, its name first")
    given = _options("validate", arguments[1:], VALIDATE)
    separator = "\t" if given["field_separator"] in ("tab", "\\t") else given["field_separator"]
    if len(separator) != 1:
        raise ValueError(f"field_separator='{separator}' is not one character: give one, or tab")
    fields = Fields(given["USER_ID_FIELD"], given["ITEM_ID_FIELD"], given["TIME_FIELD"], separator)
    with _said():
        return validate(Path(given["data_path"]), arguments[0], fields, given["memory"])


def _options(command, arguments, known):
    given = split_arguments(arguments)
    for name in given:
        if name not in known:
            raise ValueError(f"{command}: there is no --{name}: known are --{', --'.join(known)}")
    return {**known, **given}


def _paths(name, text):
    """Files separated by blanks, a pattern standing for all it matches, in order of their names."""
    paths = []
    for word in _words(name, text):
        found = sorted(glob(word)) if has_magic(word) and not Path(word).exists() else [word]
        if not found:
            raise FileNotFoundError(f"{name}={word} matches no file: look at the path")
        paths += map(Path, found)
    if len(set(paths)) < len(paths):
        raise ValueError(f"{name}={text} names a file twice: name it once")
    return paths


def _words(name, text):
    """What blanks separate, but for those in quotation marks."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{name}={text} is not understood ({error}): close the quotation mark") from error


def _mapping(name, text):
    """`a=b c=d` as a dict."""
    pairs = [word.partition("=") for word in _words(name, text if "'" in text else text.replace(",", " "))]
    if not all(column and field for column, _, field in pairs) or len({pair[0] for pair in pairs}) < len(pairs):
        raise ValueError(f'{name}="{text}" is not understood: write COLUMN=FIELD COLUMN=FIELD .., each column once')
    return {column: field for column, _, field in pairs}


def _period(given):
    split = _one_of("split", given["split"], SPLITS)
    borders = [name for name in ("valid_from", "test_from") if given[name] is not None]
    if split != "temporal":
        if borders:
            raise ValueError(f"{borders[0]} is given with split={split}: leave it out, or give --split=temporal")
        return None
    if len(borders) < 2:
        raise ValueError(
            "split=temporal needs its borders: give --valid_from=TIME --test_from=TIME, in the data's unit"
        )
    period = Period(*(_number(name, given[name], None) for name in borders))
    if period.valid_from >= period.test_from:
        raise ValueError(f"valid_from={period.valid_from} is not before test_from={period.test_from}: exchange them")
    return period


def _number(name, text, least):
    if not re.fullmatch(r"-?\d{1,18}", text) or (least is not None and int(text) < least):
        raise ValueError(f"{name}={text} is no whole number{'' if least is None else f' from {least} on'}: give one")
    return int(text)


def _share(name, text):
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{name}={text} is no share: give a number from 0 to 1")
    return share


def _one_of(name, text, known):
    if text not in known:
        raise ValueError(f"{name}={text} is not known: choose one of {', '.join(known)}")
    return text


def _switch(name, text):
    return _one_of(name, text.capitalize(), ("True", "False")) == "True"


@contextmanager
def _said():
    """Log lines go to standard output."""
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stdout)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)

"""prepare: turns raw reviews and metadata into a dataset, `NAME.inter` and `NAME.item`, with a manifest.

`prepare` reads from top to bottom: files and fields, reviews, duplicates and k-core, split, interactions, items,
manifest. A part of the data is in memory at a time. The same sources and options give the same bytes.
"""

import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dataset_prep.item_store import ItemStore
from dataset_prep.manifest import manifest_name, unfinished_name, write_manifest
from dataset_prep.raw_fields import (
    ITEM,
    RATING,
    TIME,
    USER,
    item_columns,
    item_value,
    rating,
    review_fields,
    token,
    whole_time,
)
from dataset_prep.raw_files import RawFile, Record
from dataset_prep.rejects import EARLY, Rejects
from dataset_prep.review_store import Counts, ReviewStore
from dataset_prep.spilling import VERSION, SpillingDatabase
from dataset_prep.temporal_split import Period, split_files
from dataset_prep.work_folder import FINISHED, publish, work_folder

logger = logging.getLogger()

REVIEWS_AT_ONCE, ITEMS_AT_ONCE = 250_000, 20_000
HINTS = {"csv": ", or, if the first line holds no names, with --header=user_id,item_id,rating,timestamp"}
SECONDS_BETWEEN_LINES = 30  # of progress, if no bar can be shown


class Options(NamedTuple):
    """How the data are filtered, split and written.

    Attributes:
        user_core (int): minimum number of interactions per user; 1 filters nothing.
        item_core (int): minimum number of interactions per item; 1 filters nothing.
        duplicates (str): which interaction per user and item to keep, 'first', 'last' or 'all'.
        period (Period, optional): borders of a temporal split; None is leave-one-out.
        columns (mapping): column of the `.inter` file to raw field; empty to go by the usual names.
        item_columns (mapping): column of the `.item` file to raw field; empty for Amazon's.
        max_broken (float): largest allowed fraction of broken records per file.
        memory (str): memory limit of the database.
        overwrite (bool): whether to replace the dataset of this name.
        show_progress (bool): whether to show progress.
    """

    user_core: int
    item_core: int
    duplicates: str
    period: Period | None
    columns: Mapping[str, str]
    item_columns: Mapping[str, str]
    max_broken: float
    memory: str
    overwrite: bool
    show_progress: bool


def prepare(
    data_path: Path, name: str, reviews: Sequence[RawFile], metadata: Sequence[RawFile], options: Options
) -> Path:
    """Prepares a dataset from raw files. If it raises, nothing has changed in the dataset's folder.

    Args:
        data_path (Path): folder of all datasets.
        name (str): name of the dataset.
        reviews (sequence of RawFile): read in this order.
        metadata (sequence of RawFile): of the items; may be empty.
        options (Options): how the data are filtered, split and written.

    Returns:
        Path: the dataset's folder.

    Raises:
        ValueError: a file or an option can't be used, or no interaction is left.
        FileExistsError: the dataset exists, and replacing it was not requested.
    """
    target = data_path / name
    there = [target / f"{name}.{end}" for end in ("inter", "item") if (target / f"{name}.{end}").exists()]
    if target.exists() and not target.is_dir():
        raise FileExistsError(
            f"{target} is a file, but the dataset needs a folder of that name: choose another --dataset"
        )
    if there and not options.overwrite:
        raise FileExistsError(
            f"{there[0]} exists: choose another --dataset, or replace the dataset with --overwrite=True"
        )
    fields = _fields_of_reviews(reviews, options.columns)
    if options.period and TIME not in fields[0]:
        raise ValueError(
            "split=temporal needs times, but no field holds them: name one with --columns, or leave --split out"
        )
    columns = _columns_of_items(metadata, options.item_columns)
    with work_folder(data_path, name) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about unknown escapes in Python literals
        database = SpillingDatabase(folder, options.memory)
        finished = folder / FINISHED
        rejects = Rejects(finished / f"{name}.rejected.jsonl", options.max_broken)
        try:
            store = ReviewStore(database)
            for source, fields_of_source in zip(reviews, fields):
                _read_reviews(source, fields_of_source, store, rejects, options.show_progress)
            counts, record = _filter(store, options)
            if options.period:
                rows = store.rows_by_period(*options.period)
                for file, text in split_files(name, options.period, rows).items():
                    (finished / file).write_text(text, encoding="utf-8", newline="\n")
                record["rows_by_period"] = rows
            logger.info(f"writing {name}.inter")
            store.write(finished / f"{name}.inter", RATING in fields[0], TIME in fields[0])
            if metadata:
                record.update(_write_items(metadata, columns, database, rejects, finished / f"{name}.item", options))
        finally:
            database.close()
            rejects.close()
        record = {
            "duckdb": VERSION,
            "options": _settings(options),
            "sources": _sources(reviews, metadata, rejects),
            **record,
        }
        write_manifest(finished, name, record)
        publish(folder, target, manifest_name(name), unfinished_name(name))
    if rejects.n_all:
        logger.warning(f"{rejects.n_all:,} broken records: {target / rejects.path.name}")
    logger.info(f"{target}: {counts.interactions:,} interactions, {counts.users:,} users, {counts.items:,} items")
    return target


def _fields_of_reviews(files, asked):
    fields = [review_fields(file.field_names(), asked, file.path, HINTS.get(file.kind, "")) for file in files]
    for file, found in zip(files, fields):
        if found.keys() != fields[0].keys():
            raise ValueError(
                f"{file.path} has {', '.join(found)}, {files[0].path} has {', '.join(fields[0])}: prepare only files "
                f'with the same columns together, or name shared ones with --columns="user_id=FIELD item_id=FIELD .."'
            )
        logger.info(f"{file.path.name}: {', '.join(f'{column} is {field}' for column, field in found.items())}")
    if TIME not in fields[0]:
        logger.warning("no field holds times: the order of the records is used as their order in time")
    return fields


def _columns_of_items(files, asked):
    """The columns that at least one file has (list of ItemColumn)."""
    names = {name for file in files for name in file.field_names()}
    columns = item_columns(asked)
    missing = [column for column in columns if names.isdisjoint(column.fields)]
    if files and (columns[0] in missing or (asked and missing)):
        raise ValueError(
            f"{files[0].path} has no {' or '.join(missing[0].fields)} for {missing[0].name}, its fields are "
            f'{", ".join(sorted(names)) or "none"}: name them with --item_columns="item_id=FIELD title=FIELD .."'
        )
    return [column for column in columns if column not in missing]


def _read_reviews(source, fields, store, rejects, show_progress):
    """Appends the interactions of a file to the store."""
    user_field, item_field = fields[USER], fields[ITEM]
    rating_field, time_field = fields.get(RATING), fields.get(TIME)
    users, items, ratings, times = block = [], [], [], []
    for record in _shown(source, rejects, show_progress):
        values = record.fields
        try:
            if type(values) is str:
                raise ValueError(values)
            user, item = token(values.get(user_field), USER), token(values.get(item_field), ITEM)
            stars = rating(values.get(rating_field)) if rating_field else None
            if time_field:
                times.append(whole_time(values.get(time_field)))
        except ValueError as error:
            rejects.add(source.path, record.number, str(error), record.raw)
            continue
        users.append(user)
        items.append(item)
        if rating_field:
            ratings.append(stars)
        if len(users) == REVIEWS_AT_ONCE:
            store.append(*block)
            for column in block:
                column.clear()
    if users:
        store.append(*block)


def _filter(store, options) -> tuple[Counts, dict]:
    """Drops duplicates, then applies the k-core; returns the counts, and a record of the steps."""
    n_read = store.n_rows
    logger.info(f"read {n_read:,} interactions; duplicates: {options.duplicates}")
    store.number(options.user_core, options.item_core)
    n_duplicates = store.drop_duplicates(options.duplicates)
    logger.info(f"dropped {n_duplicates:,} duplicates; user_core: {options.user_core}, item_core: {options.item_core}")
    n_rounds = store.keep_core(options.user_core, options.item_core)
    counts = store.finish()
    logger.info(f"kept {counts.interactions:,} interactions after {n_rounds:,} rounds")
    if not counts.interactions:
        raise ValueError(
            f"none of {n_read:,} interactions is left (user_core {options.user_core}, item_core {options.item_core}): "
            f"lower the cores"
        )
    record = {"interactions_read": n_read, "duplicates_dropped": n_duplicates, "core_rounds": n_rounds}
    return counts, {"counts": {**record, **counts._asdict()}}


def _write_items(files, columns, database, rejects, out, options):
    """Writes the `.item` file and returns a record of it (dict)."""
    store, rows = ItemStore(database, columns), []
    n_without_number = 0
    for source in files:
        for record in _shown(source, rejects, options.show_progress):
            values = record.fields
            try:
                if type(values) is str:
                    raise ValueError(values)
                cells = [token(_first(values, columns[0].fields), ITEM)]
                for column in columns[1:]:
                    value = _first(values, column.fields)
                    cells.append(item_value(value, column.type))
                    n_without_number += column.type == "float" and cells[-1] is None and value not in (None, "")
            except ValueError as error:
                rejects.add(source.path, record.number, str(error), record.raw)
                continue
            rows.append(cells)
            if len(rows) == ITEMS_AT_ONCE:
                store.append(rows)
                rows = []
    if rows:
        store.append(rows)
    logger.info(f"writing {out.name}")
    n_missing = store.write(out)
    logger.info(
        f"{n_missing:,} items have no metadata, {n_without_number:,} cells of float columns are empty because they do "
        f"not hold exactly one number"
    )
    return {"items_without_metadata": n_missing, "cells_without_number": n_without_number}


def _first(values, fields):
    """The value of the first field that a record has; None without any."""
    return next((values[field] for field in fields if field in values), None)


def _shown(source, rejects, show_progress) -> Iterator[Record]:
    """Yields a file's records, shows progress, and raises ValueError if too many are broken."""
    size = source.path.stat().st_size
    bar = tqdm(
        total=size,
        unit="B",
        unit_scale=True,
        desc=source.path.name,
        disable=None if show_progress else True,
        leave=False,
    )
    last = time.monotonic()
    with bar:
        for record in source.records():
            yield record
            if source.n_read % EARLY:
                continue
            if source.n_read == EARLY:
                rejects.check(source.path, EARLY, at_end=False)
            bar.update(source.n_bytes - bar.n)
            if show_progress and bar.disable and time.monotonic() - last > SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                logger.info(f"{source.path.name}: {source.n_read:,} records, {source.n_bytes / size:.0%} of the file")
    rejects.check(source.path, source.n_read, at_end=True)
    logger.info(f"{source.path.name}: {source.n_read:,} records, {rejects.n_broken.get(source.path, 0):,} broken")


def _settings(options):
    """The options that the result depends on (dict)."""
    kept = options._asdict()
    for key in ("memory", "overwrite", "show_progress", "period"):
        del kept[key]
    return {**kept, "split": options.period.settings() if options.period else "leave_one_out"}


def _sources(reviews, metadata, rejects):
    return [
        {**file.summary(), "holds": what, "broken": rejects.n_broken.get(file.path, 0)}
        for what, files in (("reviews", reviews), ("metadata", metadata))
        for file in files
    ]

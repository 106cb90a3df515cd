"""validate: checks a dataset's atomic files against the way RecBole reads them.

An error makes RecBole stop or misread the data; a warning silently changes the task.
"""

import logging
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset_prep.atomic_files import Row, fault_of, is_missing, read_columns, read_rows
from dataset_prep.manifest import changed_files
from dataset_prep.raw_fields import shown
from dataset_prep.spilling import SpillingDatabase
from dataset_prep.text import quoted_parts

logger = logging.getLogger()

ROWS_AT_ONCE = 250_000


class Fields(NamedTuple):
    """Column names and separator of a dataset's files.

    Attributes:
        user (str): column of the users.
        item (str): column of the items.
        time (str): column of the times.
        separator (str): between the columns.
    """

    user: str
    item: str
    time: str
    separator: str


class Findings:
    """What is wrong with a file: every kind of finding once, with its number of rows and first line.

    Args:
        file (Path): the file.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.found = file, {}

    def add(self, level: str, text: str, line: int = 0, example: str = "", times: int = 1) -> None:
        """Adds a finding: `text` is the same for all of its kind, `example` is about this one."""
        n, first = self.found.get((level, text), (0, f"line {line:,}{example and f': {example}'}" if line else ""))
        self.found[level, text] = (n + times, first)

    def report(self) -> int:
        """Logs all findings, errors first, and returns the number of errors."""
        errors = 0
        for (level, text), (n, first) in sorted(self.found.items(), key=lambda finding: finding[0][0] != "error"):
            rows = f" ({f'{n:,} rows, first ' if n > 1 else ''}{first})" if first else ""
            logger.warning(f"{level}: {self.file.name}: {text}{rows}")
            errors += level == "error"
        return errors


def validate(data_path: Path, name: str, fields: Fields, memory: str) -> bool:
    """Reads a dataset's files once and logs what is wrong with them.

    Args:
        data_path (Path): folder of all datasets.
        name (str): name of the dataset.
        fields (Fields): names of its columns.
        memory (str): memory limit of the database.

    Returns:
        bool: True without errors.

    Raises:
        FileNotFoundError: there is no such dataset.
    """
    folder = data_path / name
    inter = folder / f"{name}.inter"
    if not inter.is_file():
        parts = sorted(path.name for path in folder.glob(f"{name}.*.inter"))
        also = f", found {', '.join(parts)}, which a split by time does not read" if parts else ""
        raise FileNotFoundError(f"{inter} is missing{also}: give --data_path=FOLDER with {name}/{name}.inter in it")
    n_errors = 0
    with tempfile.TemporaryDirectory(prefix="unirep-validate-") as scratch:
        database = SpillingDatabase(Path(scratch), memory)
        try:
            n_errors += _check_interactions(inter, fields, database)
            for kind, column in (("item", fields.item), ("user", fields.user)):
                file = folder / f"{name}.{kind}"
                if file.is_file():
                    n_errors += _check_features(file, kind, column, fields.separator, database)
        finally:
            database.close()
    for text in changed_files(folder, name):
        logger.warning(f"error: {text}")
        n_errors += 1
    logger.info(f"{folder}: {f'kinds of errors found: {n_errors}' if n_errors else 'RecBole reads it as intended'}")
    return not n_errors


def _check_interactions(file, fields, database):
    """Checks the `.inter` file and stores its users and items in the table `pairs`."""
    findings = Findings(file)
    columns = _columns(file, fields.separator, findings, (fields.user, fields.item))
    if not columns:
        return findings.report()
    names = list(columns)
    user, item = names.index(fields.user), names.index(fields.item)
    time = names.index(fields.time) if fields.time in names else None
    if time is None:
        findings.add("warning", f"no column {fields.time}: the order of the rows is used as their order in time")
    elif columns[fields.time] != "float":
        findings.add(
            "error", f"column {fields.time} has type {columns[fields.time]}, RecBole sorts times of type float"
        )
        time = None
    database.run("CREATE TABLE pairs (user_id VARCHAR, item_id VARCHAR)")
    users, items, last, is_sorted, is_exact, n_rows = [], [], -math.inf, True, True, 0
    for row in _checked(file, columns, fields.separator, findings, (user, item)):
        n_rows += 1
        users.append(row.cells[user])
        items.append(row.cells[item])
        if time is not None:
            now = _time(row.cells[time])
            if not math.isfinite(now):
                findings.add("error", f"no {fields.time}, RecBole uses the mean instead", row.number)
            is_sorted, last = is_sorted and now >= last, now
            is_exact = is_exact and float(np.float32(now)) == now
        if len(users) == ROWS_AT_ONCE:
            database.append("pairs", {"user_id": users, "item_id": items})
            users, items = [], []
    if users:
        database.append("pairs", {"user_id": users, "item_id": items})
    if not is_sorted and not is_exact:
        findings.add(
            "warning", f"not sorted by {fields.time}, and stock RecBole sorts times as float32, which mixes up close "
            f"ones: sort the file (this package sorts exactly)"
        )  # fmt: skip
    n_users, n_items, n_pairs, n_short = database.row(
        "SELECT count(*), (SELECT count(DISTINCT item_id) FROM pairs), coalesce(sum(n_items), 0)::BIGINT, "
        "count(*) FILTER (n < 4) FROM (SELECT count(*) AS n, count(DISTINCT item_id) AS n_items FROM pairs "
        "GROUP BY user_id)"
    )
    if not n_rows:
        findings.add("error", "not a single row can be read")
    if n_pairs < n_rows:
        findings.add("warning", f"{n_rows - n_pairs:,} rows repeat a pair of user and item")
    if n_short:
        findings.add(
            "warning", f"{n_short:,} of {n_users:,} users have fewer than 4 interactions, too few for leave-one-out"
        )
    logger.info(
        f"{file.name}: {n_rows:,} interactions, {n_users:,} users, {n_items:,} items; columns {_listed(columns)}"
    )
    return findings.report()


def _check_features(file, kind, column, separator, database):
    """Checks the `.item` or `.user` file against the interactions."""
    findings = Findings(file)
    columns = _columns(file, separator, findings, (column,))
    if not columns:
        return findings.report()
    key = list(columns).index(column)
    table = f"{kind}_rows"
    database.run(f"CREATE TABLE {table} (token VARCHAR)")
    tokens, n_rows = [], 0
    for row in _checked(file, columns, separator, findings, (key,)):
        n_rows += 1
        tokens.append(row.cells[key])
        if len(tokens) == ROWS_AT_ONCE:
            database.append(table, {"token": tokens})
            tokens = []
    if tokens:
        database.append(table, {"token": tokens})
    n_tokens = database.row(f"SELECT count(DISTINCT token) FROM {table}")[0]
    side = f"(SELECT DISTINCT {kind}_id AS token FROM pairs)"
    has_pairs = database.row("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'pairs'")[0]
    if n_tokens < n_rows:
        findings.add("error", f"{n_rows - n_tokens:,} rows repeat an earlier {kind}: keep one row per {kind}")
    if has_pairs:
        n_without = database.row(f"SELECT count(*) FROM {side} wanted ANTI JOIN {table} USING (token)")[0]
        n_beyond = database.row(
            f"SELECT count(*) FROM (SELECT DISTINCT token FROM {table}) ANTI JOIN {side} USING (token)"
        )[0]
        if n_without:
            findings.add(
                "warning", f"{n_without:,} {kind}s with interactions have no row here: stock RecBole drops their "
                f"interactions (filter_inter_by_user_or_item)"
            )  # fmt: skip
        if n_beyond:
            findings.add("warning", f"{n_beyond:,} {kind}s have no interactions: if loaded, they enter the catalogue")
    logger.info(f"{file.name}: {n_rows:,} rows; columns {_listed(columns)}")
    return findings.report()


def _columns(file, separator, findings, needed):
    """The columns (dict), empty if the header can't be used."""
    try:
        columns = read_columns(file, separator)
    except ValueError as error:
        findings.add("error", str(error))
        return {}
    missing = [name for name in needed if name not in columns]
    if missing:
        findings.add("error", f"no column {' or '.join(missing)}, only {_listed(columns)}")
        return {}
    for name in needed:
        if columns[name] != "token":
            findings.add("error", f"column {name} is {columns[name]}, it must be token")
    return columns


def _checked(file, columns, separator, findings, keys) -> Iterator[Row]:
    """Yields the rows that RecBole keeps, and adds a finding for everything wrong with any row."""
    kinds = list(columns.items())
    numbers_and_lists = [(place, name, kind) for place, (name, kind) in enumerate(kinds) if kind != "token"]
    for row in read_rows(file, separator):
        cells = row.cells
        if row.error:
            findings.add("error", "RecBole's reader stops at the row", row.number, row.error)
            continue
        if len(cells) > len(kinds):
            findings.add(
                "error", f"more cells than the header's {len(kinds)}, RecBole stops", row.number, f"{len(cells)}"
            )
            continue
        if len(cells) < len(kinds):
            findings.add(
                "error", f"fewer cells than the header's {len(kinds)}, RecBole fills them", row.number, f"{len(cells)}"
            )
            continue
        if row.n_lines > 1:
            findings.add("warning", "a quotation mark joins several lines", row.number, f"{row.n_lines} lines")
        gaps = [name for place, (name, _) in enumerate(kinds) if place in keys and is_missing(cells[place])]
        if gaps:
            findings.add("error", f"{' and '.join(gaps)} is read as missing, RecBole drops the row", row.number)
            continue
        for place, name, kind in numbers_and_lists:
            _check_cell(cells[place], name, kind, row.number, findings)
        faulty = {place for place, (_, kind) in enumerate(kinds) if kind == "token" and fault_of(cells[place], kind)}
        for place in faulty:
            findings.add("error", f"{kinds[place][0]} is not UTF-8, RecBole stops", row.number, shown(cells[place]))
        if faulty.isdisjoint(keys):
            yield row


def _check_cell(cell, name, kind, line, findings):
    fault = fault_of(cell, kind)
    if fault:
        findings.add("error", f"{name} {fault}, RecBole stops", line, shown(cell))
    elif kind == "token_seq" and cell[:1] in ("'", '"') and quoted_parts(cell):
        findings.add(
            "note", f"{name} holds quoted lists: this package reads them as lists, stock RecBole splits them at spaces"
        )  # fmt: skip


def _time(cell):
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _listed(columns):
    return ", ".join(f"{name}:{kind}" for name, kind in columns.items())

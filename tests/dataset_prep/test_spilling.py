"""The database: not installed, or with less memory than rows."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from dataset_prep.review_store import ReviewStore
from dataset_prep.spilling import SpillingDatabase

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = "import sys; sys.modules['duckdb'] = None; from recbole_unirep.cli import unirep; sys.exit(unirep())"


@pytest.mark.parametrize("arguments", [["prepare", "--dataset=a", "--reviews=b.csv"], ["validate", "a"]])
def test_without_duckdb_one_line_says_what_to_install(arguments):
    answer = subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith("unirep: unirep prepare and unirep validate need duckdb")
    assert answer.stderr.endswith("install it with pip install 'recbole-unirep[prep]'\n")
    assert answer.stderr.count("\n") == 1


def test_appended_rows_do_not_stay_in_memory(tmp_path):
    database = SpillingDatabase(tmp_path, "64MB")
    store = ReviewStore(database)
    names = np.array(["u1", "u2"], dtype=object)
    held = weakref.ref(names)
    store.append(names, ["i1", "i2"], [], [1, 2])
    assert held() is not None
    del names
    gc.collect()
    assert held() is None
    database.close()


def test_rows_that_exceed_the_memory_go_to_disk(tmp_path):
    database = SpillingDatabase(tmp_path, "64MB")
    store, n_users, n_rows = ReviewStore(database), 75_000, 300_000
    for start in range(0, n_rows, 100_000):
        lines = range(start, start + 100_000)
        users = [f"a name of twenty-eight {line % n_users:09d}" for line in lines]
        items = [f"an item's name {line * 7 % 49_999:09d}" for line in lines]
        store.append(users, items, [], [n_rows - line for line in lines])
    store.number(4, 1)
    assert store.drop_duplicates("first") == 0
    assert store.keep_core(4, 1) == 0
    assert store.finish()[:3] == (n_rows, n_users, 49_999)
    store.write(tmp_path / "made.inter", False, True)
    database.close()
    with open(tmp_path / "made.inter", encoding="utf-8") as lines:
        next(lines)
        times = [int(line.rpartition("\t")[2]) for line in lines]
    assert times == list(range(1, n_rows + 1))

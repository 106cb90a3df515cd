"""The fast parser returns the same table as RecBole's call, but integer times as int64."""

import numpy as np
import pandas
import pytest
from recbole.data.dataset import dataset as recbole_dataset

from recbole_unirep.data.reading import fast_reader

ROWS = ["u1\ti1\t17\t0.1", 'u2\t"a ""b"\t-3\t1e-3', "NA\ti,3\t0\t", "u4\t\u00e9 \t5\t0.75"]
TYPES = {"user:token": str, "item:token": str, "timestamp:float": np.float64, "rating:float": np.float64}


def read(file, rows, separator="\t"):
    lines = ["\t".join(TYPES), *rows]
    file.write_text("\n".join(lines).replace("\t", separator) + "\n", encoding="utf-8")
    options = {"usecols": list(TYPES), "dtype": TYPES, "encoding": "utf-8", "engine": "python"}
    expected = pandas.read_csv(file, delimiter=separator, **options)
    with fast_reader("timestamp"):
        return recbole_dataset.pd.read_csv(file, delimiter=separator, **options), expected


def test_the_table_equals_that_of_pandas_with_integer_times(tmp_path):
    table, expected = read(tmp_path / "file", ROWS)
    assert table["timestamp:float"].dtype == np.int64
    pandas.testing.assert_frame_equal(table.astype({"timestamp:float": float}), expected, check_exact=True)
    assert table["item:token"][1] == 'a "b'
    assert recbole_dataset.pd is pandas


@pytest.mark.parametrize("time", ["0.5", "1e30", "99999999999999999999"])
def test_times_that_are_not_integers_are_floats(tmp_path, time):
    table, expected = read(tmp_path / "file", [*ROWS, f"u5\ti5\t{time}\t1"])
    assert table["timestamp:float"].dtype == np.float64
    pandas.testing.assert_frame_equal(table, expected, check_exact=True)


def test_a_separator_may_have_several_characters(tmp_path):
    table, expected = read(tmp_path / "file", ["u1\ti1\t17\t0.1"], separator="::")
    pandas.testing.assert_frame_equal(table, expected, check_exact=True)


def test_numbers_are_exact(tmp_path):
    table, _ = read(tmp_path / "file", ["u1\ti1\t17\t0.30000000000000004"])
    assert table["rating:float"][0] == 0.30000000000000004


def test_a_time_that_is_not_a_number_is_an_error(tmp_path):
    file = tmp_path / "file"
    file.write_text("user:token\ttimestamp:float\nu1\tnoon\n", encoding="utf-8")
    options = {"usecols": ["user:token", "timestamp:float"], "encoding": "utf-8", "engine": "python"}
    with pytest.raises(ValueError, match="noon"), fast_reader("timestamp"):
        recbole_dataset.pd.read_csv(file, delimiter="\t", dtype={"timestamp:float": float}, **options)
    assert recbole_dataset.pd is pandas

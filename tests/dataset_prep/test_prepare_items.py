"""The `.item` file: one row per kept item, with texts that RecBole and `item_sentences` read back."""

import gzip
import json

import pandas as pd
import pytest

from dataset_prep.raw_fields import item_value, rating, token, whole_time
from dataset_prep.text import item_sentences
from recbole_unirep.commands.prepare import prepare as prepare_dataset

METADATA = {
    "2014": {
        "asin": "B1",
        "title": 'A "fine"\tbrush',
        "brand": "Ren & Co",
        "categories": [["Beauty", "Women's", "Skin, Care"], ["Beauty", "Face"]],
        "price": 5.0,
        "description": "Soft.\nVery   soft.",
        "related": {"also_bought": ["B2"]},
    },
    "2018": {
        "asin": "B1",
        "title": 'A "fine" brush',
        "brand": "Ren & Co",
        "category": ["Beauty", "Women's", "Skin, Care", "Face"],
        "price": "$5.00",
        "description": ["Soft.", "Very soft."],
    },
    "2023": {
        "parent_asin": "B1",
        "title": 'A "fine" brush',
        "store": "Ren & Co",
        "categories": ["Beauty", "Women's", "Skin, Care", "Face"],
        "price": 5.0,
        "description": ["Soft.", "Very soft."],
        "details": {"Colour": "red"},
    },
}
LITERAL = {"2014": True, "2018": False, "2023": False}


def made(tmp_path, metadata, *options):
    """The `.item` file of two users who interacted with B1 and B2, as pandas reads it."""
    lines = [{"user_id": user, "item_id": item, "timestamp": 1} for user in ("u1", "u2") for item in ("B2", "B1")]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    arguments = [f"--reviews={tmp_path / 'raw.jsonl'}", f"--metadata={metadata}", "--core=2", *options]
    prepare_dataset(["--dataset=made", f"--data_path={tmp_path}", *arguments])
    return pd.read_csv(tmp_path / "made" / "made.item", sep="\t", dtype=str, engine="python", keep_default_na=False)


@pytest.mark.parametrize("year", METADATA)
def test_amazons_metadata_of_every_year_give_the_same_row(tmp_path, year):
    form = repr if LITERAL[year] else json.dumps
    key = "parent_asin" if year == "2023" else "asin"
    lines = [{key: "B9", "title": "without interactions"}, METADATA[year], {**METADATA[year], "title": "later"}]
    (tmp_path / "meta.json.gz").write_bytes(gzip.compress("".join(f"{form(line)}\n" for line in lines).encode()))
    table = made(tmp_path, tmp_path / "meta.json.gz")
    assert list(table) == [
        "item_id:token", "title:token", "brand:token", "categories:token_seq", "price:float", "description:token"
    ]  # fmt: skip
    categories = "'Beauty', \"Women's\", 'Skin, Care', 'Face'"
    assert table.values.tolist() == [
        ["B1", 'A "fine" brush', "Ren & Co", categories, "5.0", "Soft. Very soft."],
        ["B2", "", "", "", "", ""],  # without metadata, and RecBole would drop its interactions without a row
    ]
    sentences = item_sentences(tmp_path / "made" / "made.item", None, ["B1"], "item_id", "\t").sentences
    assert sentences == [
        'title: A "fine" brush; brand: Ren & Co; categories: Beauty, Women\'s, Skin, Care, Face; price: 5.0'
    ]
    manifest = json.loads((tmp_path / "made" / "made.manifest.json").read_text(encoding="utf-8"))
    assert manifest["items_without_metadata"] == 1


def test_columns_of_items_are_named_by_the_user(tmp_path):
    (tmp_path / "meta.csv").write_text("id,name,tags,year\nB2,Rain,\"['a b', 'c']\",1999\nB1,,x y,\n", encoding="utf-8")
    columns = "--item_columns=title=name item_id=id genres:token_seq=tags year:float=year"
    table = made(tmp_path, tmp_path / "meta.csv", columns)
    assert list(table) == ["item_id:token", "title:token", "genres:token_seq", "year:float"]
    assert table.values.tolist() == [["B1", "", "x y", ""], ["B2", "Rain", "'a b', 'c'", "1999.0"]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("item_id=id colour=hue", "has no hue for colour, its fields are id, name"),
        ("title=name", "must name each column once and item_id among them"),
        ("item_id=id title:words=name", "'title:words'"),
        ("item_id=id title", "is not understood"),
    ],
)
def test_unusable_item_columns_are_named(tmp_path, columns, message):
    (tmp_path / "meta.csv").write_text("id,name\nB1,Rain\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        made(tmp_path, tmp_path / "meta.csv", f"--item_columns={columns}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["meta.csv", "raw.jsonl"]


@pytest.mark.parametrize(
    ("value", "kind", "cell"),
    [
        ("$1,234.50", "float", "1234.5"),
        ("$12.99 - $20.00", "float", None),
        ("from 3", "float", None),
        (7, "float", "7.0"),
        (float("nan"), "float", None),
        (None, "token", None),
        ("  ", "token", None),
        (3, "token", "3"),
        ("nul\0 and \ud800", "token", "nul and ?"),
        ([], "token_seq", None),
        ([" ", "a  b", "a b"], "token_seq", "'a b'"),
        ("[broken", "token_seq", "[broken"),
    ],
)
def test_values_become_cells(value, kind, cell):
    assert item_value(value, kind) == cell


def test_no_cell_holds_a_mapping():
    with pytest.raises(ValueError, match="dict"):
        item_value({"a": 1}, "token")


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1_400_000_000, 1_400_000_000),
        (1.4e9, 1_400_000_000),
        (" 1400000000 ", 1_400_000_000),
        ("1400000000.0", 1_400_000_000),
        ("1.4e9", 1_400_000_000),
        ("1970-01-01", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59", -1_000_000),
    ],
)
def test_a_time_is_an_integer(value, time):
    assert whole_time(value) == time


@pytest.mark.parametrize("value", [None, "", 1.5, "1.5", "yesterday", True, float("nan"), "inf", 2**63, [1]])
def test_a_fraction_or_text_is_no_time(value):
    with pytest.raises(ValueError, match="timestamp is "):
        whole_time(value)


@pytest.mark.parametrize("value", [None, "", " ", "NA", "None", "a\tb", "a\nb", "\udcff", "a\0", 1.0, True, ["a"]])
def test_a_token_that_recbole_would_not_read_back_is_refused(value):
    with pytest.raises(ValueError, match="user_id is "):
        token(value, "user_id")


@pytest.mark.parametrize("value", ["a", 17, "naïve", "a b", 'say "so"', "'quoted'", "日本", "\u00a0x"])
def test_a_token_is_unchanged(value):
    assert token(value, "user_id") == str(value)


@pytest.mark.parametrize("value", [None, "", "five", float("nan"), "inf", True, [5]])
def test_a_rating_must_be_a_number(value):
    with pytest.raises(ValueError, match="rating is "):
        rating(value)

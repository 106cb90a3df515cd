import hashlib
import json
import logging
from pathlib import Path

import pytest

from dataset_prep.text import item_sentences, value_text

DATASETS = Path(__file__).parents[2] / "../shared/datasets"
FIELDS = ["title", "keywords", "brand", "categories", "price"]


def sentences_of(folder, fields=None, items=("i1", "i2", "i3", "i4")):
    return item_sentences(folder / "toy.item", fields, list(items), "item_id", "\t")


def test_a_sentence_has_the_values_of_the_file_without_gaps(folder):
    sentences, template = sentences_of(folder)
    assert sentences == [
        "title: Crabtree & Evelyn Hand; brand: Crabtree; categories: Beauty, Creams, Gels & Lotions; price: 9.49",
        "title: Prada Candy; categories: Beauty, Women's",
        'title: A "fine" brush; price: 5',
        "",
    ]
    assert template == "title: ..; brand: ..; categories: ..; price: .."


def test_fields_are_taken_in_the_order_named_and_absent_ones_are_logged(folder, caplog):
    caplog.set_level(logging.INFO)
    sentences, template = sentences_of(folder, ["price", "colour", "title"], ["i3", "unknown", "i1"])
    assert sentences == ['price: 5; title: A "fine" brush', "", "price: 9.49; title: Crabtree & Evelyn Hand"]
    assert template == "price: ..; title: .."
    assert "toy.item has no column colour" in caplog.text


def test_no_known_field_is_an_error_that_lists_the_columns(folder):
    with pytest.raises(ValueError, match=r"none of the columns \['colour'\].*'title', 'categories', 'price', 'brand'"):
        sentences_of(folder, ["colour"])


def test_wrong_item_column_is_an_error(folder):
    with pytest.raises(ValueError, match="no column 'asin'"):
        item_sentences(folder / "toy.item", None, ["i1"], "asin", "\t")


def test_first_row_of_an_item_counts(folder, caplog):
    caplog.set_level(logging.INFO)
    with open(folder / "toy.item", "a", encoding="utf-8") as file:
        file.write("i2\tAnother\t\t\t\n")
    assert sentences_of(folder, ["title"], ["i2"]).sentences == ["title: Prada Candy"]
    assert "has 1 repeated rows" in caplog.text


def test_a_row_with_too_few_cells_keeps_its_values(folder):
    (folder / "toy.item").write_text("item_id:token\ttitle:token\tprice:float\ni1\tBrush\n", encoding="utf-8")
    assert sentences_of(folder, None, ["i1"]).sentences == ["title: Brush"]


def test_words_that_pandas_reads_as_missing_stay_words(folder):
    (folder / "toy.item").write_text("item_id:token\tname:token\nNA\tNone\n", encoding="utf-8")
    assert sentences_of(folder, None, ["NA"]).sentences == ["name: None"]


def test_missing_and_broken_files_are_named(folder):
    with pytest.raises(FileNotFoundError, match=r"other.item is missing.*--text_encoder=NAME.*--representation=id"):
        item_sentences(folder / "other.item", None, ["i1"], "item_id", "\t")
    (folder / "toy.item").write_text('item_id:token\ttitle:token\ni1\t"never closed\n', encoding="utf-8")
    with pytest.raises(ValueError, match="toy.item can't be read"):
        sentences_of(folder)


def test_columns_may_have_another_separator(folder):
    (folder / "toy.item").write_text("item_id:token|title:token\ni1|Hand\tCream\n", encoding="utf-8")
    sentences, _ = item_sentences(folder / "toy.item", None, ["i1"], "item_id", "|")
    assert sentences == ["title: Hand Cream"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("'Beauty', 'Skin Care'", "Beauty, Skin Care"),
        ("'Beauty', \"Women's\"", "Beauty, Women's"),
        ("'Beauty' 'Skin Care'", "Beauty, Skin Care"),
        ("'Men\\'s', 'Cold, dry'", "Men's, Cold, dry"),
        ("'Beauty' and more 'Beauty'", "'Beauty' and more 'Beauty'"),
        ("'Home &amp; Kitchen', ' '", "Home & Kitchen"),
        ("Animation Children's Comedy", "Animation Children's Comedy"),
        ("'60s Music", "'60s Music"),
        ("et(", ""),
        ("  ", ""),
    ],
)
def test_sequences_are_joined_by_commas_and_plain_words_stay(value, text):
    assert value_text(value, "token_seq") == text


def test_a_quoted_title_keeps_its_quotation_marks():
    assert value_text("'Round Midnight'", "token") == "'Round Midnight'"


# The hashes are from each dataset's minilm.json, which other code wrote; the counts are from the datasets' README.
@pytest.mark.skipif(not DATASETS.is_dir(), reason="the shared Amazon data is not here")
@pytest.mark.parametrize(
    ("dataset", "filled"),
    [
        ("amazon-beauty", {"title": 12094, "brand": 10003, "price": 11516}),
        ("amazon-sports-outdoors", {"keywords": 18357, "categories": 18357}),
        ("amazon-toys-games", {"title": 11763, "categories": 11924}),
    ],
)
def test_real_sentences_are_those_of_the_shared_vectors(dataset, filled, caplog):
    caplog.set_level(logging.INFO)
    record = json.loads((DATASETS / dataset / f"{dataset}.minilm.json").read_text(encoding="utf-8"))
    sentences, _ = item_sentences(DATASETS / dataset / f"{dataset}.item", FIELDS, record["items"], "item_id", "\t")
    assert hashlib.sha256("\n".join(sentences).encode()).hexdigest() == record["texts_sha256"]
    assert all(f"{field} {count}" in caplog.text for field, count in filled.items())
    if dataset == "amazon-beauty":
        assert len(sentences) == 12101

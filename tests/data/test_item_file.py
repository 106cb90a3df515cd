"""Which of an item's category names counts, and that items find theirs."""

from types import SimpleNamespace

import numpy as np
import pytest

from recbole_unirep.data.item_file import load_item_categories, telling_names

PATHS = [["Beauty", "Skin Care", "Face"], ["Beauty", "Makeup", "Face"], ["Beauty"], [], ["Beauty", "Skin Care", "Body"]]


def config(folder, **changes):
    separators = {"field_separator": "\t", "seq_separator": " "}
    return {"dataset": "tiny", "data_path": folder, "ITEM_ID_FIELD": "item_id", **separators, **changes}


def dataset(*items):
    return SimpleNamespace(iid_field="item_id", field2id_token={"item_id": np.array(["[PAD]", *items])})


def write(folder, *lines):
    (folder / "tiny.item").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_of_a_path_the_name_after_the_root_counts():
    names, rule = telling_names(PATHS)
    assert names == ["Skin Care", "Makeup", "Beauty", "none", "Skin Care"]
    assert rule == "the first name of the list after Beauty"


def test_where_the_order_is_lost_the_most_common_name_counts():
    names, rule = telling_names([[*names[1:], *names[:1]] for names in PATHS])
    # Skin Care and Face are had by two items each: of equals the last in the alphabet.
    assert names == ["Skin Care", "Face", "Beauty", "none", "Skin Care"]
    assert rule == "the item's most common name but Beauty"


def test_without_a_shared_name_the_first_counts():
    assert telling_names([["Drama", "War"], ["War"], ["Comedy"]]) == (
        ["Drama", "War", "Comedy"],
        "the first of the list",
    )


def test_items_find_their_category_by_token(tmp_path):
    rows = [
        "b\t'Beauty', 'Fragrance', \"Women's\"",
        "a\t'Beauty', 'Bath &amp;  Body'",
        "a\t'Beauty', 'Makeup'",
        "c\tet(",
    ]
    write(tmp_path, "item_id:token\tcategories:token_seq", *rows)
    found = load_item_categories(config(tmp_path), dataset("a", "b", "c", "gone"))
    assert found.names.tolist() == ["Bath & Body", "Fragrance", "none", "none"]
    assert found.field == "categories"


def test_a_list_without_quotes_is_split_at_blanks_and_a_single_token_is_not(tmp_path):
    write(tmp_path, "item_id:token\tclass:token_seq\tkind:token", "a\tWar Drama\tlong film", "b\tComedy\tshort film")
    assert load_item_categories(config(tmp_path), dataset("a", "b")).names.tolist() == ["War", "Comedy"]
    chosen = load_item_categories(config(tmp_path), dataset("a", "b"), field="kind")
    assert (chosen.names.tolist(), chosen.field) == (["long film", "short film"], "kind")


def test_a_dataset_without_categories_has_none(tmp_path):
    assert load_item_categories(config(tmp_path), dataset("a")) is None
    write(tmp_path, "item_id:token\ttitle:token", "a\tSoap")
    assert load_item_categories(config(tmp_path), dataset("a")) is None


def test_a_column_that_is_asked_for_and_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"category_field=kind asks for a column of .*tiny\.item"):
        load_item_categories(config(tmp_path), dataset("a"), field="kind")
    write(tmp_path, "item_id:token\ttitle:token", "a\tSoap")
    with pytest.raises(ValueError, match="no column 'kind', it has item_id, title: set category_field"):
        load_item_categories(config(tmp_path), dataset("a"), field="kind")


@pytest.mark.parametrize(("name", "first", "n_items"), [("amazon-beauty", "Skin Care", 3814)])
def test_the_second_name_of_the_amazon_data_counts(shared_datasets, name, first, n_items):
    folder = shared_datasets / name
    tokens = [line.split("\t")[0] for line in (folder / f"{name}.item").read_text(encoding="utf-8").splitlines()[1:]]
    found = load_item_categories(config(folder, dataset=name), dataset(*tokens))
    assert (found.names == first).sum() == n_items
    assert found.rule == "the first name of the list after Beauty"

"""Categories of items: which of an item's names is chosen, and how cells are parsed."""

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


def test_in_paths_the_name_after_the_root_is_chosen():
    names, rule = telling_names(PATHS)
    assert names == ["Skin Care", "Makeup", "Beauty", "none", "Skin Care"]
    assert rule == "the first name of the list after Beauty"


def test_without_path_order_the_most_common_name_is_chosen():
    names, rule = telling_names([[*names[1:], *names[:1]] for names in PATHS])
    # Two items each have Skin Care and Face: of equally common names the alphabetically last one is chosen.
    assert names == ["Skin Care", "Face", "Beauty", "none", "Skin Care"]
    assert rule == "the item's most common name except Beauty"


def test_without_a_shared_name_the_first_one_is_chosen():
    assert telling_names([["Drama", "War"], ["War"], ["Comedy"]]) == (
        ["Drama", "War", "Comedy"],
        "the first of the list",
    )


def test_categories_are_matched_by_item_token(tmp_path):
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


def test_a_requested_column_that_is_missing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"category_field=kind needs .*tiny\.item"):
        load_item_categories(config(tmp_path), dataset("a"), field="kind")
    write(tmp_path, "item_id:token\ttitle:token", "a\tSoap")
    with pytest.raises(ValueError, match="no column 'kind', it has item_id, title: set category_field"):
        load_item_categories(config(tmp_path), dataset("a"), field="kind")


@pytest.mark.parametrize(("name", "first", "n_items"), [("amazon-beauty", "Skin Care", 3814)])
def test_the_name_after_the_root_is_chosen_in_amazon_data(shared_datasets, name, first, n_items):
    folder = shared_datasets / name
    tokens = [line.split("\t")[0] for line in (folder / f"{name}.item").read_text(encoding="utf-8").splitlines()[1:]]
    found = load_item_categories(config(folder, dataset=name), dataset(*tokens))
    assert (found.names == first).sum() == n_items
    assert found.rule == "the first name of the list after Beauty"

"""Our datasets have exact time order and one catalogue; the fast augmentation writes the same rows as RecBole's."""

import random
from pathlib import Path

import numpy as np
import pytest
import recbole
import torch
from recbole.data.dataset import SequentialDataset

from recbole_unirep.config import Config
from recbole_unirep.data import dataset
from recbole_unirep.data.dataset import TimeOrdered, create_dataset

BUNDLED = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
INTER = "user_id:token item_id:token timestamp:float"
ITEM = "item_id:token categories:token_seq"


class RecBoleAugmentation(TimeOrdered, SequentialDataset):
    """The same interactions in the same order, but augmented by RecBole's loop."""


def assert_equal_rows(ours, recboles):
    assert list(ours.inter_feat) == list(recboles.inter_feat)
    assert len(ours.inter_feat) > 0
    for field in ours.inter_feat:
        left, right = ours.inter_feat[field], recboles.inter_feat[field]
        assert left.dtype == right.dtype, field
        assert torch.equal(left, right), field


@pytest.fixture(scope="module")
def ml_100k_cut(tmp_path_factory):
    """Writes a dataset of the interactions of users 1 to 40 of ml-100k."""
    folder = tmp_path_factory.mktemp("data") / "cut"
    folder.mkdir()
    header, *lines = BUNDLED.read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if int(line.split("\t")[0]) <= 40]
    (folder / "cut.inter").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("max_length", [3, 50])
def test_augmentation_writes_recboles_rows_of_ml_100k(ml_100k_cut, max_length):
    keys = {"data_path": str(ml_100k_cut.parent), "MAX_ITEM_LIST_LENGTH": max_length}
    config = Config("SASRec", "cut", config_dict={**keys, "load_col": {"inter": "*"}})
    ours, recboles = create_dataset(config).build(), RecBoleAugmentation(config).build()
    assert "timestamp_list" in ours[0].inter_feat
    for part, recboles_part in zip(ours, recboles):
        assert_equal_rows(part, recboles_part)


def test_build_for_rows_has_the_same_split_and_writes_only_held_out_histories(ml_100k_cut, monkeypatch):
    monkeypatch.setattr(dataset, "CHUNK_ROWS", 17)
    config = Config("SASRec", "cut", config_dict={"data_path": str(ml_100k_cut.parent), "load_col": {"inter": "*"}})
    parts, whole = create_dataset(config).build_for_rows(), create_dataset(config).build()
    for part, whole_part in zip(parts[1:], whole[1:]):
        assert set(whole_part.inter_feat) - set(part.inter_feat) == {"rating_list", "timestamp_list"}
        for field in part.inter_feat:
            assert torch.equal(part.inter_feat[field], whole_part.inter_feat[field]), field
    assert set(whole[0].inter_feat) - set(parts[0].inter_feat) == {
        "item_length", "item_id_list", "rating_list", "timestamp_list",
    }  # fmt: skip
    for field in parts[0].inter_feat:
        assert torch.equal(parts[0].inter_feat[field], whole[0].inter_feat[field]), field


def test_augmentation_writes_recboles_rows_of_lists_and_numbers(write, configure):
    tags = ["a b", "", "c", "a c b"]
    draw = random.Random(0)
    rows = [
        (f"u{user}", f"i{time}", time, tags[time % 4], draw.random() - 0.5) for user in range(5) for time in range(9)
    ]
    write(f"{INTER} tags:token_seq mood:float", rows)
    keys = {"load_col": {"inter": "*"}, "numerical_features": ["mood"], "MAX_ITEM_LIST_LENGTH": 4}
    ours = create_dataset(configure("SASRec", **keys))
    assert ours.inter_feat["mood"].map(lambda pair: pair[0]).min() < 0
    for part, recboles_part in zip(ours.build(), RecBoleAugmentation(configure("SASRec", **keys)).build()):
        assert part.inter_feat["tags_list"].shape[1:] == (4, 3)
        assert part.inter_feat["mood_list"].shape[1:] == (4, 2)
        assert_equal_rows(part, recboles_part)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("tags", "numerical_features names tags, a column of type token_seq; columns of numbers: mood, timestamp"),
        ("age", "numerical_features names age, which is not loaded; columns of numbers: mood, timestamp"),
        ("timestamp", "numerical_features names timestamp, which orders the interactions"),
    ],
)
def test_numerical_features_must_be_columns_of_numbers(write, configure, field, message):
    write(f"{INTER} tags:token_seq mood:float", [("u1", f"i{time}", time, "a b", 0.5) for time in range(6)])
    with pytest.raises(ValueError, match=message):
        create_dataset(configure("SASRec", load_col={"inter": "*"}, numerical_features=[field], normalize_all=True))


def test_padding_is_zero_even_where_a_value_is_infinite(write, configure):
    write(f"{INTER} mood:float", [("u1", f"i{time}", time, "inf") for time in range(6)])
    train = create_dataset(configure("SASRec", load_col={"inter": "*"}, MAX_ITEM_LIST_LENGTH=5)).build()[0]
    assert train.inter_feat["mood_list"][0].tolist() == [float("inf"), 0, 0, 0, 0]


@pytest.mark.parametrize("model", ["SASRec", "BPR"])
@pytest.mark.parametrize("unit", [1, 1000, 10**9], ids=["seconds", "milliseconds", "nanoseconds"])
def test_times_beyond_float32_keep_their_order(write, configure, model, unit):
    times = [1_318_896_000 * unit + tick for tick in range(12)]  # with 10**9 also beyond 2**53, the integers of float64
    assert len(set(map(np.float32, times))) < len(times)
    rows = [(f"u{user}", f"i{(place + user) % 12}", time) for user in range(4) for place, time in enumerate(times)]
    random.Random(1).shuffle(rows)
    write(INTER, rows)
    dataset = create_dataset(configure(model))
    _, valid, test = dataset.build()
    tokens = dataset.field2id_token["item_id"]
    for user in range(1, 5):
        first = int(dataset.field2id_token["user_id"][user][1:])
        assert tokens[dataset.sequences.of(user)].tolist() == [f"i{(place + first) % 12}" for place in range(12)]
    for part, place in ((valid, 10), (test, 11)):
        last = {tokens[item] for item in part.inter_feat["item_id"].tolist()}
        assert last == {f"i{(place + user) % 12}" for user in range(4)}


def test_equal_times_keep_the_order_of_the_file(write, configure):
    write(INTER, [("u1", f"i{place}", 5 if place else 6) for place in (3, 1, 2, 0, 4)])
    dataset = create_dataset(configure("SASRec"))
    dataset.build()
    assert dataset.field2id_token["item_id"][dataset.sequences.of(1)].tolist() == ["i3", "i1", "i2", "i4", "i0"]


@pytest.mark.parametrize("model", ["SASRec", "BPR", "Pop"])
def test_without_a_column_of_times_the_order_of_rows_is_the_order_of_time(write, configure, caplog, model):
    rows = [(user, f"i{(place * 7 + 3) % 10}") for place in range(6) for user in ("u2", "u1")]
    write("user_id:token item_id:token", rows)
    dataset = create_dataset(configure(model))
    assert "no column 'timestamp' is loaded" in caplog.text
    _, valid, test = dataset.build()
    tokens = dataset.field2id_token["item_id"]
    for user in (1, 2):
        assert tokens[dataset.sequences.of(user)].tolist() == ["i3", "i0", "i7", "i4", "i1", "i8"]
    assert {*tokens[valid.inter_feat["item_id"]]} == {"i1"}
    assert {*tokens[test.inter_feat["item_id"]]} == {"i8"}


@pytest.mark.parametrize(
    ("cell", "tokens"),
    [
        ("'Beauty', 'Skin Care'", ["Beauty", "Skin Care"]),
        ("""'Beauty', "Women's", 'Creams, Gels & Lotions'""", ["Beauty", "Women's", "Creams, Gels & Lotions"]),
        ("""'Men\\'s'""", ["Men's"]),
        ("'Beauty' 'Skin Care'", ["Beauty", "Skin Care"]),
        ("Skin Care", ["Skin", "Care"]),
        ("'til dawn", ["'til", "dawn"]),
        ("", []),
    ],
)
def test_quoted_lists_are_read_as_lists_and_other_cells_as_recbole_reads_them(write, configure, cell, tokens):
    write(INTER, [("u1", f"i{time}", time) for time in range(4)], ITEM, [("i0", cell), ("i1", "'x'")])
    keys = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "categories"]}}
    dataset = create_dataset(configure("FDSA", selected_features=["categories"], **keys))
    names = dataset.field2id_token["categories"]
    item = dataset.token2id("item_id", "i0")
    assert names[dataset.item_feat["categories"][item]].tolist() == tokens
    dataset.build()
    assert dataset.item_feat["categories"].shape[1] == max(len(tokens), 1)


@pytest.mark.parametrize("interval", ["[0,inf)", "[1,inf)", "(0,inf)", "[2,inf)", None])
def test_the_catalogue_does_not_depend_on_item_features(write, configure, interval):
    rows = [(f"u{user}", f"i{time}", time) for user in range(3) for time in range(5)] + [("u0", "rare", 9)]
    write(INTER, rows, ITEM, [("i0", "a"), ("never", "b"), ("i1", "c"), ("rare", "d")])
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    keys = {"item_inter_num_interval": interval, "selected_features": ["categories"]}
    plain = create_dataset(configure("SASRec", load_col=columns, **keys))
    featured = create_dataset(configure("FDSA", load_col={**columns, "item": ["item_id", "categories"]}, **keys))
    tokens = featured.field2id_token["item_id"].tolist()
    assert tokens == plain.field2id_token["item_id"].tolist()
    assert tokens == ["[PAD]", *(f"i{time}" for time in range(5)), *(["rare"] if interval != "[2,inf)" else [])]
    assert featured.item_feat["item_id"].tolist() == list(range(len(tokens)))
    assert "b" not in featured.field2id_token["categories"]  # only of an item without interactions
    # i4 has no row in the .item file, but stays in the catalogue.
    assert len(featured.item_feat["categories"][featured.token2id("item_id", "i4")]) == 0


@pytest.mark.parametrize(
    ("users", "items"), [("[5,inf)", "[5,inf)"), ("[20,60];[100,400]", "(2,inf)"), (None, "[10,40)"), ("[0,inf)", None)]
)
def test_filtering_keeps_the_same_interactions_as_recboles_loop(ml_100k_cut, users, items):
    keys = {"data_path": str(ml_100k_cut.parent), "user_inter_num_interval": users, "item_inter_num_interval": items}
    config = Config("BPR", "cut", config_dict=keys)
    ours, recboles = create_dataset(config), recbole.data.dataset.Dataset(config)
    assert 0 < len(recboles.inter_feat) < 5000 or None in (users, items)
    for field in ("user_id", "item_id"):
        assert ours.field2id_token[field].tolist() == recboles.field2id_token[field].tolist()
        assert ours.inter_feat[field].tolist() == recboles.inter_feat[field].tolist()


@pytest.mark.parametrize("model", ["SASRec", "BPR"])
def test_filters_that_leave_no_interaction_are_an_error(write, configure, model):
    write(INTER, [("u1", f"i{time}", time) for time in range(6)])
    with pytest.raises(ValueError, match=r"no interaction of made is left .*\[9,inf\).*loosen the filters"):
        create_dataset(configure(model, user_inter_num_interval="[9,inf)"))

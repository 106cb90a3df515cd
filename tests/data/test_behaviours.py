"""Behaviours of interactions, from tokens or cut numbers: in rows, histories and shares of batches; error messages."""

import numpy as np
import pytest
import torch

from recbole_unirep.config import Config
from recbole_unirep.data.behaviours import BEHAVIOUR
from recbole_unirep.data.split import load_data

KINDS = ["view", "cart", "buy"]


@pytest.fixture
def kinds(tiny):
    """Adds a kind and a rating to each interaction of the tiny dataset; returns the kind by user and item token."""
    path, known = tiny / "tiny.inter", {}
    lines = path.read_text(encoding="utf-8").splitlines()
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{lines[0]}\tkind:token\trating:float\n")
        for number, line in enumerate(lines[1:]):
            user, item, _ = line.split("\t")
            kind = (number * 7 + len(item)) % 3
            known[user, item] = kind
            file.write(f"{line}\t{KINDS[kind]}\t{2.0 + kind}\n")
    return known


@pytest.fixture
def load(tiny, kinds):
    def load_with(model="MBGen", **keys):
        config = Config(model, "tiny", config_dict={"data_path": str(tiny.parent), "text_encoder": "lexical", **keys})
        return load_data(config, one_row_a_user=True)

    return load_with


def names(data):
    """Names of the behaviours by number."""
    return data.train.field2id_token[BEHAVIOUR]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"behaviour_field": "kind"}, KINDS),
        ({"behaviour_field": "rating", "behaviour_cuts": [3]}, ["below 3", "3 and more", "3 and more"]),
        ({"behaviour_field": "rating", "behaviour_cuts": [2.5, 4]}, ["below 2.5", "2.5 to below 4", "4 and more"]),
        (
            # RecBole's yaml of ml-100k sets normalize_all.
            {"behaviour_field": "rating", "behaviour_cuts": [2.5, 4], "normalize_all": True},
            ["below 2.5", "2.5 to below 4", "4 and more"],
        ),
    ],
)
def test_rows_histories_and_targets_hold_the_behaviour_of_each_interaction(load, kinds, keys, expected):
    data = load(**keys)
    train, users, items = data.train, *(data.train.field2id_token[field] for field in ("user_id", "item_id"))

    def check(user, ids, numbers):
        found = [names(data)[number] for number in numbers.tolist()]
        assert found == [expected[kinds[users[user], items[item]]] for item in ids.tolist()]
        return len(found)

    n_checked = 0
    for batch in data.train_data:
        assert batch.behaviours.shape == batch.inputs.shape and (batch.behaviours[batch.inputs == 0] == 0).all()
        row = batch.is_target.nonzero()[:, 0]
        for place, user in enumerate(batch.users.tolist()):
            is_item = batch.inputs[place] > 0
            n_checked += check(user, batch.inputs[place][is_item], batch.behaviours[place][is_item])
            check(user, batch.targets[row == place], batch.target_behaviours[row == place])
    assert n_checked > 100
    assert train.sequences.behaviours.shape == train.sequences.items.shape
    for held_out in (data.valid, data.test):
        interactions, length = held_out.interactions, held_out.interactions["item_length"]
        for place, user in enumerate(interactions["user_id"].tolist()):
            history, listed = interactions["item_id_list"][place], interactions[f"{BEHAVIOUR}_list"][place]
            check(user, history[: length[place]], listed[: length[place]])
            assert (listed[length[place] :] == 0).all()


def test_a_share_of_a_batch_keeps_its_behaviours(load):
    batch = next(iter(load(behaviour_field="kind").train_data))
    share = batch.share(1, 2).batch
    is_mine = torch.arange(len(batch.users)) % 2 == 1
    row = batch.is_target.nonzero()[:, 0]
    assert torch.equal(share.behaviours, batch.behaviours[is_mine])
    assert torch.equal(share.target_behaviours, batch.target_behaviours[is_mine[row]])


def test_behaviours_stay_with_their_interactions_if_cold_items_are_dropped(load, kinds):
    data = load(behaviour_field="kind", split="cold_items", cold_item_share=0.2)
    sequences, items = data.train.sequences, data.train.field2id_token["item_id"]
    users = data.train.field2id_token["user_id"]
    for user in range(1, 20):
        part = slice(sequences.offsets[user], sequences.offsets[user + 1])
        found = [names(data)[number] for number in sequences.behaviours[part]]
        assert found == [KINDS[kinds[users[user], items[item]]] for item in sequences.items[part]]


def test_without_the_key_there_are_no_behaviours(load):
    data = load("SASRec")
    assert data.train.sequences.behaviours is None and next(iter(data.train_data)).behaviours is None
    assert BEHAVIOUR not in data.test.interactions


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"behaviour_field": "action"}, "behaviour_field=action is not a column of tiny.inter"),
        ({"behaviour_field": "rating"}, "behaviour_cuts=None: rating is a column of numbers"),
        ({"behaviour_field": "rating", "behaviour_cuts": [4, 3]}, r"behaviour_cuts=\[4, 3\].*rising cuts"),
        ({"behaviour_field": "rating", "behaviour_cuts": ["a"]}, r"behaviour_cuts=\['a'\].*rising cuts"),
        ({"behaviour_field": "rating", "behaviour_cuts": 4}, "behaviour_cuts=4.*rising cuts"),
        ({"behaviour_field": "kind", "behaviour_cuts": [4]}, r"behaviour_cuts=\[4\] needs numbers, kind is a column"),
    ],
)
def test_bad_options_are_errors(load, keys, message):
    with pytest.raises(ValueError, match=message):
        load(**keys)


def test_interactions_without_behaviour_are_an_error_with_their_number(load, tiny):
    with open(tiny / "tiny.inter", "a", encoding="utf-8") as file:
        file.write("u1\ti3\t1400000000\t\t3.0\n")
    with pytest.raises(ValueError, match="behaviour_field=kind is empty for 1 interactions"):
        load(behaviour_field="kind")
    with open(tiny / "tiny.inter", "a", encoding="utf-8") as file:
        file.write("u2\ti3\t1400000000\tview\t\n")
    with pytest.raises(ValueError, match="behaviour_field=rating is empty for 1 interactions"):
        load(behaviour_field="rating", behaviour_cuts=[4])


def test_ratings_of_ml_100k_are_cut_before_they_are_scaled():
    config = Config("MBGen", "ml-100k", config_dict={"behaviour_field": "rating", "behaviour_cuts": [4]})
    behaviours = load_data(config, one_row_a_user=True).train.sequences.behaviours
    assert np.bincount(behaviours).tolist() == [0, 44_625, 55_375]  # 55,375 of 100,000 ratings are 4 or 5

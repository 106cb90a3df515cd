"""Simultaneous interactions are in file order or shuffled by tokens, before the split, for all kinds of models."""

import hashlib
import random

import numpy as np
import pytest

from recbole_unirep.data.split import load_data
from recbole_unirep.data.tie_order import n_tied, shuffling_keys, time_order

HEADER = "user_id:token item_id:token timestamp:float"
DAYS = [
    ("u1", "h"),
    ("u1", "ab"),
    ("u1", "cdef"),
    ("u2", "a"),
    ("u2", "b"),
    ("u2", "def"),
    ("u3", "abcdefg"),
]  # one word per day
KINDS = {"SASRec": True, "GRU4Rec": False, "BPR": False, "FM": False}  # our rows or RecBole's loader


def rows():
    """Interactions of DAYS, in order of the days."""
    return [(user, item, day) for day, (user, items) in enumerate(DAYS) for item in items]


def held_out(data):
    """Returns the token of the test item by user token."""
    users, items, _ = data.test.targets
    return dict(zip(data.test.user_tokens[users.numpy()], data.test.item_tokens[items.numpy()]))


def orders(data):
    """Returns the item tokens of every user in order, as one word."""
    tokens = data.test.item_tokens
    return {
        token: "".join(tokens[data.train.sequences.of(user)])
        for user, token in enumerate(data.test.user_tokens)
        if user
    }


def by_hand(seed):
    """Computes the shuffled order from its definition: 64 bits of each token, mixed as in SplitMix64."""

    def bits(token):
        return int.from_bytes(hashlib.blake2b(f"{seed}\0ties\0{token}".encode(), digest_size=8).digest(), "little")

    def mix(x):
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    words = {}
    for user, items in DAYS:
        key = {item: mix((bits(user) + mix(bits(item))) % 2**64) for item in items}
        words[user] = words.get(user, "") + "".join(sorted(items, key=key.get))
    return words


def test_file_order_is_the_order_of_the_rows(write, configure):
    write(HEADER, rows())
    data = load_data(configure("SASRec"), one_row_a_user=True)
    assert orders(data) == {"u1": "habcdef", "u2": "abdef", "u3": "abcdefg"}
    assert held_out(data) == {"u1": "f", "u2": "f", "u3": "g"}
    write(HEADER, rows()[::-1])
    data = load_data(configure("SASRec"), one_row_a_user=True)
    assert orders(data) == {"u1": "hbafedc", "u2": "abfed", "u3": "gfedcba"}


@pytest.mark.parametrize("model", KINDS)
def test_shuffled_order_decides_the_held_out_items_for_all_kinds_of_models(write, configure, model):
    expected = by_hand(7)
    last = {user: word[-1] for user, word in expected.items()}
    assert last != {"u1": "f", "u2": "f", "u3": "g"}
    for seed in range(3):
        shuffled = rows()
        random.Random(seed).shuffle(shuffled)  # another order of rows, other ids
        write(HEADER, shuffled)
        data = load_data(configure(model, tie_order="shuffled", tie_seed=7), one_row_a_user=KINDS[model])
        assert orders(data) == expected
        assert held_out(data) == last


def test_the_fingerprint_changes_with_the_order_and_nothing_else(write, configure):
    def fingerprint(**keys):
        return load_data(configure("SASRec", **keys), one_row_a_user=True).fingerprint

    write(HEADER, rows())
    in_file = fingerprint(tie_order="file")
    assert fingerprint(tie_order="file", tie_seed=7) == in_file
    assert len({in_file, *(fingerprint(tie_order="shuffled", tie_seed=seed) for seed in (1, 2, 3))}) == 4
    assert fingerprint(tie_order="shuffled", tie_seed=1) == fingerprint(tie_order="shuffled", tie_seed=1)

    untied = [(user, item, place) for place, (user, item, _) in enumerate(rows())]
    write(HEADER, untied)
    assert fingerprint(tie_order="shuffled") == fingerprint(tie_order="file") == in_file  # equal order, equal data


def test_the_log_states_order_and_ties(write, configure, caplog):
    write(HEADER, rows())
    with caplog.at_level("INFO"):
        load_data(configure("BPR", tie_order="shuffled", tie_seed=7), one_row_a_user=False)
        load_data(configure("BPR"), one_row_a_user=False)
    lines = [line for line in caplog.messages if line.startswith("tie_order")]
    ties = "16 of 19 interactions have the same time as another one of their user"
    assert lines == [f"tie_order shuffled (seed 7): {ties}", f"tie_order file: {ties}"]


def test_times_are_sorted_before_ties_and_ties_are_counted():
    times, users = np.array([2.0, 1.0, 2.0, 1.0, 2.0]), np.array([1, 1, 1, 2, 2])
    assert time_order(times, "file", None).tolist() == [1, 3, 0, 2, 4]
    keys = np.array([5, 0, 4, 9, 3], dtype=np.uint64)
    assert time_order(times, "shuffled", lambda: keys).tolist() == [1, 3, 4, 2, 0]
    order = time_order(times, "file", None)
    assert n_tied(users[order], times[order], 3) == 2
    assert n_tied(users[:0], times[:0], 3) == 0


def test_keys_are_uniform_and_differ_between_users():
    tokens = np.array([str(number) for number in range(300)])
    users, items = (side.ravel() for side in np.indices((300, 300)))
    keys = shuffling_keys(users, items, tokens, tokens, 2020).reshape(300, 300)
    assert len(np.unique(keys)) == 90_000
    is_before = keys[:, :-1] < keys[:, 1:]  # items i and i + 1 of each user
    assert abs(is_before.mean() - 0.5) < 4 * 0.5 / 299**0.5 / 300**0.5
    assert np.abs(is_before.mean(axis=0) - 0.5).max() < 4.5 * 0.5 / 300**0.5


def test_an_unknown_order_is_an_error(write, configure):
    write(HEADER, rows())
    with pytest.raises(ValueError, match="tie_order=random is not known: choose file or shuffled"):
        load_data(configure("BPR", tie_order="random"), one_row_a_user=False)

"""User sequences as training rows: every target of RecBole once per epoch, with the right context and negatives."""

import hashlib
import random
from collections import Counter

import numpy as np
import pytest
import torch

from recbole_unirep.data.negatives import NoNegatives, TargetNegatives
from recbole_unirep.data.sequences import RowCut, TrainingRows, UserSequences, grouped_order
from recbole_unirep.data.split import load_data

HEADER = "user_id:token item_id:token timestamp:float"
LENGTHS = [2, 3, 4, 5, 9, 10, 11, 12, 40, 61]  # items of users 1, 2, ...


def made_sequences(lengths=LENGTHS, n_items=80):
    """Makes sequences of distinct items per user, so an item determines its place."""
    draw = random.Random(0)
    items = [draw.sample(range(1, n_items), length) for length in lengths]
    users = np.repeat(1 + np.arange(len(lengths)), lengths)
    return UserSequences.from_arrays(users, np.concatenate(items), len(lengths) + 1), n_items


def made_rows(max_length=10, rows_per_batch=4, needs_negatives=True, seed=1, n_held_out=0, one_target=False, **cut):
    sequences, n_items = made_sequences()
    n_training = np.maximum(np.diff(sequences.offsets) - n_held_out, 0)
    return sequences, TrainingRows(
        sequences=sequences,
        n_training=n_training,
        cut=RowCut(max_length, one_target, **cut),
        rows_per_batch=rows_per_batch,
        negatives=TargetNegatives(sequences, n_training, n_items) if needs_negatives else NoNegatives(),
        seed=seed,
        n_items=n_items,
    )


def trained_targets(rows):
    pairs = Counter()
    for batch in rows:
        users = batch.users[:, None].expand_as(batch.is_target)[batch.is_target]
        pairs.update(zip(users.tolist(), batch.targets.tolist()))
    return pairs


@pytest.mark.parametrize("n", [0, 1, 10_000])
def test_grouped_order_equals_a_stable_sort(n):
    groups = np.random.default_rng(n).integers(0, 300, n)
    assert grouped_order(groups, 301).tolist() == np.argsort(groups, kind="stable").tolist()


def test_sequences_hold_each_users_items_in_order():
    sequences = UserSequences.from_arrays(np.array([2, 1, 2, 2]), np.array([5, 6, 7, 5]), 4)
    assert [sequences.of(user).tolist() for user in range(4)] == [[], [6], [5, 7, 5], []]


def test_fingerprint_depends_only_on_tokens_and_order(monkeypatch):
    users, items = np.array(["[PAD]", "ann", "bob"]), np.array(["[PAD]", "x", "y", "z"])
    print_of = UserSequences.from_arrays(np.array([1, 1, 2]), np.array([1, 2, 3]), 3).fingerprint(users, items)
    rows_moved = UserSequences.from_arrays(np.array([2, 1, 1]), np.array([3, 1, 2]), 3)
    assert rows_moved.fingerprint(users, items) == print_of
    renumbered = UserSequences.from_arrays(np.array([2, 2, 1]), np.array([3, 2, 1]), 3)
    assert renumbered.fingerprint(users[[0, 2, 1]], items[[0, 3, 2, 1]]) == print_of
    other_order = UserSequences.from_arrays(np.array([1, 1, 2]), np.array([2, 1, 3]), 3)
    assert other_order.fingerprint(users, items) != print_of
    assert UserSequences.from_arrays(np.array([1, 2, 2]), np.array([1, 2, 3]), 3).fingerprint(users, items) != print_of
    assert print_of == hashlib.sha256(b"x\ty\tz\nann\tx\ty\nbob\tz").hexdigest()
    without_bob = UserSequences.from_arrays(np.array([1, 1]), np.array([1, 2]), 3)
    assert without_bob.fingerprint(users, items) == hashlib.sha256(b"x\ty\tz\nann\tx\ty\nbob\t").hexdigest()
    monkeypatch.setattr("recbole_unirep.data.sequences.USERS_AT_ONCE", 1)
    assert without_bob.fingerprint(users, items) == hashlib.sha256(b"x\ty\tz\nann\tx\ty\nbob\t").hexdigest()


@pytest.mark.parametrize("epoch", [0, 7])
@pytest.mark.parametrize("max_length", [1, 2, 5, 50])
def test_rows_train_each_of_recboles_targets_once(write, configure, max_length, epoch):
    sequences, _ = made_sequences()
    places = [(user, place) for user, length in enumerate(LENGTHS) for place in range(length)]
    random.Random(2).shuffle(places)
    write(HEADER, [(f"u{user}", f"i{sequences.of(user + 1)[place]}", place) for user, place in places])
    data = load_data(configure("SASRec", MAX_ITEM_LIST_LENGTH=max_length, users_per_batch=3), one_row_a_user=True)
    data.train_data.epoch = epoch
    inter = data.train.inter_feat
    recboles = Counter(zip(inter["user_id"].tolist(), inter["item_id"].tolist()))
    assert trained_targets(data.train_data) == recboles
    assert data.train_data.n_targets == sum(recboles.values()) == len(inter)
    longest = max(batch.inputs.size(1) for batch in data.train_data)
    assert longest == min(max_length, max(LENGTHS) - 3)


@pytest.mark.parametrize("max_length", [1, 2, 3, 50])
def test_rows_of_one_target_equal_recboles_augmentation(write, configure, max_length):
    sequences, _ = made_sequences()
    rows = [
        (f"u{user}", f"i{item}", time)
        for user in range(1, len(LENGTHS) + 1)
        for time, item in enumerate(sequences.of(user).tolist())
    ]
    write(HEADER, rows)
    keys = {"MAX_ITEM_LIST_LENGTH": max_length, "train_batch_size": 7, "training_rows": "target"}
    ours = load_data(configure("SASRec", **keys), one_row_a_user=True).train_data
    recboles = load_data(configure("SASRec", **keys), one_row_a_user=False).train.inter_feat
    expected = Counter(
        (user, tuple(history[:length]), item)
        for user, history, length, item in zip(
            *(recboles[field].tolist() for field in ("user_id", "item_id_list", "item_length", "item_id"))
        )
    )
    found = Counter()
    for batch in ours:
        assert len(batch.users) <= 7
        assert batch.is_target.sum(dim=1).tolist() == [1] * len(batch.users)
        for user, inputs, is_target, target in zip(*(part.tolist() for part in batch[:4])):
            history = tuple(item for item in inputs if item)
            assert is_target.index(True) == len(history) - 1
            found[user, history, target] += 1
    assert found == expected
    assert len(ours) == -(-len(recboles) // 7)


@pytest.mark.parametrize("epoch", range(4))
@pytest.mark.parametrize("max_length", [1, 2, 3, 4, 10, 50, 100])
def test_inputs_targets_and_context_are_parts_of_the_users_history(max_length, epoch):
    sequences, rows = made_rows(max_length, n_held_out=2)
    rows.epoch = epoch
    n_rows = Counter()
    for batch in rows:
        assert batch.inputs.size(1) == int((batch.inputs > 0).sum(dim=1).max()) <= max_length
        targets = iter(batch.targets.tolist())
        for user, inputs, is_target in zip(batch.users.tolist(), batch.inputs.tolist(), batch.is_target.tolist()):
            own = sequences.of(user).tolist()
            start, length = own.index(inputs[0]), sum(item > 0 for item in inputs)
            assert inputs == own[start : start + length] + [0] * (len(inputs) - length)
            first = is_target.index(True)
            assert is_target == [first <= position < length for position in range(len(inputs))]
            assert [next(targets) for _ in range(first, length)] == own[start + first + 1 : start + length + 1]
            assert first == (max_length // 2 if start else 0)  # context: half the limit
            assert start + length < len(own) - 2  # held-out items are never targets
            n_rows[user] += 1
        assert next(targets, None) is None
    assert set(n_rows) == {user for user, length in enumerate(LENGTHS, start=1) if length - 2 > 1}
    assert len(rows) == -(-sum(n_rows.values()) // 4)


def test_targets_of_a_long_history_occur_at_every_position_over_the_epochs():
    sequences, rows = made_rows(max_length=10)
    user = len(LENGTHS)
    own, seen = sequences.of(user).tolist(), {}
    for epoch in range(60):
        rows.epoch = epoch
        for batch in rows:
            mine = batch.users == user
            for inputs, is_target in zip(batch.inputs[mine].tolist(), batch.is_target[mine].tolist()):
                for position in np.flatnonzero(is_target).tolist():
                    seen.setdefault(own.index(inputs[position]), set()).add(position)
    assert all(seen[place] == set(range(5, 10)) for place in range(10, len(own) - 1))
    assert all(seen[place] == {place} for place in range(5))


def test_negatives_cover_all_items_outside_the_users_training_items():
    sequences, rows = made_rows(n_held_out=1)
    drawn = {user: set() for user in range(1, len(LENGTHS) + 1)}
    for epoch in range(80):
        rows.epoch = epoch
        for batch in rows:
            users = batch.users[:, None].expand_as(batch.is_target)[batch.is_target]
            assert len(batch.negatives) == len(batch.targets) == len(users)
            for user, item in zip(users.tolist(), batch.negatives.tolist()):
                drawn[user].add(item)
    owned = {user: set(sequences.of(user)[:-1].tolist()) for user in drawn}
    assert all(drawn[user].isdisjoint(owned[user]) for user in drawn)
    assert drawn[len(LENGTHS)] == set(range(1, 80)) - owned[len(LENGTHS)]


@pytest.mark.parametrize("lengths", [[2] * 30 + [60], [60] * 3 + [2], [3], [2, 60], list(range(2, 62)), [2] * 400])
def test_steps_have_about_equal_numbers_of_targets_and_none_is_empty(lengths):
    sequences, n_items = made_sequences(lengths)
    n_training = np.diff(sequences.offsets)
    keys = {"cut": RowCut(100), "rows_per_batch": 4, "negatives": NoNegatives(), "seed": 1}
    rows = TrainingRows(sequences=sequences, n_training=n_training, n_items=n_items, **keys)
    sizes = [len(batch.targets) for batch in rows]
    assert len(sizes) == len(rows) == -(-len(lengths) // 4)
    assert min(sizes) > 0 and sum(sizes) == sum(length - 1 for length in lengths)
    assert max(sizes) <= sum(sizes) / len(sizes) + max(lengths)


def test_a_loss_without_negatives_draws_none():
    _, rows = made_rows(needs_negatives=False)
    assert all(len(batch.negatives) == len(batch.log_weights) == 0 for batch in rows)


def test_seed_and_epoch_decide_the_batches():
    def epoch(seed, number):
        _, rows = made_rows(seed=seed)
        rows.epoch = number
        return [part for batch in rows for part in batch if part is not None]

    def same(left, right):
        return len(left) == len(right) and all(torch.equal(x, y) for x, y in zip(left, right))

    torch.manual_seed(0)
    first = epoch(1, 3)
    torch.manual_seed(1)
    assert same(first, epoch(1, 3))
    assert not same(first, epoch(1, 4))
    assert not same(first, epoch(2, 3))
    _, rows = made_rows()
    assert trained_targets(rows) == trained_targets(rows)


@pytest.mark.parametrize("max_length", [4, 10])
def test_reordered_rows_have_the_same_items_near_their_places(max_length):
    (_, plain), (_, shuffled) = (made_rows(max_length=max_length, reorder=share) for share in (0.0, 1.0))
    n_moved = 0
    for epoch in range(5):
        plain.epoch = shuffled.epoch = epoch
        rows = torch.arange(len(plain.user))
        whole, other = (each._gather(rows, torch.Generator().manual_seed(epoch)) for each in (plain, shuffled))
        assert whole.is_target.equal(other.is_target)
        for row, length in enumerate(plain.length.tolist()):
            items, moved = (
                [*batch.inputs[row, :length].tolist(), int(batch.targets[batch.is_target[: row + 1].sum() - 1])]
                for batch in (whole, other)
            )
            assert sorted(items) == sorted(moved)
            for place, item in enumerate(moved):
                assert item in items[max(place - 2, 0) : place + 3]
            n_moved += items != moved
    assert n_moved > 20


def test_each_row_is_reordered_with_the_given_probability():
    (_, plain), (_, shuffled) = (made_rows(reorder=share) for share in (0.0, 0.5))
    rows = torch.arange(len(plain.user)).repeat(50)
    whole, other = (each._gather(rows, torch.Generator().manual_seed(1)) for each in (plain, shuffled))
    long = plain.length[rows] > 5  # a short row may keep its order by chance
    share = (whole.inputs != other.inputs).any(dim=1)[long].float().mean().item()
    assert share == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("crop", [0.5, 1.0])
def test_cropped_rows_start_later_and_keep_their_end(crop):
    (_, whole), (_, cropped) = made_rows(), made_rows(crop=crop)
    for epoch in range(3):
        whole.epoch = cropped.epoch = epoch
        assert torch.equal(cropped.start + cropped.length, whole.start + whole.length)
        n_left_out = cropped.start - whole.start
        assert (n_left_out >= 0).all() and (cropped.length >= 1).all()
        assert torch.equal(cropped.context, (whole.context - n_left_out).clamp(min=0))
        n_cropped = (n_left_out > 0).sum()
        assert 0 < n_cropped < len(whole.user)  # a row of one input stays as it is
    targets = trained_targets(cropped)
    assert max(targets.values()) == 1 and set(targets) < set(trained_targets(whole))


@pytest.mark.parametrize(
    ("n_targets", "expected"), [(1, 128), (6, 128), (9, 100), (25, 36), (99, 32)], ids="{} targets per user".format
)
def test_a_step_has_as_many_rows_as_have_900_targets_within_bounds(n_targets, expected):
    items = np.tile(np.arange(1, n_targets + 2), 200)
    sequences = UserSequences.from_arrays(np.repeat(np.arange(1, 201), n_targets + 1), items, 201)
    n_training = np.append(0, np.full(200, n_targets + 1))
    keys = {"cut": RowCut(100), "negatives": NoNegatives(), "seed": 1, "n_items": n_targets + 2}
    rows = TrainingRows(sequences=sequences, n_training=n_training, rows_per_batch=None, **keys)
    assert rows.rows_per_batch == expected
    rows.epoch = 3
    assert rows.rows_per_batch == expected
    assert TrainingRows(sequences=sequences, n_training=n_training, rows_per_batch=7, **keys).rows_per_batch == 7

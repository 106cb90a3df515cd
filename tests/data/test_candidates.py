"""Sampled candidates and tie priority depend only on seed, split and tokens."""

import numpy as np
import pytest
import torch

from recbole_unirep.data.candidates import (
    N_SAMPLED,
    Targets,
    candidates_hash,
    earlier_items,
    sampled_candidates,
    tie_priority,
)
from recbole_unirep.data.sequences import UserSequences

USERS = np.array(["[PAD]", *(f"u{user}" for user in range(7))])
ITEMS = np.array(["[PAD]", *(f"item {item}" for item in range(150))])


def interactions():
    """User and item ids: user u has 4 + 5 u interactions, some items repeat."""
    draw = np.random.RandomState(0)
    users = np.repeat(np.arange(1, 8), 4 + 5 * np.arange(1, 8))
    return users, draw.randint(1, len(ITEMS), len(users))


def renumbered(tokens, seed):
    """Returns the tokens in another order of ids, and the new id of each old id."""
    order = np.concatenate([[0], 1 + np.random.RandomState(seed).permutation(len(tokens) - 1)])
    return tokens[order], np.argsort(order)


def candidates(sequences, users, user_tokens=USERS, item_tokens=ITEMS, seed=2020, split="test"):
    return sampled_candidates(
        sequences=sequences, users=users, user_tokens=user_tokens, item_tokens=item_tokens, seed=seed, split=split
    )


def test_candidates_are_99_distinct_items_the_user_never_interacted_with():
    sequences = UserSequences.from_arrays(*interactions(), len(USERS))
    users = torch.arange(1, 8)
    drawn = candidates(sequences, users)
    assert drawn.shape == (7, N_SAMPLED) and N_SAMPLED == 99
    for user, row in zip(users.tolist(), drawn.tolist()):
        assert len(set(row)) == 99
        assert set(row) <= set(range(1, len(ITEMS)))
        assert set(row).isdisjoint(sequences.of(user).tolist())


def test_candidates_depend_only_on_seed_split_and_tokens():
    users, items = interactions()
    sequences = UserSequences.from_arrays(users, items, len(USERS))
    drawn = candidates(sequences, torch.arange(1, 8))
    expected = {USERS[user]: ITEMS[row].tolist() for user, row in zip(range(1, 8), drawn.numpy())}

    (user_tokens, new_user), (item_tokens, new_item) = renumbered(USERS, 1), renumbered(ITEMS, 2)
    order = np.random.RandomState(3).permutation(len(users))
    moved = UserSequences.from_arrays(new_user[users][order], new_item[items][order], len(USERS))
    reordered = torch.tensor([5, 2, 7, 1, 3, 6, 4])
    redrawn = candidates(moved, reordered, user_tokens, item_tokens)
    found = {user_tokens[u]: item_tokens[row].tolist() for u, row in zip(reordered.tolist(), redrawn.numpy())}
    assert found == expected
    assert candidates_hash(reordered, redrawn, user_tokens, item_tokens) == candidates_hash(
        torch.arange(1, 8), drawn, USERS, ITEMS
    )
    assert not torch.equal(drawn, candidates(sequences, torch.arange(1, 8), split="valid"))
    assert not torch.equal(drawn, candidates(sequences, torch.arange(1, 8), seed=2021))


def test_candidates_are_the_same_on_every_machine():
    users = torch.arange(1, 8)
    drawn = candidates(UserSequences.from_arrays(*interactions(), len(USERS)), users)
    assert ITEMS[drawn[0, :3]].tolist() == ["item 112", "item 107", "item 146"]
    # Computed with numpy 1.26 and 2.4, which agree.
    assert (
        candidates_hash(users, drawn, USERS, ITEMS)
        == "c12e67dce9850dea9e9c809091b367c97d43b2680e00ff08d06057d0ae93bb8e"
    )


def test_candidates_are_uniform_over_the_other_items():
    n_users = 400
    tokens = np.array(["[PAD]", *(f"u{user}" for user in range(n_users))])
    sequences = UserSequences.from_arrays(np.arange(1, n_users + 1), np.ones(n_users, dtype=int), n_users + 1)
    drawn = candidates(sequences, torch.arange(1, n_users + 1), tokens)
    counts = torch.bincount(drawn.flatten(), minlength=len(ITEMS))
    assert counts[:2].tolist() == [0, 0]
    share = 99 / 149
    spread = (n_users * share * (1 - share)) ** 0.5
    assert (counts[2:] - n_users * share).abs().max() < 4.5 * spread


def test_too_few_items_are_an_error_that_names_the_user():
    sequences = UserSequences.from_arrays(np.full(52, 3), np.arange(1, 53), len(USERS))
    with pytest.raises(ValueError, match="99 items that user u2 never interacted with, found 98"):
        candidates(sequences, torch.tensor([1, 3]))
    sequences = UserSequences.from_arrays(np.full(51, 3), np.arange(1, 52), len(USERS))
    assert sorted(candidates(sequences, torch.tensor([3]))[0].tolist()) == list(range(52, 151))


def test_tie_priority_is_an_order_of_the_tokens_by_seed():
    priority = tie_priority(ITEMS, 2020)
    assert sorted(priority[1:].tolist()) == list(range(1, len(ITEMS)))
    tokens, new_item = renumbered(ITEMS, 4)
    assert torch.equal(tie_priority(tokens, 2020)[new_item], priority)
    assert not torch.equal(tie_priority(ITEMS, 2021), priority)
    assert priority[1:].tolist() != sorted(priority[1:].tolist())


def test_earlier_items_are_those_before_the_target():
    sequences = UserSequences.from_arrays(np.array([1, 1, 1, 2, 2]), np.array([4, 5, 6, 7, 8]), 3)
    targets = Targets(torch.tensor([2, 1, 1]), torch.tensor([8, 6, 4]), torch.tensor([1, 2, 0]))
    rows, items = earlier_items(sequences, targets)
    assert list(zip(rows.tolist(), items.tolist())) == [(0, 7), (1, 4), (1, 5)]

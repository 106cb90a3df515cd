"""Each policy for items that share an ID, by hand."""

import pytest
import torch

from recbole_unirep.semantic_ids.collisions import POLICIES, LastLevel, resolve, sinkhorn_plan

ITEMS = ["a", "b", "c", "d", "e"]
CODES = torch.tensor([[0, 1], [0, 1], [1, 1], [0, 1], [0, 0]])
LAST = LastLevel(torch.tensor([[1.1], [1.0], [1.0], [1.7], [0.1]]), torch.tensor([[0.0], [1.0], [2.0], [9.0]]))


def test_leave_leaves():
    assert torch.equal(resolve("leave", CODES, ITEMS, None), CODES)


def test_append_numbers_the_items_that_share_an_id():
    resolved = resolve("append", CODES, ITEMS, None)
    assert torch.equal(resolved[:, :2], CODES)
    assert sorted(resolved[[0, 1, 3], 2].tolist()) == [0, 1, 2]
    assert resolved[[2, 4], 2].tolist() == [0, 0]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_order_of_the_items_decides_nothing(policy):
    order = [3, 0, 4, 2, 1]
    moved = LastLevel(LAST.residual[order], LAST.codebook)
    resolved = resolve(policy, CODES[order], [ITEMS[row] for row in order], moved)
    assert torch.equal(resolved, resolve(policy, CODES, ITEMS, LAST)[order])


def test_the_nearest_keeps_its_code_and_the_others_take_free_codes_under_their_prefix():
    resolved = resolve("nearest_free", CODES, ITEMS, LAST)
    assert resolved.tolist() == [[0, 3], [0, 1], [1, 1], [0, 2], [0, 0]] or resolved.tolist() == [
        [0, 2],
        [0, 1],
        [1, 1],
        [0, 3],
        [0, 0],
    ]
    assert resolved[1].tolist() == [0, 1]  # the nearest of three
    assert len(torch.unique(resolved, dim=0)) == 5


def test_without_a_free_code_an_item_keeps_its_shared_one():
    codes, last = torch.zeros(3, 2, dtype=torch.int64), LastLevel(torch.zeros(3, 1), torch.tensor([[0.0], [1.0]]))
    resolved = resolve("nearest_free", codes, ITEMS[:3], last)
    assert sorted(resolved[:, 1].tolist()) == [0, 0, 1]


def test_balanced_gives_every_code_to_equally_many():
    resolved = resolve("balanced", CODES, ITEMS, LAST)
    assert torch.equal(resolved[:, 0], CODES[:, 0])
    counts = torch.bincount(resolved[:, 1], minlength=4)
    assert counts.max() - counts.min() <= 1


def test_a_sinkhorn_plan_has_both_marginals_and_prefers_near_codes():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
    codebook = x[:8]
    plan = sinkhorn_plan(x, codebook).exp()
    assert torch.allclose(plan.sum(dim=0), torch.full((8,), 1 / 8, dtype=plan.dtype))
    assert torch.allclose(plan.sum(dim=1), torch.full((40,), 1 / 40, dtype=plan.dtype), rtol=0.02)
    nearest = torch.cdist(x, codebook).argmin(dim=1)
    counts = torch.bincount(plan.argmax(dim=1), minlength=8)
    assert counts.max() < torch.bincount(nearest, minlength=8).max()
    assert (plan.argmax(dim=1)[:8] == torch.arange(8)).sum() >= 6


def test_an_unknown_policy_and_a_missing_last_level_are_named():
    with pytest.raises(ValueError, match="collisions is 'drop': choose one of leave, append"):
        resolve("drop", CODES, ITEMS, LAST)
    with pytest.raises(ValueError, match="collisions=sinkhorn chooses the last code by distance"):
        resolve("sinkhorn", CODES, ITEMS, None)

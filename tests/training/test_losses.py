"""Losses at every position, against torch's own and by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from recbole_unirep.data.sequences import RowBatch
from recbole_unirep.training.losses import bce, bpr, cross_entropy, recommendation_loss


def states_and_table():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(7, 5, generator=generator) * 3
    table = torch.randn(11, 5, generator=generator)
    return states.requires_grad_(), table.requires_grad_(), torch.tensor([0, 10, 3, 3, 7, 1, 0])


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_cross_entropy_is_torchs_with_both_gradients(weight):
    states, table, targets = states_and_table()
    loss = weight * cross_entropy(states, table, targets)
    gradients = torch.autograd.grad(loss, (states, table))
    expected = weight * F.cross_entropy(states @ table.T, targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (states, table)))


def test_cross_entropy_passes_the_gradient_check():
    states, table, targets = states_and_table()
    states, table = (part.detach().double().requires_grad_() for part in (states, table))
    assert torch.autograd.gradcheck(lambda s, t: cross_entropy(s, t, targets), (states, table))


def test_cross_entropy_bears_large_scores():
    states = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    loss = cross_entropy(states, torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 0]))
    assert loss.item() == 1000  # (0 + 2000) / 2
    loss.backward()
    assert states.grad.flatten().tolist() == [0, -1]


def test_cross_entropy_keeps_its_precision_in_mixed_precision():
    states, table, targets = states_and_table()
    expected = torch.autograd.grad(cross_entropy(states, table, targets), (states, table))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cross_entropy(states, table, targets)
        half = cross_entropy(states.bfloat16(), table, targets)
    assert loss.dtype == half.dtype == torch.float32
    torch.testing.assert_close(torch.autograd.grad(loss, (states, table)), expected, rtol=0, atol=0)


def test_bce_and_bpr_by_hand():
    positive, negative = torch.tensor([0.0, math.log(3)]), torch.tensor([0.0, 0.0])
    # sigmoid: 1/2, 3/4 of the positives, 1/2 of the negatives
    assert bce(positive, negative).item() == pytest.approx((2 * math.log(2) + math.log(4 / 3) + math.log(2)) / 2)
    assert bpr(positive, negative).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert bce(torch.tensor([200.0]), torch.tensor([-200.0])).item() == 0
    assert bpr(torch.tensor([-200.0]), torch.tensor([200.0])).item() == 400


@pytest.mark.parametrize("loss_type", ["CE", "BCE", "BPR"])
def test_only_targets_are_trained_and_padding_and_special_rows_are_no_items(loss_type):
    """Six items and a mask token; three of four positions are targets."""
    item_embedding = torch.nn.Embedding(8, 4, dtype=torch.float64)
    torch.nn.init.normal_(item_embedding.weight, generator=torch.Generator().manual_seed(1))
    batch = RowBatch(
        users=torch.tensor([1, 2]),
        inputs=torch.tensor([[3, 1], [2, 6]]),
        is_target=torch.tensor([[True, True], [False, True]]),
        targets=torch.tensor([1, 5, 4]),
        negatives=torch.tensor([2, 2, 6]),
    )
    loss = recommendation_loss(batch, item_embedding, item_embedding, 7, loss_type)  # a state is the item itself
    table = item_embedding.weight
    losses = []
    for item, target, negative in ((3, 1, 2), (1, 5, 2), (6, 4, 6)):
        scores = table @ table[item]
        if loss_type == "CE":
            losses.append(scores[1:7].logsumexp(0) - scores[target])
        elif loss_type == "BCE":
            losses.append(-torch.log(torch.sigmoid(scores[target]) * (1 - torch.sigmoid(scores[negative]))))
        else:
            losses.append(-torch.log(torch.sigmoid(scores[target] - scores[negative])))
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    loss.backward()
    assert not table.grad[[0, 7]].any()

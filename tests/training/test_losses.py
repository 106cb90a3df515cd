"""Losses at every position match computations by hand."""

import math

import pytest
import torch

from recbole_unirep.data.sequences import RowBatch
from recbole_unirep.training.losses import bce, bpr, recommendation_loss


def own_vectors(item_embedding):
    """States of a model whose state at a place is the embedding of the item there."""
    return lambda item_seq, users, is_wanted: item_embedding(item_seq)[is_wanted]


def test_bce_and_bpr_by_hand():
    positive, negative = torch.tensor([0.0, math.log(3)]), torch.tensor([0.0, 0.0])
    # sigmoids: 1/2 and 3/4 for the positives, 1/2 for the negatives
    assert bce(positive, negative).item() == pytest.approx((2 * math.log(2) + math.log(4 / 3) + math.log(2)) / 2)
    assert bpr(positive, negative).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert bce(torch.tensor([200.0]), torch.tensor([-200.0])).item() == 0
    assert bpr(torch.tensor([-200.0]), torch.tensor([200.0])).item() == 400


@pytest.mark.parametrize("loss_type", ["CE", "SSM", "BCE", "BPR"])
def test_only_targets_are_trained_and_padding_and_special_rows_get_no_gradient(loss_type):
    """Six items and a mask token; three of four positions have targets."""
    item_embedding = torch.nn.Embedding(8, 4, dtype=torch.float64)
    torch.nn.init.normal_(item_embedding.weight, generator=torch.Generator().manual_seed(1))
    batch = RowBatch(
        users=torch.tensor([1, 2]),
        inputs=torch.tensor([[3, 1], [2, 6]]),
        is_target=torch.tensor([[True, True], [False, True]]),
        targets=torch.tensor([1, 5, 4]),
        negatives=torch.tensor([2, 2, 6] if loss_type != "SSM" else [2, 4, 5]),
        log_weights=torch.tensor([0.5, 0.0, -1.0]),
        following=torch.tensor([[5, 0, 0], [4, 0, 0]]),
    )
    loss = recommendation_loss(batch, own_vectors(item_embedding), item_embedding, 7, loss_type)
    table = item_embedding.weight
    losses = []
    for item, target, negative in ((3, 1, 2), (1, 5, 2), (6, 4, 6)):
        scores = table @ table[item]
        if loss_type == "CE":
            losses.append(scores[1:7].logsumexp(0) - scores[target])
        elif loss_type == "SSM":
            drawn = {2: 0.5, 4: 0.0, 5: -1.0}
            masses = [
                math.exp(weight) * scores[drawn_item].exp()
                for drawn_item, weight in drawn.items()
                if drawn_item != target
            ]
            losses.append((scores[target].exp() + sum(masses)).log() - scores[target])
        elif loss_type == "BCE":
            losses.append(-torch.log(torch.sigmoid(scores[target]) * (1 - torch.sigmoid(scores[negative]))))
        else:
            losses.append(-torch.log(torch.sigmoid(scores[target] - scores[negative])))
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    loss.backward()
    assert not table.grad[[0, 7]].any()


def test_label_smoothing_equals_torchs_over_the_whole_table():
    item_embedding = torch.nn.Embedding(7, 4, dtype=torch.float64)
    batch = RowBatch(
        users=torch.tensor([1, 2]),
        inputs=torch.tensor([[3, 1], [2, 6]]),
        is_target=torch.tensor([[True, True], [False, True]]),
        targets=torch.tensor([1, 5, 4]),
        negatives=torch.tensor([]),
        log_weights=torch.tensor([]),
        following=torch.tensor([[5, 0, 0], [4, 0, 0]]),
    )
    table = item_embedding.weight
    for smoothing in (0.0, 0.3):
        loss = recommendation_loss(batch, own_vectors(item_embedding), item_embedding, 7, "CE", smoothing=smoothing)
        scores = table[[3, 1, 6]] @ table[1:].T
        expected = torch.nn.functional.cross_entropy(scores, batch.targets - 1, label_smoothing=smoothing)
        torch.testing.assert_close(loss, expected)
        found, wanted = (torch.autograd.grad(part, table)[0] for part in (loss, expected))
        torch.testing.assert_close(found, wanted)

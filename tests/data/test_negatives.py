"""Negatives: one per target outside the user's items, or shared by a step and weighted by probability."""

import numpy as np
import pytest
import torch

from recbole_unirep.data.negatives import SharedNegatives, TargetNegatives, make_negatives
from recbole_unirep.data.sequences import UserSequences

SEQUENCES = UserSequences.from_arrays(np.array([1, 1, 1, 1, 2, 2, 2]), np.array([1, 2, 2, 3, 2, 1, 4]), 3)
TRAINING = np.array([0, 3, 2])  # items 1, 2, 2 and 2, 1: counts 2, 3, 0, 0, 0 of items 1 to 5


def drawn(negatives, times):
    """Sums draws and weights of each item over many steps."""
    generator = torch.Generator().manual_seed(0)
    total, weight = torch.zeros(6), torch.zeros(6)
    for _ in range(times):
        items, log_weights = negatives.draw(torch.tensor([1, 2]), generator)
        assert torch.equal(items, items.unique()) and items.min() >= 1 and items.max() <= 5
        assert log_weights.dtype == torch.float32
        total[items] += (log_weights.exp() * expected(negatives)[items]).round()
        weight[items] += log_weights.exp()
    return total, weight


def expected(negatives):
    """Expected number of draws of each item per step."""
    return torch.cat([torch.zeros(1), negatives.count * negatives.probability.float()])


@pytest.mark.parametrize(
    ("distribution", "probability"),
    [("uniform", [0.2] * 5), ("popularity", [0.3, 0.4, 0.1, 0.1, 0.1])],
)
def test_shared_negatives_follow_their_distribution_and_have_mean_weight_1(distribution, probability):
    negatives = SharedNegatives(SEQUENCES, TRAINING, 6, 4, distribution)
    assert negatives.probability.tolist() == pytest.approx(probability)
    total, weight = drawn(negatives, 4000)
    assert total.sum() == 4 * 4000
    torch.testing.assert_close(total[1:] / total.sum(), torch.tensor(probability), atol=0.015, rtol=0)
    torch.testing.assert_close(weight[1:] / 4000, torch.ones(5), atol=0.08, rtol=0)


def test_the_weight_of_a_shared_negative_by_hand():
    negatives = SharedNegatives(SEQUENCES, TRAINING, 6, 4, "popularity")
    items, log_weights = negatives.draw(torch.tensor([1]), torch.Generator().manual_seed(0))
    times = log_weights.exp() * torch.tensor([1.2, 1.6, 0.4, 0.4, 0.4])[items - 1]  # expected draws of 4
    assert times.sum().item() == pytest.approx(4)
    torch.testing.assert_close(times, times.round(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [5, 6, 1000])
def test_as_many_draws_as_items_take_every_item_once(count):
    negatives = SharedNegatives(SEQUENCES, TRAINING, 6, count, "popularity")
    items, log_weights = negatives.draw(torch.tensor([1]), torch.Generator())
    assert items.tolist() == [1, 2, 3, 4, 5] and log_weights.tolist() == [0.0] * 5


def test_an_unknown_distribution_is_an_error():
    with pytest.raises(ValueError, match="negative_distribution=zipf is not known: choose one of uniform, popularity"):
        SharedNegatives(SEQUENCES, TRAINING, 6, 4, "zipf")


def test_a_user_with_every_item_is_an_error():
    sequences = UserSequences.from_arrays(np.array([1, 1, 1]), np.array([1, 2, 3]), 2)
    with pytest.raises(ValueError, match="every item"):
        TargetNegatives(sequences, np.array([0, 3]), 4)
    items, _ = TargetNegatives(sequences, np.array([0, 3]), 5).draw(torch.tensor([1, 1]), torch.Generator())
    assert items.tolist() == [4, 4]


def test_only_one_uniform_negative_per_target_is_supported():
    sampling = {"distribution": "popularity", "sample_num": 1, "dynamic": False}
    with pytest.raises(ValueError, match="leave the key out, or use training_rows=prefix"):
        make_negatives({"loss_type": "BPR", "train_neg_sample_args": sampling}, SEQUENCES, TRAINING, 6)

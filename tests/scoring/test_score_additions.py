"""Learned biases of (position, item) pairs: which pairs get them, and their softmax. test_evaluation covers ranking."""

import pytest
import torch
from torch.nn import functional as F

from recbole_unirep.data.sequences import RowBatch
from recbole_unirep.scoring.score_additions import ScoreAdditions, SoftmaxAdditions, SoftmaxPart, repeats
from recbole_unirep.training.losses import recommendation_loss
from recbole_unirep.training.softmax import cross_entropy, sampled_cross_entropy


def test_each_item_read_so_far_gets_the_repeat_bias_once():
    inputs = torch.tensor([[5, 2, 5, 9], [4, 0, 0, 0]])
    added = repeats(torch.tensor(2.0), inputs, torch.tensor([0, 0, 1]), torch.tensor([0, 3, 0]))
    assert added.position.tolist() == [0, 1, 1, 1, 2]
    assert added.item.tolist() == [5, 5, 2, 9, 4]
    assert added.value.tolist() == [2.0] * 5


def test_values_of_a_repeated_pair_add_up():
    parts = [
        ScoreAdditions(torch.tensor([1, 0]), torch.tensor([3, 7]), torch.tensor([1.0, 2.0])),
        ScoreAdditions(torch.tensor([1, 1]), torch.tensor([3, 2]), torch.tensor([0.5, 4.0])),
    ]
    joined = ScoreAdditions.joined(parts)
    summed = joined.summed()
    assert [part.tolist() for part in summed] == [[0, 1, 1], [7, 2, 3], [2.0, 4.0, 1.5]]
    pairs = torch.tensor([0, 1, 1, 0, 2]), torch.tensor([7, 3, 4, 2, 3])
    assert summed.of(*pairs).tolist() == [2.0, 1.5, 0.0, 0.0, 0.0]
    empty = ScoreAdditions(*(part[:0] for part in summed))
    assert empty.summed().of(*pairs).tolist() == [0.0] * 5

    parts = [ScoreAdditions(*(part.flip(0) for part in parts[0])), parts[1]]
    softmax = SoftmaxAdditions.among(parts, torch.tensor([7, 3]), torch.tensor([2, 7]))
    assert softmax.own.tolist() == [2.0, 1.5]
    assert [[entry.tolist() for entry in part] for part in softmax.parts] == [[[0], [1], [2.0]], [[1], [0], [4.0]]]
    for n_scored, expected in (
        (7, [[[0, 1], [6, 2], [2.0, 1.0]], [[1, 1], [2, 1], [0.5, 4.0]]]),
        (1, [[[], [], []]] * 2),
    ):
        softmax = SoftmaxAdditions.among(parts, torch.tensor([7, 3]), torch.arange(1, n_scored + 1))
        assert softmax.own.tolist() == [2.0, 1.5]
        assert [[entry.tolist() for entry in part] for part in softmax.parts] == expected


def positions():
    """Seven positions and eleven items. Some positions have read items, the third and the last also their target."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(7, 5, generator=generator, dtype=torch.float64) * 3
    table = torch.randn(11, 5, generator=generator, dtype=torch.float64)
    targets = torch.tensor([0, 10, 3, 3, 7, 1, 0])
    is_read = torch.zeros(7, 11, dtype=torch.bool)
    is_read[[0, 0, 2, 2, 5, 6, 6], [4, 9, 3, 10, 2, 0, 8]] = True
    bias = torch.tensor(-1.5, dtype=torch.float64)
    return states.requires_grad_(), table.requires_grad_(), bias.requires_grad_(), targets, is_read


def as_additions(bias, targets, is_read, items=slice(None)):
    """Splits the bias of each pair into three entries in two parts, to test that entries of one pair add up."""
    own = bias * is_read[torch.arange(len(targets)), targets]
    once = is_read[:, items].nonzero(as_tuple=True)
    twice = [part.repeat_interleave(2) for part in once]
    values = (bias / 2).expand(len(once[0])), (bias / 4).expand(len(twice[0]))
    return SoftmaxAdditions(own, [SoftmaxPart(*once, values[0]), SoftmaxPart(*twice, values[1])])


def test_the_full_softmax_and_its_gradients_equal_torchs(chunk_rows):
    states, table, bias, targets, is_read = positions()
    loss = cross_entropy(states, table, targets, as_additions(bias, targets, is_read))
    expected = F.cross_entropy(states @ table.T + bias * is_read, targets)
    torch.testing.assert_close(loss, expected)
    found = torch.autograd.grad(loss, (states, table, bias))
    torch.testing.assert_close(found, torch.autograd.grad(expected, (states, table, bias)))


def test_the_sampled_softmax_and_its_gradients_equal_torchs(chunk_rows):
    """Some positions have read some of the drawn items 0, 2, 3 and 10. A target that is also drawn counts once."""
    states, table, bias, targets, is_read = positions()
    items, log_weights = torch.tensor([0, 2, 3, 10]), torch.tensor([0.3, -1.0, 0.0, 2.0], dtype=torch.float64)
    own = torch.tensor([items.tolist().index(target) if target in items else -1 for target in targets])
    drawn = as_additions(bias, targets, is_read, items)
    loss = sampled_cross_entropy(states, table[targets], table[items], log_weights, own, drawn)

    scores = states @ table.T + bias * is_read
    positive = scores[torch.arange(7), targets]
    negatives = (scores[:, items] + log_weights).masked_fill(items == targets[:, None], -torch.inf)
    expected = (torch.cat([positive[:, None], negatives], dim=1).logsumexp(dim=1) - positive).mean()
    torch.testing.assert_close(loss, expected)
    found = torch.autograd.grad(loss, (states, table, bias))
    torch.testing.assert_close(found, torch.autograd.grad(expected, (states, table, bias)))


@pytest.mark.parametrize("loss_type", ["CE", "SSM"])
def test_the_repeat_bias_falls_without_repeats_and_rises_with_them(loss_type):
    item_embedding = torch.nn.Embedding(8, 4)
    bias = torch.zeros((), requires_grad=True)

    def gradient(inputs, targets):
        batch = RowBatch(
            users=torch.tensor([1]),
            inputs=torch.tensor([inputs]),
            is_target=torch.tensor([[True, True, True]]),
            targets=torch.tensor(targets),
            negatives=torch.tensor([1, 2, 5]),
            log_weights=torch.zeros(3),
            following=torch.tensor([[targets[-1], 0, 0]]),
        )
        loss = recommendation_loss(
            batch,
            lambda inputs, users, is_target: item_embedding(inputs)[is_target],
            item_embedding,
            7,
            loss_type,
            lambda *read: [repeats(bias, *read)],
        )
        return torch.autograd.grad(loss, bias)[0].item()

    assert gradient([1, 2, 3], [2, 3, 4]) > 0
    assert gradient([1, 1, 1], [1, 1, 1]) < 0

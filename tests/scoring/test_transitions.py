"""Transition bias: it uses the counts of the other rows and of the row's own past, not of its own future."""

import numpy as np
import pytest
import torch

from recbole_unirep.data.cooccurrence import ItemTransitions, _largest, following_counts
from recbole_unirep.data.sequences import RowBatch, UserSequences
from recbole_unirep.scoring.score_additions import ScoreAdditions, transition_additions

N_ITEMS = 9
WEIGHTS = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)


@pytest.fixture
def histories():
    draw = np.random.RandomState(1)
    once = [draw.permutation(np.arange(1, N_ITEMS))[: draw.randint(2, 8)].tolist() for _ in range(8)]
    again = [draw.randint(1, 4, draw.randint(2, 8)).tolist() for _ in range(6)]  # users who repeat items
    return once + again


def counted(histories):
    users = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    sequences = UserSequences.from_arrays(users, np.concatenate(histories), len(histories))
    return following_counts(sequences, np.diff(sequences.offsets), N_ITEMS, window=3)


def as_transitions(counts):
    scale = 1 / np.sqrt(counts.sum(axis=1).clip(1))
    values = counts.data * np.repeat(scale, np.diff(counts.indptr))
    return ItemTransitions(*map(torch.from_numpy, (counts.indptr.astype(int), counts.indices, values, scale)))


def padded(histories):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(history) for history in histories], batch_first=True)


@pytest.mark.parametrize("n_last", [1, 2, 3])
def test_a_rows_own_future_is_not_counted(histories, n_last):
    """The expected counts come from all rows, with this row cut after the position's last place."""
    counts = counted(histories)
    transitions, rows = as_transitions(counts), padded(histories)
    row, place = (rows > 0).nonzero(as_tuple=True)
    parts = transition_additions(WEIGHTS[:n_last], transitions, 3, rows, row, place)
    assert all((part.position.diff() >= 0).all() for part in parts)
    added = ScoreAdditions.joined(parts)
    found = torch.zeros(len(row), N_ITEMS, dtype=torch.float64)
    found.index_put_((added.position, added.item), added.value, accumulate=True)
    for position, (cut, last) in enumerate(zip(row.tolist(), place.tolist())):
        known = [*histories[:cut], histories[cut][: last + 1], *histories[cut + 1 :]]
        matrix = counted(known).toarray() * transitions.scale[:, None].numpy()
        read = histories[cut][: last + 1][::-1][:n_last]
        expected = sum(weight * matrix[item] for weight, item in zip(WEIGHTS.tolist(), read))
        np.testing.assert_allclose(found[position], expected, atol=1e-12)


@pytest.mark.parametrize("most", [1, 2, 4])
def test_only_stored_successors_gain_or_lose_score(histories, most):
    counts = counted(histories)
    whole, rows = as_transitions(counts), padded(histories)
    kept = as_transitions(_largest(counts.copy(), most))._replace(scale=whole.scale)
    kept = kept._replace(values=whole.values[whole_places(whole, kept)])
    row, place = (rows > 0).nonzero(as_tuple=True)
    dense = []
    for transitions in (whole, kept):
        added = ScoreAdditions.joined(transition_additions(WEIGHTS[:1], transitions, 3, rows, row, place))
        found = torch.zeros(len(row), N_ITEMS, dtype=torch.float64)
        dense.append(found.index_put_((added.position, added.item), added.value, accumulate=True))
    last = rows[row, place]
    is_stored = torch.zeros(N_ITEMS, N_ITEMS, dtype=torch.bool)
    is_stored[torch.repeat_interleave(kept.offsets.diff()), kept.items] = True
    assert 0 < is_stored.sum() < len(whole.items)
    torch.testing.assert_close(dense[1], dense[0] * is_stored[last])


def whole_places(whole, kept):
    """Index of each kept entry among all entries."""
    keys = [torch.repeat_interleave(part.offsets.diff()) * N_ITEMS + part.items for part in (whole, kept)]
    return torch.searchsorted(*keys)


def test_the_weights_get_the_right_gradient(histories):
    transitions, rows = as_transitions(counted(histories)), padded(histories)
    row, place = (rows > 0).nonzero(as_tuple=True)

    def total(weights):
        added = ScoreAdditions.joined(transition_additions(weights, transitions, 3, rows, row, place))
        return (added.value * torch.cos(added.item.double() + added.position)).sum()

    assert torch.autograd.gradcheck(total, WEIGHTS.clone().requires_grad_())


def test_whole_rows_append_the_following_items():
    batch = RowBatch(
        users=torch.tensor([1, 2]),
        inputs=torch.tensor([[4, 2, 5], [3, 0, 0]]),
        is_target=torch.tensor([[False, True, True], [True, False, False]]),
        targets=torch.tensor([5, 8, 6]),
        negatives=torch.tensor([]),
        log_weights=torch.tensor([]),
        following=torch.tensor([[8, 1, 0], [6, 0, 0]]),
    )
    assert batch.whole_rows().tolist() == [[4, 2, 5, 8, 1, 0], [3, 6, 0, 0, 0, 0]]

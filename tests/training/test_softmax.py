"""Chunked softmax cross entropy matches torch's; the sampled version approaches that of the whole catalogue."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recbole_unirep.data.negatives import SharedNegatives
from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.training import softmax
from recbole_unirep.training.softmax import cross_entropy, sampled_cross_entropy


def states_and_table():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(7, 5, generator=generator) * 3
    table = torch.randn(11, 5, generator=generator)
    return states.requires_grad_(), table.requires_grad_(), torch.tensor([0, 10, 3, 3, 7, 1, 0])


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_cross_entropy_and_both_gradients_equal_torchs(chunk_rows, weight):
    states, table, targets = states_and_table()
    loss = weight * cross_entropy(states, table, targets)
    gradients = torch.autograd.grad(loss, (states, table))
    expected = weight * F.cross_entropy(states @ table.T, targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (states, table)))


def test_cross_entropy_passes_the_gradient_check(chunk_rows):
    states, table, targets = states_and_table()
    states, table = (part.detach().double().requires_grad_() for part in (states, table))
    assert torch.autograd.gradcheck(lambda s, t: cross_entropy(s, t, targets), (states, table))


def test_cross_entropy_is_stable_for_large_scores():
    states = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    loss = cross_entropy(states, torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 0]))
    assert loss.item() == 1000  # (0 + 2000) / 2
    loss.backward()
    assert states.grad.flatten().tolist() == [0, -1]


def test_cross_entropy_is_computed_in_float32_under_autocast():
    states, table, targets = states_and_table()
    expected = torch.autograd.grad(cross_entropy(states, table, targets), (states, table))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cross_entropy(states, table, targets)
        half = cross_entropy(states.bfloat16(), table, targets)
    assert loss.dtype == half.dtype == torch.float32
    torch.testing.assert_close(torch.autograd.grad(loss, (states, table)), expected, rtol=0, atol=0)


def test_several_chunks_give_the_value_of_one_chunk(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    states, table = torch.randn(100, 8, generator=generator), torch.randn(300, 8, generator=generator)
    targets = torch.randint(300, (100,), generator=generator)

    def found(rows):
        monkeypatch.setattr(softmax, "_chunk_rows", lambda table: rows)
        parts = states.clone().requires_grad_(), table.clone().requires_grad_()
        loss = cross_entropy(*parts, targets)
        return loss.detach(), *torch.autograd.grad(loss, parts)

    torch.testing.assert_close(found(33), found(100), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("n_items", "rows"),
    [(41_943, 50), (41_944, 49), (2**21, 16), (2**25, 16), (1, 2**21)],
)
def test_a_chunk_is_no_larger_than_its_cells_or_the_table(n_items, rows):
    """2 ** 21 = 50 * 41,943 + 2 cells; with 16 dimensions the table itself has 16 cells per item."""
    assert softmax._chunk_rows(torch.empty(1, 16).expand(n_items, 16)) == rows


def test_the_full_logits_are_never_held_in_memory(monkeypatch):
    """400 positions and 1,000 items: the largest tensor created is a chunk or the table."""
    monkeypatch.setitem(softmax.CHUNK_CELLS, "cpu", 10_000)
    sizes = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            sizes.extend(part.numel() for part in torch.utils._pytree.tree_leaves(made) if torch.is_tensor(part))
            return made

    states, table = torch.randn(400, 8, requires_grad=True), torch.randn(1000, 8, requires_grad=True)
    with Sizes():
        cross_entropy(states, table, torch.zeros(400, dtype=torch.int64)).backward()
    assert max(sizes) == 10_000


def catalogue():
    """States of seven positions and a table of eleven items, in double precision."""
    states, table, targets = states_and_table()
    return *(part.detach().double().requires_grad_() for part in (states, table)), targets


def sampled(states, table, targets, items, log_weights):
    place = {item: place for place, item in enumerate(items.tolist())}
    own = torch.tensor([place.get(target, -1) for target in targets.tolist()])
    return sampled_cross_entropy(states, table[targets], table[items], log_weights, own)


def test_all_items_as_negatives_give_the_full_softmax(chunk_rows):
    states, table, targets = catalogue()
    loss = sampled(states, table, targets, torch.arange(11), torch.zeros(11))
    expected = F.cross_entropy(states @ table.T, targets)
    torch.testing.assert_close(loss, expected)
    found = torch.autograd.grad(loss, (states, table))
    torch.testing.assert_close(found, torch.autograd.grad(expected, (states, table)))


def test_sampled_cross_entropy_by_hand():
    """The target scores 1. The drawn items score 2, 1 and 3 with weights 1/2, 2 and 1; the second is the target."""
    states, positives = torch.ones(1, 1), torch.ones(1, 1)
    negatives, log_weights = torch.tensor([[2.0], [1.0], [3.0]]), torch.tensor([0.5, 2.0, 1.0]).log()
    loss = sampled_cross_entropy(states, positives, negatives, log_weights, torch.tensor([1]))
    e = torch.tensor(1.0).exp()
    torch.testing.assert_close(loss, -(e / (e + 0.5 * e**2 + e**3)).log())


def test_sampled_cross_entropy_passes_the_gradient_check(chunk_rows):
    states, table, targets = catalogue()
    items, log_weights = torch.tensor([0, 2, 3, 10]), torch.tensor([0.3, -1.0, 0.0, 2.0])
    assert torch.autograd.gradcheck(lambda s, t: sampled(s, t, targets, items, log_weights), (states, table))


def test_the_loss_is_zero_if_only_the_target_was_drawn():
    states, table, _ = catalogue()
    loss = sampled(states[:1], table, torch.tensor([4]), torch.tensor([4]), torch.zeros(1))
    assert loss.item() == 0
    assert not any(part.any() for part in torch.autograd.grad(loss, (states, table)))


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_the_mean_gradient_approaches_the_full_softmaxs_with_more_negatives(distribution):
    """The bias falls with the number of negatives per step. Without the correction for popularity it would remain."""
    states, table, targets = catalogue()
    full = torch.autograd.grad(F.cross_entropy(states @ table.T, targets), (states, table))
    draw = torch.Generator().manual_seed(0)
    items = torch.randint(1, 12, (60,), generator=draw)
    sequences = UserSequences(torch.cat([items, torch.ones(60).long()]).numpy(), np.array([0, 0, 120]))

    def distance(count, steps, weighted=True):
        negatives = SharedNegatives(sequences, np.array([0, 120]), 12, count, distribution)
        mean = [torch.zeros_like(part) for part in full]
        for _ in range(steps):
            drawn, log_weights = negatives.draw(targets, draw)
            loss = sampled(states, table, targets, drawn - 1, log_weights if weighted else torch.zeros(len(drawn)))
            for total, part in zip(mean, torch.autograd.grad(loss, (states, table))):
                total += part / steps
        return sum((total - part).norm() for total, part in zip(mean, full)) / sum(part.norm() for part in full)

    few, many = distance(10, 200), distance(300, 200)
    assert many < few / 3
    assert many < 0.02

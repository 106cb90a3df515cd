"""Numbers that every pair has: their softmax against torch's, single pairs against chunks."""

import pytest
import torch
from torch.nn import functional as F

from recbole_unirep.training.score_features import HistorySimilarity, Popularity, ScoreFeatures
from recbole_unirep.training.softmax import cross_entropy, sampled_cross_entropy

N_ITEMS = 12


@pytest.fixture
def directions():
    vectors = torch.randn(N_ITEMS, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    vectors[0] = 0
    return F.normalize(vectors, dim=-1).__getitem__


@pytest.fixture
def places():
    """Seven positions of four rows, of which the second is not trained from its first place on."""
    rows = torch.tensor([[4, 2, 9, 0], [1, 3, 5, 7], [8, 0, 0, 0], [11, 4, 0, 0]])
    return rows, torch.tensor([0, 0, 0, 1, 1, 2, 3]), torch.tensor([0, 1, 2, 2, 3, 0, 1])


def similarity_by_hand(directions, rows, row, place):
    read = [directions(rows[r, : p + 1]) for r, p in zip(row.tolist(), place.tolist())]
    return torch.stack([(part @ directions(torch.arange(N_ITEMS)).T).amax(dim=0) for part in read])


@pytest.mark.parametrize("part", [slice(0, 7), slice(2, 5), slice(4, 5), slice(5, 7)])
def test_the_similarity_is_that_of_the_nearest_read_item(directions, places, part):
    similarity, expected = HistorySimilarity(directions, *places), similarity_by_hand(directions, *places)
    items = torch.tensor([1, 4, 6, 11])
    torch.testing.assert_close(similarity.chunk(similarity.columns(items), part), expected[part][:, items])
    position, item = torch.tensor([6, 0, 3, 3]), torch.tensor([2, 4, 10, 1])
    torch.testing.assert_close(similarity.pairs(position, item), expected[position, item])
    assert len(similarity.pairs(position[:0], item[:0])) == 0


def test_a_target_s_own_count_is_taken_off():
    counts = torch.tensor([0.0, 1.0, 3.0, 0.0])
    item = torch.arange(1, 4)
    training, ranking = Popularity(counts, own=1), Popularity(counts, own=0)
    torch.testing.assert_close(training.pairs(item, item).exp(), torch.tensor([1.0, 3.0, 1.0]).double())
    torch.testing.assert_close(ranking.pairs(item, item).exp(), torch.tensor([2.0, 4.0, 1.0]).double())
    assert torch.equal(training.chunk(training.columns(item), slice(2, 4)), counts[1:].log1p().expand(2, 3))


@pytest.mark.parametrize("sampled", [False, True])
def test_the_softmax_is_torchs_with_its_gradients(directions, places, chunk_rows, sampled):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(7, 4, generator=generator, dtype=torch.float64).requires_grad_()
    table = torch.randn(N_ITEMS, 4, generator=generator, dtype=torch.float64).requires_grad_()
    weights = torch.tensor([1.5, -0.4], dtype=torch.float64).requires_grad_()
    targets = torch.tensor([2, 9, 1, 7, 7, 3, 11])
    counts = torch.arange(N_ITEMS, dtype=torch.float64)
    features = ScoreFeatures(weights, [HistorySimilarity(directions, *places), Popularity(counts, own=1)])
    scored = torch.tensor([2, 5, 7, 10]) if sampled else torch.arange(N_ITEMS)
    added = features.among(targets, scored)

    numbers = similarity_by_hand(directions, *places), counts.log1p().expand(7, -1)
    scores = states @ table.T + sum(weight * number for weight, number in zip(weights, numbers))
    own = targets[:, None] == torch.arange(N_ITEMS)
    scores = scores + weights[1] * own * ((targets - 1).double().log1p() - targets.double().log1p())[:, None]
    positive = scores[own]
    if sampled:
        log_weights = torch.tensor([0.3, -1.0, 0.0, 2.0], dtype=torch.float64)
        place = torch.tensor([0, -1, -1, 2, 2, -1, -1])
        loss = sampled_cross_entropy(states, table[targets], table[scored], log_weights, place, None, added)
        negatives = (scores[:, scored] + log_weights).masked_fill(scored == targets[:, None], -torch.inf)
        expected = (torch.cat([positive[:, None], negatives], dim=1).logsumexp(dim=1) - positive).mean()
    else:
        loss = cross_entropy(states, table, targets, None, added)
        expected = F.cross_entropy(scores, targets)
    torch.testing.assert_close(loss, expected)
    found = torch.autograd.grad(loss, (states, table, weights))
    torch.testing.assert_close(found, torch.autograd.grad(expected, (states, table, weights)))


def test_pairs_and_blocks_agree(directions, places):
    weights = torch.tensor([2.0, 0.7], dtype=torch.float64)
    features = ScoreFeatures(
        weights, [HistorySimilarity(directions, *places), Popularity(torch.ones(N_ITEMS).double(), own=0)]
    )
    block = features.block(torch.arange(N_ITEMS), 7)
    position, item = torch.ones(7, N_ITEMS).nonzero(as_tuple=True)
    torch.testing.assert_close(features.pairs(position, item).view(7, N_ITEMS), block)
    assert block.abs().max() <= features.largest * (1 + 1e-12) and features.n_terms == 5

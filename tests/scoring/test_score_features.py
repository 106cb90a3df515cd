"""Features added to every score at ranking time: pairs and blocks match a computation by hand."""

import pytest
import torch
from torch.nn import functional as F

from recbole_unirep.scoring.score_features import HistorySimilarity, Popularity, ScoreFeatures

N_ITEMS = 12
ROWS, LAST = torch.tensor([[4, 2, 9, 3], [1, 3, 5, 0], [8, 0, 0, 0], [11, 4, 6, 2]]), torch.tensor([3, 2, 0, 1])


@pytest.fixture
def directions():
    vectors = torch.randn(N_ITEMS, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    vectors[0] = 0
    return F.normalize(vectors, dim=-1).__getitem__


@pytest.fixture
def by_hand(directions):
    read = [directions(items[: last + 1]) for items, last in zip(ROWS, LAST.tolist())]
    return torch.stack([(part @ directions(torch.arange(N_ITEMS)).T).amax(dim=0) for part in read])


def test_history_similarity_is_the_cosine_to_the_most_similar_item_read(directions, by_hand):
    """Padding and items after the last place do not count; the third row is dissimilar to most items."""
    similarity, items = HistorySimilarity(directions, ROWS, LAST), torch.tensor([1, 4, 6, 11])
    assert by_hand[2, 1:].min() < 0
    torch.testing.assert_close(similarity.block(items), by_hand[:, items])
    row, item = torch.tensor([3, 0, 2, 2]), torch.tensor([2, 4, 10, 1])
    torch.testing.assert_close(similarity.pairs(row, item), by_hand[row, item])
    assert len(similarity.pairs(row[:0], item[:0])) == 0


def test_the_sum_weights_each_feature(directions, by_hand):
    counts = torch.arange(N_ITEMS, dtype=torch.float64)
    features = ScoreFeatures([2.0, -0.7], [HistorySimilarity(directions, ROWS, LAST), Popularity(counts, 4.0)])
    expected = 2 * by_hand - 0.7 * (1 + counts).log()
    torch.testing.assert_close(features.block(torch.arange(N_ITEMS)), expected)
    row, item = torch.ones(4, N_ITEMS).nonzero(as_tuple=True)
    torch.testing.assert_close(features.pairs(row, item).view(4, N_ITEMS), expected)
    assert expected.abs().max() <= features.largest and features.n_terms == 5

"""recbole_unirep.scoring.score_features: what ranking adds to the scores of all pairs of user and item.

Each feature is a number of a pair, its weight a setting chosen on validation; the model is trained without them. A
learned weight was smaller and worse: the model then learns less of what the feature says already.

A feature offers
    block(items): its numbers of all rows and of items [N], up to rounding, shape: [B, N], float32;
    pairs(row, item): its numbers of single pairs [K], float64;
    largest: a bound of its numbers;
    n_terms: products that a number sums.

Shapes: B rows of L places, N items, D dimensions.
"""

from typing import NamedTuple

import torch


class HistorySimilarity:
    """Cosine of an item and the item most like it among those that a row has read.

    Reference:
        Khattab and Zaharia, "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over
            BERT", SIGIR 2020 (the maximum of similarities, where a mean would lose the nearest one).

    Args:
        directions (callable): item ids to vectors of length 1, zeros for 0; [...] to [..., D].
        rows (Tensor): item ids, shape: [B, L], int64.
        last (Tensor): the last place that a row has read, shape: [B], int64.
    """

    largest = 1.0

    def __init__(self, directions, rows, last):
        is_read = torch.arange(rows.size(1), device=rows.device) <= last[:, None]
        self.directions = directions
        self.read = directions(torch.where(is_read, rows, rows[:, :1]))  # [B, L, D], the first one in place of padding
        self.n_terms = self.read.size(2)

    def block(self, items):
        columns, most = self.directions(items).T, None
        for read in self.read.unbind(dim=1):
            most = read @ columns if most is None else torch.maximum(most, read @ columns, out=most)
        return most

    def pairs(self, row, item):
        vectors, most = self.directions(item).double(), None
        for read in self.read.unbind(dim=1):
            similarity = (read[row].double() * vectors).sum(dim=-1)
            most = similarity if most is None else torch.maximum(most, similarity, out=most)
        return most


class Popularity:
    """Logarithm of one and how often an item stands in training.

    Args:
        counts (Tensor): of each item id, shape: [n_items], float32.
    """

    n_terms = 1

    def __init__(self, counts):
        self.counts = counts
        self.largest = float(torch.log1p(counts.max()))

    def block(self, items):
        return torch.log1p(self.counts[items])[None]

    def pairs(self, row, item):
        return torch.log1p(self.counts[item].double())


class ScoreFeatures(NamedTuple):
    """Features and their weights.

    Attributes:
        weights (list of float): F of them.
        features (list): F of them.
    """

    weights: list
    features: list

    def block(self, items):
        """What is added to the scores of all rows and items [N], up to rounding, shape: [B, N] or [1, N]."""
        return sum(weight * feature.block(items) for weight, feature in zip(self.weights, self.features))

    def pairs(self, row, item):
        """What is added to scores of pairs, float64, shape: [K]."""
        return sum(weight * feature.pairs(row, item) for weight, feature in zip(self.weights, self.features))

    @property
    def n_terms(self):
        """Products that a number sums at most."""
        return max(feature.n_terms for feature in self.features)

    @property
    def largest(self):
        """A bound of what is added."""
        return sum(abs(weight) * feature.largest for weight, feature in zip(self.weights, self.features))

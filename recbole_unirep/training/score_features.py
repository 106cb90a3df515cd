"""recbole_unirep.training.score_features: learned weights of what is known of every pair of position and item.

Each feature is a number of a pair that no gradient reaches; its weight is learned, and weight times number is added to
the pair's score. A feature offers
    columns(items): what it needs of scored items [N], prepared once;
    chunk(columns, part): its numbers for the positions of a slice, shape: [C, N], float32;
    pairs(position, item): its numbers of single pairs [K], in float64;
    largest: a bound of its numbers;
    n_terms: products that a number sums.

Shapes: P positions, B rows of L places, N scored items, D dimensions.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class HistorySimilarity:
    """Cosine of an item and the item most like it among those that a position has read.

    Reference:
        Khattab and Zaharia, "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over
            BERT", SIGIR 2020 (the maximum of similarities, where a sum would lose the nearest one).

    Args:
        directions (callable): item ids to vectors of length 1, zeros for 0; [...] to [..., D].
        rows (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
        row (Tensor): row of each position, ascending, shape: [P], int64.
        place (Tensor): its last place, shape: [P], int64.
    """

    largest = 1.0

    def __init__(self, directions, rows, row, place):
        self.directions, self.row, self.place = directions, row, place
        self.read = directions(rows)  # [B, L, D]
        self.n_terms = self.read.size(2)

    def columns(self, items):
        return self.directions(items)

    def chunk(self, columns, part):
        row, place = self.row[part], self.place[part]
        first, end = int(row[0]), int(row[-1]) + 1
        most, best = columns.new_empty(len(row), len(columns)), None
        for at in range(int(place.max()) + 1):
            similarity = self.read[first:end, at] @ columns.T  # [R, N]
            best = similarity if best is None else torch.maximum(best, similarity, out=best)
            ends_here = (place == at).nonzero()[:, 0]
            most[ends_here] = best[row[ends_here] - first]
        return most

    def pairs(self, position, item):
        row, place = self.row[position], self.place[position]
        vectors, most = self.directions(item).double(), None
        for at in range(int(place.max()) + 1 if len(place) else 0):
            similarity = (self.read[row, at].double() * vectors).sum(dim=-1).masked_fill(place < at, -torch.inf)
            most = similarity if most is None else torch.maximum(most, similarity, out=most)
        return vectors.new_zeros(0) if most is None else most


class Popularity:
    """Logarithm of one and how often an item stands in training.

    Args:
        counts (Tensor): of each item id, shape: [n_items].
        own (int): what is taken off the count of single pairs: 1 in training, where they are targets that are counted.
    """

    n_terms = 1

    def __init__(self, counts, own):
        self.counts, self.own = counts, own
        self.largest = float(torch.log1p(counts.max()))

    def columns(self, items):
        return torch.log1p(self.counts[items])

    def chunk(self, columns, part):
        return columns.expand(part.stop - part.start, -1)

    def pairs(self, position, item):
        return torch.log1p((self.counts[item] - self.own).clamp(min=0).double())


class ScoreFeatures(NamedTuple):
    """Features and their weights.

    Attributes:
        weights (Tensor): may carry a gradient, shape: [F].
        features (list): F of them.
    """

    weights: Tensor
    features: list

    def among(self, targets, items):
        """What a softmax over items [N] needs, for positions with targets [P].

        Returns:
            SoftmaxFeatures: of P positions.
        """
        position = torch.arange(len(targets), device=targets.device)
        own = torch.stack([feature.pairs(position, targets) for feature in self.features], dim=1)
        return SoftmaxFeatures(self.weights, own, self.features, [feature.columns(items) for feature in self.features])

    def pairs(self, position, item):
        """What is added to scores of pairs, float64, shape: [K]."""
        weights = self.weights.double()
        return sum(weight * feature.pairs(position, item) for weight, feature in zip(weights, self.features))

    def block(self, items, n_positions):
        """What is added to the scores of all positions and items [N], up to rounding, shape: [P, N]."""
        every = slice(0, n_positions)
        parts = (feature.chunk(feature.columns(items), every) for feature in self.features)
        return sum(weight * part for weight, part in zip(self.weights, parts))

    @property
    def n_terms(self):
        """Products that a number sums at most."""
        return max(feature.n_terms for feature in self.features)

    @property
    def largest(self):
        """A bound of what is added, shape: []."""
        return sum(weight.abs() * feature.largest for weight, feature in zip(self.weights, self.features))


class SoftmaxFeatures(NamedTuple):
    """What a softmax needs of features.

    Attributes:
        weights (Tensor): shape: [F].
        own (Tensor): numbers of each position's own item, shape: [P, F], float64.
        features (list): F of them.
        columns (list): what each needs of the scored items.
    """

    weights: Tensor
    own: Tensor
    features: list
    columns: Any

    def chunk(self, part):
        """Numbers of each feature for the positions of a slice, shape: [C, N] each."""
        return [feature.chunk(columns, part) for feature, columns in zip(self.features, self.columns)]

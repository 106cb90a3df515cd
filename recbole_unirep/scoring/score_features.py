"""recbole_unirep.scoring.score_features: features added to the scores of all (user, item) pairs at ranking time.

A feature gives one number per pair. Its weight is a setting chosen on validation; training does not use it. Learned
weights came out smaller and ranked worse, because the model then learns less of what the feature already says.

A feature has
    block(items): its values for all rows and the items [N], up to rounding, shape: [B, N], float32;
    of_new(directions): the same for new items, which no table holds, by their unit vectors [N, D];
    pairs(row, item): its values for single pairs [K], float64;
    largest: an upper bound of its absolute values;
    n_terms: number of products summed in one value.

Shapes: B rows of L places, N items, D dimensions.
"""

import math
from typing import NamedTuple

import torch


class HistorySimilarity:
    """Cosine similarity between an item and the most similar item that the row has read.

    Reference:
        Khattab and Zaharia, "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over
            BERT", SIGIR 2020 (the maximum of the similarities; a mean would hide the nearest item).

    Args:
        directions (callable): item ids to unit vectors, item 0 to zeros; [...] to [..., D].
        rows (Tensor): item ids, shape: [B, L], int64.
        last (Tensor): index of the last item read in each row, shape: [B], int64.
    """

    largest = 1.0

    def __init__(self, directions, rows, last):
        is_read = torch.arange(rows.size(1), device=rows.device) <= last[:, None]
        self.directions = directions
        self.read = directions(torch.where(is_read, rows, rows[:, :1]))  # [B, L, D], the first item replaces padding
        self.n_terms = self.read.size(2)

    def block(self, items):
        return self.of_new(self.directions(items))

    def of_new(self, directions):
        most = None
        for read in self.read.unbind(dim=1):
            most = read @ directions.T if most is None else torch.maximum(most, read @ directions.T, out=most)
        return most

    def pairs(self, row, item):
        vectors, most = self.directions(item).double(), None
        for read in self.read.unbind(dim=1):
            similarity = (read[row].double() * vectors).sum(dim=-1)
            most = similarity if most is None else torch.maximum(most, similarity, out=most)
        return most


class Popularity:
    """log(1 + number of training interactions) of an item.

    Args:
        counts (Tensor): training interactions per item id, shape: [n_items], float32.
        usual (float): number that stands for that of an item that took no part in training.
    """

    n_terms = 1

    def __init__(self, counts, usual):
        self.counts, self.usual = counts, usual
        self.largest = float(torch.log1p(counts.max()))

    def block(self, items):
        return torch.log1p(self.counts[items])[None]

    def of_new(self, directions):
        return math.log1p(self.usual)

    def pairs(self, row, item):
        return torch.log1p(self.counts[item].double())


class Newness:
    """1 for items that took no part in training, 0 for others.

    Args:
        n_trained (int): smallest id of an item that took no part in training.
    """

    n_terms, largest = 1, 1.0

    def __init__(self, n_trained):
        self.n_trained = n_trained

    def block(self, items):
        return (items >= self.n_trained).float()[None]

    def of_new(self, directions):
        return 1.0

    def pairs(self, row, item):
        return (item >= self.n_trained).double()


class ScoreFeatures(NamedTuple):
    """Weighted sum of features.

    Attributes:
        weights (list of float): one per feature.
        features (list): the features.
    """

    weights: list
    features: list

    def block(self, items):
        """Returns the sum for all rows and the items [N], up to rounding, shape: [B, N] or [1, N]."""
        return sum(weight * feature.block(items) for weight, feature in zip(self.weights, self.features))

    def of_new(self, directions):
        """Returns the sum for all rows and new items with the given unit vectors [N, D], shape: [B, N], or a number."""
        return sum(weight * feature.of_new(directions) for weight, feature in zip(self.weights, self.features))

    def pairs(self, row, item):
        """Returns the sum for single pairs, float64, shape: [K]."""
        return sum(weight * feature.pairs(row, item) for weight, feature in zip(self.weights, self.features))

    @property
    def n_terms(self):
        """Largest number of products summed in one value of a feature."""
        return max(feature.n_terms for feature in self.features)

    @property
    def largest(self):
        """Upper bound of the absolute value of the sum."""
        return sum(abs(weight) * feature.largest for weight, feature in zip(self.weights, self.features))

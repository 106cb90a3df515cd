"""recbole_unirep.scoring.scores: scores of B users, by blocks of the catalogue or for given (user, item) pairs."""

from functools import cached_property

import torch

BLOCK = 2048  # items scored and counted at a time; a block fits into the processor's cache
PRODUCTS = 65536  # numbers multiplied at a time for pairs, for the same reason
# Error of a matrix product beyond float32's rounding, by torch.get_float32_matmul_precision(): TF32, bfloat16.
REDUCED_PRECISION = {"highest": 0.0, "high": 2.0**-9, "medium": 2.0**-6}


def columns_of_block(n_users, scores_at_once):
    """Returns the number of items per block that keeps the scores of n_users within scores_at_once."""
    return min(BLOCK, scores_at_once // n_users)


def n_above(scores, limit, compare=torch.gt):
    """Counts the scores above each row's limit.

    Comparisons are written as numbers 0 and 1, which is faster than booleans on a CPU.

    Args:
        scores (Tensor): shape: [B, C], C below 2^24.
        limit (Tensor): shape: [B].
        compare (callable): torch.gt, or torch.ge to count scores equal to the limit, too.

    Returns:
        Tensor: shape: [B], int64.
    """
    return compare(scores, limit[:, None], out=torch.empty_like(scores)).sum(dim=1, dtype=torch.float32).long()


class Scores:
    """Scores of B users. A subclass defines `pairs`: rows and items [P] to scores [P]."""

    def of_candidates(self, items):
        """Returns the scores of each user's candidates; items [B, C] to scores [B, C]."""
        rows = torch.arange(len(items), device=items.device)[:, None].expand_as(items)
        return self.pairs(rows.reshape(-1), items.reshape(-1)).view(items.shape)


class TableScores(Scores):
    """Scores of the form states times item table.

    The score of a pair is its dot product in float64 (each product of two float32 numbers is exact there), plus its
    `additions` and `features`, rounded to the table's precision. This value does not depend on the shape of the
    computation. `pairs` returns it exactly, `blocks` returns it up to `slack`. A plain matrix product is not enough:
    its last bits depend on shapes, threads and device, so equal items could differ and a target could beat itself.

    Args:
        states (Tensor): shape: [B, H].
        table (Tensor): shape: [n_items, H].
        longest (Tensor): largest norm of a row of the table, shape: [].
        n_columns (int): items per block.
        additions (ScoreAdditions or None): added to the scores of a few pairs, each pair at most once.
        features (ScoreFeatures or None): added to all scores.

    Raises:
        ValueError: a state or the table contains NaN or infinity.
    """

    def __init__(self, states, table, longest, n_columns, additions=None, features=None):
        self.states, self.table, self.n_columns = states.to(table.dtype), table, n_columns
        self.longest, self.additions, self.features = longest, additions, features
        self.slack = _rounding(table.size(1), table.dtype) * self.states.norm(dim=1) * longest  # [B]
        if additions is not None and len(additions.value):
            self.slack += _rounding(1, table.dtype) * additions.value.abs().max()
        if features is not None:
            self.slack += _rounding(features.n_terms, table.dtype) * features.largest
        check_finite(self.slack)

    def without_features(self):
        """Returns the same scores without features, and the list of features."""
        scores = TableScores(self.states, self.table, self.longest, self.n_columns, self.additions)
        return scores, [] if self.features is None else self.features.features

    def blocks(self):
        """Yields the first item id and the scores [B, C] of each block; the next block overwrites the buffer."""
        scores = self.table.new_empty(len(self.states), self.n_columns)
        for first in range(1, len(self.table), self.n_columns):
            part = self.table[first : first + self.n_columns]
            torch.mm(self.states, part.T, out=scores[:, : len(part)])
            if self.additions is not None:
                row, item, value = self.additions
                is_here = (item >= first) & (item < first + len(part))
                scores[row[is_here], item[is_here] - first] += value[is_here]
            if self.features is not None:
                items = torch.arange(first, first + len(part), device=part.device)
                scores[:, : len(part)] += self.features.block(items)
            yield first, scores[:, : len(part)]

    def pairs(self, rows, items):
        """Returns the scores of pairs, shape: [P]."""
        n_pairs = max(1, PRODUCTS // self.table.size(1))
        parts = zip(rows.split(n_pairs), items.split(n_pairs))
        scores = torch.cat([self._products(row, item) for row, item in parts])
        if self.additions is not None:
            scores += self.additions.of(rows, items)
        return scores.to(self.table.dtype)

    def _products(self, rows, items):
        """Returns the dot products of pairs plus their features, float64, shape: [P]."""
        products = self.table.index_select(0, items).double().mul_(self.states.index_select(0, rows)).sum(dim=-1)
        return products if self.features is None else products + self.features.pairs(rows, items)


def _rounding(n_terms, dtype):
    """Returns the largest error of a dot product of n_terms terms, relative to the product of the norms.

    Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1: summing n products in any order has an error
    of at most n u / (1 - n u) times the product of the norms. eps is 2 u; the 8 extra terms cover the rounding of this
    bound and of the additions.
    """
    return (n_terms + 8) * torch.finfo(dtype).eps + REDUCED_PRECISION[torch.get_float32_matmul_precision()]


class GivenScores(Scores):
    """Scores computed by the model itself.

    Args:
        scores (Tensor): column 0 is padding and is ignored, shape: [B, n_items].

    Raises:
        ValueError: a score is NaN.
    """

    def __init__(self, scores):
        self.scores = scores
        self.slack = scores.new_zeros(len(scores))
        check_numbers(scores[:, 1:].amax(dim=1))  # amax returns NaN if any value is NaN

    def blocks(self):
        """Yields the first item id and the scores [B, C] of each block of the catalogue."""
        for first in range(1, self.scores.size(1), BLOCK):
            yield first, self.scores[:, first : first + BLOCK]

    def pairs(self, rows, items):
        """Returns the scores of pairs, shape: [P]."""
        return self.scores[rows, items]


class GeneratedScores(Scores):
    """Scores of a model that generates semantic IDs: of the items it finds in the catalogue, and of given candidates.

    Args:
        model (GenerativeRecommender): in evaluation mode.
        memory: the model's encoding of the histories of B users, see `Generative.memory_of`.
    """

    def __init__(self, model, memory):
        self.model, self.memory = model, memory

    @cached_property
    def of_catalogue(self):
        """GivenScores of the catalogue, -inf for items that the search did not find."""
        return GivenScores(self.model.catalogue_scores(self.memory))

    @property
    def slack(self):
        """Zeros, shape: [B]."""
        return self.of_catalogue.slack

    def blocks(self):
        """Same as `GivenScores.blocks`."""
        return self.of_catalogue.blocks()

    def pairs(self, rows, items):
        """Same as `GivenScores.pairs`."""
        return self.of_catalogue.pairs(rows, items)

    def of_candidates(self, items):
        """Returns the scores of each user's candidates, found or not; items [B, C] to scores [B, C].

        Raises:
            ValueError: a score is NaN.
        """
        if self.model.exact_ranking:
            return self.of_catalogue.of_candidates(items)
        scores = self.model.candidate_scores(self.memory, items)
        check_numbers(scores)
        return scores


class PairScores(Scores):
    """Scores of pairs only, by the model's `predict`.

    Args:
        predict (callable): rows and items [P] to scores [P].
    """

    def __init__(self, predict):
        self.predict = predict

    def pairs(self, rows, items):
        """Returns the scores of pairs, shape: [P].

        Raises:
            ValueError: a score is NaN.
        """
        scores = self.predict(rows, items)
        check_numbers(scores)
        return scores


def check_numbers(scores):
    """Raises ValueError if a score is NaN."""
    if torch.isnan(scores).any():
        raise ValueError("the model's scores contain NaN and cannot be ranked: training has diverged")


def check_finite(slack):
    """Raises ValueError if the model's states or item table contain NaN or infinity, which makes `slack` not finite."""
    if not torch.isfinite(slack).all():
        raise ValueError(
            "the model's states or item table contain NaN or infinity and cannot be ranked: training has diverged"
        )

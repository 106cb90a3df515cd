"""recbole_unirep.scoring.scores: what is known of the scores of B users, by blocks of the catalogue or by pairs."""

from functools import cached_property

import torch

BLOCK = 2048  # items that are scored and counted at a time, so that they stay in the processor's cache
PRODUCTS = 65536  # numbers that pairs multiply at a time, for the same reason
# What a matrix product may lose beside float32's rounding, by torch.get_float32_matmul_precision(): TF32, bfloat16.
REDUCED_PRECISION = {"highest": 0.0, "high": 2.0**-9, "medium": 2.0**-6}


def columns_of_block(n_users, scores_at_once):
    """Items of a block, so that the scores of so many users are no more than asked for."""
    return min(BLOCK, scores_at_once // n_users)


class Scores:
    """Scores of B users; a subclass gives `pairs`: rows and items [P] to scores [P]."""

    def of_candidates(self, items):
        """Scores of each user's candidates [B, C], shape: [B, C]."""
        rows = torch.arange(len(items), device=items.device)[:, None].expand_as(items)
        return self.pairs(rows.reshape(-1), items.reshape(-1)).view(items.shape)


class TableScores(Scores):
    """States times the item table.

    The score of a pair is defined as its product in float64 (where each term of float32 numbers is exact), plus what
    `additions` and `features` hold for it, rounded to the table's precision, whatever the shape in which it is
    computed: `pairs` gives it, `blocks` gives it up to `slack`. A matrix product alone does not: its last bits depend
    on shapes, threads and device, so that equal items could differ and a target could beat itself.

    Args:
        states (Tensor): shape: [B, H].
        table (Tensor): shape: [n_items, H].
        longest (Tensor): largest norm of a row of the table, shape: [].
        n_columns (int): items of a block.
        additions (ScoreAdditions or None): added to few scores, every pair once.
        features (ScoreFeatures or None): added to all scores.

    Raises:
        ValueError: a state or the table holds NaN or infinity.
    """

    def __init__(self, states, table, longest, n_columns, additions=None, features=None):
        self.states, self.table, self.n_columns = states.to(table.dtype), table, n_columns
        self.additions, self.features = additions, features
        self.slack = _rounding(table.size(1), table.dtype) * self.states.norm(dim=1) * longest  # [B]
        if additions is not None and len(additions.value):
            self.slack += _rounding(1, table.dtype) * additions.value.abs().max()
        if features is not None:
            self.slack += _rounding(features.n_terms, table.dtype) * features.largest
        check_finite(self.slack)

    def blocks(self):
        """First item id and scores [B, C] of each part of the catalogue; a part is gone when the next one comes."""
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
        """Scores of pairs, shape: [P]."""
        n_pairs = max(1, PRODUCTS // self.table.size(1))
        parts = zip(rows.split(n_pairs), items.split(n_pairs))
        scores = torch.cat([self._products(row, item) for row, item in parts])
        if self.additions is not None:
            scores += self.additions.of(rows, items)
        return scores.to(self.table.dtype)

    def _products(self, rows, items):
        """Products of pairs and their features, float64, shape: [P]."""
        products = self.table.index_select(0, items).double().mul_(self.states.index_select(0, rows)).sum(dim=-1)
        return products if self.features is None else products + self.features.pairs(rows, items)


def _rounding(n_terms, dtype):
    """What the product of so many terms may be off by, in proportion to the product of the norms.

    Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1: n products in any order are off by at most
    n u / (1 - n u) times the product of the norms; eps is 2 u, and 8 covers this line and what is added.
    """
    return (n_terms + 8) * torch.finfo(dtype).eps + REDUCED_PRECISION[torch.get_float32_matmul_precision()]


class GivenScores(Scores):
    """Scores that a model gave.

    Args:
        scores (Tensor): column 0 is padding's and nobody's, shape: [B, n_items].

    Raises:
        ValueError: a score is NaN.
    """

    def __init__(self, scores):
        self.scores = scores
        self.slack = scores.new_zeros(len(scores))
        check_numbers(scores[:, 1:].amax(dim=1))  # the largest of numbers and NaN is NaN

    def blocks(self):
        """First item id and scores [B, C] of each part of the catalogue."""
        for first in range(1, self.scores.size(1), BLOCK):
            yield first, self.scores[:, first : first + BLOCK]

    def pairs(self, rows, items):
        """Scores of pairs, shape: [P]."""
        return self.scores[rows, items]


class GeneratedScores(Scores):
    """Scores of a model that spells out items: of the catalogue those it finds, of candidates any.

    Args:
        model (GenerativeRecommender): in evaluation mode.
        memory: what it remembers of B users.
    """

    def __init__(self, model, memory):
        self.model, self.memory = model, memory

    @cached_property
    def of_catalogue(self):
        """GivenScores of what is found, -inf elsewhere."""
        return GivenScores(self.model.catalogue_scores(self.memory))

    @property
    def slack(self):
        """Zeros, shape: [B]."""
        return self.of_catalogue.slack

    def blocks(self):
        """As GivenScores."""
        return self.of_catalogue.blocks()

    def pairs(self, rows, items):
        """As GivenScores."""
        return self.of_catalogue.pairs(rows, items)

    def of_candidates(self, items):
        """Scores of each user's candidates [B, C], found or not, shape: [B, C].

        Raises:
            ValueError: a score is NaN.
        """
        if self.model.exact_ranking:
            return self.of_catalogue.of_candidates(items)
        scores = self.model.candidate_scores(self.memory, items)
        check_numbers(scores)
        return scores


class PairScores(Scores):
    """Scores of pairs alone, by the model's `predict`.

    Args:
        predict (callable): rows and items [P] to scores [P].
    """

    def __init__(self, predict):
        self.predict = predict

    def pairs(self, rows, items):
        """Scores of pairs, shape: [P].

        Raises:
            ValueError: a score is NaN.
        """
        scores = self.predict(rows, items)
        check_numbers(scores)
        return scores


def check_numbers(scores):
    """Raises ValueError where a score is NaN."""
    if torch.isnan(scores).any():
        raise ValueError("the model's scores hold NaN, so nothing can be ranked: training has diverged")


def check_finite(slack):
    """Raises ValueError where the model's numbers hold NaN or infinity, so that scores could."""
    if not torch.isfinite(slack).all():
        raise ValueError(
            "the model's states or item table hold NaN or infinity, so nothing can be ranked: training has diverged"
        )

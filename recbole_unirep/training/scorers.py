"""recbole_unirep.training.scorers: scores of one batch of users, never more at once than asked for.

Four kinds of model: a causal one is its last state times the item table, a generative one finds some items and is asked
for candidates, any other is asked by its own `full_sort_predict`, and one without it by `predict` on pairs.
"""

from functools import cached_property

import torch
from recbole.data.interaction import Interaction

from recbole_unirep.training.causal import sequence_states

BLOCK = 2048  # items that are scored and counted at a time, so that they stay in the processor's cache
PRODUCTS = 65536  # numbers that pairs multiply at a time, for the same reason
# What a matrix product may lose beside float32's rounding, by torch.get_float32_matmul_precision(): TF32, bfloat16.
REDUCED_PRECISION = {"highest": 0.0, "high": 2.0**-9, "medium": 2.0**-6}


def make_scorer(model, data, *, whole, batch_size, scores_at_once, device):
    """The way to score that a model offers.

    Args:
        model (recbole AbstractRecommender): in evaluation mode.
        data (HeldOut): what is ranked.
        whole (bool): whether the whole catalogue is asked for, or pairs alone.
        batch_size (int): users of one forward.
        scores_at_once (int): the most scores to hold.
        device (torch.device): where the model is.

    Returns:
        callable: row numbers [B], at most its `batch_size`, to TableScores, GeneratedScores, GivenScores or
        PairScores.
    """
    if hasattr(model, "candidate_scores"):
        return _GenerativeScorer(model, data, batch_size, scores_at_once, device)
    states = sequence_states(model)
    if states is not None:
        return _TableScorer(model, states, data, batch_size, scores_at_once, device)
    return _ModelScorer(model, data, whole, batch_size, scores_at_once, device)


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


class _TableScorer:
    """Last state of a causal model, sequences trimmed to the batch's longest.

    Padding stands on the right, where no state up to the last item sees it: RecBole's `full_sort_predict` reads all of
    it and gives the same states up to rounding.
    """

    def __init__(self, model, states, data, batch_size, scores_at_once, device):
        self.states, self.device = states, device
        self.table = model.item_embedding.weight[: len(data.item_tokens)]  # some have rows of special tokens
        self.score_bias = getattr(model, "score_bias", None)
        self.longest = self.table[1:].norm(dim=1).max()
        self.item_seq = data.interactions[model.ITEM_SEQ]
        self.length = data.interactions[model.ITEM_SEQ_LEN]
        self.batch_size = min(batch_size, scores_at_once)
        self.n_columns = min(BLOCK, scores_at_once // self.batch_size)

    def __call__(self, rows):
        length = self.length[rows]
        item_seq = self.item_seq[rows, : int(length.max())].to(self.device)
        last, row = (length - 1).to(self.device), torch.arange(len(rows), device=self.device)
        states = self.states(item_seq)[row, last]  # [B, H]
        added = () if self.score_bias is None else self.score_bias(item_seq, last)
        return TableScores(states, self.table, self.longest, self.n_columns, *added)


class _GenerativeScorer:
    """A generative model's memory of the users."""

    def __init__(self, model, data, batch_size, scores_at_once, device):
        self.model, self.data, self.device = model, data, device
        self.batch_size = max(1, min(batch_size, scores_at_once // len(data.item_tokens)))

    def __call__(self, rows):
        return GeneratedScores(self.model, self.model.memory_of(self.data.interactions[rows].to(self.device)))


class _ModelScorer:
    """The model's own `full_sort_predict`; `predict` on every pair where it has none."""

    def __init__(self, model, data, whole, batch_size, scores_at_once, device):
        self.model, self.data, self.device = model, data, device
        self.n_items = len(data.item_tokens)
        self.pair_batch_size = data.config["pair_batch_size"]
        self.has_full_scores = self._has_full_scores()
        self.is_whole = whole or self.has_full_scores
        at_once = scores_at_once // self.n_items if self.is_whole else scores_at_once
        self.batch_size = max(1, min(batch_size, at_once))

    def __call__(self, rows):
        batch = self.data.interactions[rows]
        if self.has_full_scores:
            return GivenScores(self.model.full_sort_predict(batch.to(self.device)).view(len(rows), -1))
        if not self.is_whole:
            return PairScores(lambda row, items: self._predict(batch, row.cpu(), items.cpu()))
        row, items = (
            side.reshape(-1)
            for side in torch.meshgrid(torch.arange(len(rows)), torch.arange(self.n_items), indexing="ij")
        )
        return GivenScores(self._predict(batch, row, items).view(len(rows), -1))

    def _has_full_scores(self):
        """Whether the model has a `full_sort_predict`: NotImplementedError is RecBole's sign of one that has not."""
        try:
            self.model.full_sort_predict(self.data.interactions[torch.arange(1)].to(self.device))
        except NotImplementedError:
            return False
        return True

    def _predict(self, batch, rows, items):
        """Scores of pairs, made a part at a time: with features they are wide."""
        dataset, scores = self.data.dataset, []
        for row, item in zip(rows.split(self.pair_batch_size), items.split(self.pair_batch_size)):
            part = Interaction({field: batch[field][row] for field in batch})
            part.update(Interaction({dataset.iid_field: item}))
            scores.append(self.model.predict(dataset.join(part).to(self.device)).view(-1))
        return torch.cat(scores)

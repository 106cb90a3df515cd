"""recbole_unirep.scoring.evaluation: ranks of held-out targets, one forward a user.

RecBole repeats a user's sequence for every sampled candidate and fills [users, n_items] tables with -inf (RecBole
issues 1103, 1751, 1537, 1400). Here each user is read once, and what stands above the target is counted, a part of
the catalogue at a time.

Padding is nobody's candidate, as in RecBole, which scores item 0 and sets it to -inf; the rows of special tokens, such
as BERT4Rec's mask, are none in either.
"""

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_unirep import parallel
from recbole_unirep.scoring.scorers import make_scorer
from recbole_unirep.scoring.top_items import in_order, top_items

PROTOCOLS = ("uni99", "full", "full_unseen")


class Ranking(NamedTuple):
    """Where the targets of a split stand under one protocol.

    Attributes:
        ranks (Tensor): 1 is best, equal scores by priority, shape: [n], int64.
        mean_ranks (Tensor): the same, with equal scores sharing their mean rank, shape: [n], float32.
        n_candidates (Tensor): items that were ranked, the target among them, shape: [n], int64.
        items (Tensor): the best candidates, best first, shape: [n, n_top], int64.
    """

    ranks: Tensor
    mean_ranks: Tensor
    n_candidates: Tensor
    items: Tensor


@torch.no_grad()
def rank_targets(model, data, protocols, *, batch_size, scores_at_once, n_top, device):
    """Ranks every target under every protocol.

    A causal model's score is the product of state and item in float64, rounded (see `TableScores`); so with the same
    states the ranks do not depend on the protocols asked for together, on `scores_at_once` or threads, and items with
    equal rows tie. The states themselves are the model's, whose last bits may depend on `batch_size`, threads and
    device. Any other model's score is what its own function gives for a batch.

    Args:
        model (recbole AbstractRecommender): in evaluation mode.
        data (HeldOut): n targets.
        protocols (list[str]): names out of PROTOCOLS.
        batch_size (int): the most users of one forward.
        scores_at_once (int): the most scores to hold; less than the catalogue is taken for a user's whole scores
            where the model gives them at once.
        n_top (int): how many of the best candidates to return.
        device (torch.device): where the model is.

    Returns:
        dict[str, Ranking]: by protocol.

    Raises:
        ValueError: the model's scores hold NaN, or a user has fewer than n_top candidates.
    """
    if not protocols:
        return {}
    whole = any(protocol != "uni99" for protocol in protocols)
    scorer = make_scorer(model, data, whole=whole, batch_size=batch_size, scores_at_once=scores_at_once, device=device)
    rankings = {protocol: _unfilled(len(data), n_top) for protocol in protocols}
    for rows in data.batches(scorer.batch_size)[parallel.rank() :: parallel.world_size()]:
        batch = _Batch(scorer(rows), data, rows, n_top, device)
        for protocol, ranking in rankings.items():
            for of_all, part in zip(ranking, batch.ranking(protocol)):
                of_all[rows] = part.cpu()
    return {protocol: Ranking(*map(parallel.all_sum, ranking)) for protocol, ranking in rankings.items()}


def _unfilled(n, n_top):
    """Zeros, so that the parts of several processes add up to the whole."""
    ranks, n_candidates, items = (torch.zeros(shape, dtype=torch.int64) for shape in (n, n, (n, n_top)))
    return Ranking(ranks, torch.zeros(n), n_candidates, items)


class _Batch:
    """Targets of some rows and the scores that they are ranked by."""

    def __init__(self, scores, data, rows, n_top, device):
        self.scores, self.data, self.rows, self.n_top, self.device = scores, data, rows, n_top, device
        self.priority = data.tie_priority.to(device)
        self.row = torch.arange(len(rows), device=device)
        self.target = data.targets.items[rows].to(device)

    @cached_property
    def target_score(self):
        """Score of each target among the whole catalogue, shape: [B]."""
        return self.scores.pairs(self.row, self.target)

    def ranking(self, protocol):
        """Ranking of the batch's targets."""
        counts, n_candidates, items = getattr(self, f"_{protocol}")()
        above, before, equal = counts.unbind(dim=1)
        return Ranking(1 + above + before, 1 + above + 0.5 * equal, n_candidates, items)

    def _uni99(self):
        sampled = self.data.candidates[self.rows].to(self.device)
        columns = torch.cat([self.target[:, None], sampled], dim=1)  # [B, 100]
        rows, items = self.row[:, None].expand_as(columns).reshape(-1), columns.reshape(-1)
        scores = self.scores.of_candidates(columns)
        n_candidates = self._enough("uni99", torch.full_like(self.row, columns.size(1)))
        top = in_order(scores, columns, self.priority, self.n_top)
        return self._count(rows, items, scores.reshape(-1), scores[:, 0]), n_candidates, top

    def _full(self):
        nothing = self.row[:0]
        n_candidates = self._enough("full", torch.full_like(self.row, len(self.priority) - 1))
        return self._catalogue_counts, n_candidates, self._top(nothing, nothing)

    def _full_unseen(self):
        rows, items = self._earlier()
        seen = self._count(rows, items, self.scores.pairs(rows, items), self.target_score)
        n_candidates = len(self.priority) - 1 - torch.bincount(rows, minlength=len(self.row))
        self._enough("full_unseen", n_candidates)
        return self._catalogue_counts - seen, n_candidates, self._top(rows, items)

    def _top(self, *hidden):
        if not self.n_top:
            return self.target[:, None][:, :0]
        return top_items(self.scores, self.priority, self.n_top, hidden)

    def _enough(self, protocol, n_candidates):
        """The numbers of candidates, none of them below n_top."""
        if n_candidates.min() < self.n_top:
            user = self.data.user_tokens[self.data.targets.users[self.rows[n_candidates.argmin().cpu()]]]
            raise ValueError(
                f"topk asks for the best {self.n_top} items, protocol {protocol} has {n_candidates.min()} for user "
                f"{user}: lower topk, or leave out the metrics that look at items"
            )
        return n_candidates

    def _earlier(self):
        """Rows and items of the users' earlier interactions, an item once a user, targets left out."""
        rows, items = self.data.earlier_of(self.rows)
        keys = torch.unique(rows.to(self.device) * len(self.priority) + items.to(self.device))
        rows, items = keys // len(self.priority), keys % len(self.priority)
        is_other = items != self.target[rows]
        return rows[is_other], items[is_other]

    @cached_property
    def _catalogue_counts(self):
        """As `_count`, over all items."""
        low, high = ((self.target_score + sign * self.scores.slack)[:, None] for sign in (-1, 1))
        counts = self.row.new_zeros(len(self.row), 3)
        for first, block in self.scores.blocks():
            above = (block > high).sum(dim=1, dtype=torch.int32)
            near = (block >= low).sum(dim=1, dtype=torch.int32) - above
            has_target = (self.target >= first) & (self.target < first + block.size(1))
            counts[:, 0] += above
            unsure = (near > has_target).nonzero()[:, 0]  # an item beside the target is as good, up to the slack
            if len(unsure):
                part = block[unsure]
                row, column = ((part >= low[unsure]) & (part <= high[unsure])).nonzero(as_tuple=True)
                rows, items = unsure[row], column + first
                counts += self._count(rows, items, self.scores.pairs(rows, items), self.target_score)
        return counts

    def _count(self, rows, items, scores, target_score):
        """How many of these pairs beat the target, stand beside it and before it, and beside it, shape: [B, 3]."""
        target, target_score = self.target[rows], target_score[rows]
        is_equal = (scores == target_score) & (items != target)
        is_before = is_equal & (self.priority[items] < self.priority[target])
        counts = torch.stack([scores > target_score, is_before, is_equal], dim=1).long()
        return self.row.new_zeros(len(self.row), 3).index_add_(0, rows, counts)

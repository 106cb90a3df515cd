"""recbole_unirep.scoring.evaluation: ranks of held-out targets, with one forward pass per user.

RecBole repeats a user's sequence for every sampled candidate and fills [users, n_items] tables with -inf (RecBole
issues 1103, 1751, 1537, 1400). Here the model reads each user's sequence once. The items that score above the target
are counted block by block over the catalogue.

Padding is never a candidate: RecBole scores item 0 and sets it to -inf, this module does not score it. Rows of special
tokens, such as BERT4Rec's mask, are not candidates in either.
"""

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_unirep import parallel
from recbole_unirep.scoring.scorers import make_scorer
from recbole_unirep.scoring.scores import n_above
from recbole_unirep.scoring.top_items import in_order, top_items

PROTOCOLS = ("uni99", "full", "full_unseen")


class Ranking(NamedTuple):
    """Ranks of a split's targets under one protocol.

    Attributes:
        ranks (Tensor): 1 is best, ties are broken by priority, shape: [n], int64.
        mean_ranks (Tensor): ranks in which tied items share their mean rank, shape: [n], float32.
        n_candidates (Tensor): number of ranked items, target included, shape: [n], int64.
        items (Tensor): the best candidates, best first, shape: [n, n_top], int64.
    """

    ranks: Tensor
    mean_ranks: Tensor
    n_candidates: Tensor
    items: Tensor


@torch.no_grad()
def rank_targets(model, data, protocols, *, batch_size, scores_at_once, n_top, device):
    """Ranks every target under every protocol.

    The score of a causal model is the dot product of state and item in float64, rounded (see `TableScores`). For the
    same states the ranks therefore do not depend on `scores_at_once`, on the number of threads or on which other
    protocols are computed in the same call. Items with equal rows tie. The states come from the model, so their last
    bits may depend on `batch_size`, threads and device. The score of any other model is what the model's function
    returns for a batch.

    Args:
        model (recbole AbstractRecommender): in evaluation mode.
        data (HeldOut): n targets.
        protocols (list[str]): names out of PROTOCOLS.
        batch_size (int): maximum number of users per forward pass.
        scores_at_once (int): maximum number of scores held in memory. If it is smaller than the catalogue, a model that
            scores the whole catalogue at once still scores one user at a time.
        n_top (int): number of best candidates to return.
        device (torch.device): device of the model.

    Returns:
        dict[str, Ranking]: one Ranking per protocol.

    Raises:
        ValueError: the model's scores contain NaN, or a user has fewer than n_top candidates.
    """
    if not protocols:
        return {}
    whole = any(protocol != "uni99" for protocol in protocols)
    scorer = make_scorer(model, data, whole=whole, batch_size=batch_size, scores_at_once=scores_at_once, device=device)
    rankings = {protocol: _zero_ranking(len(data), n_top) for protocol in protocols}
    for rows in data.batches(scorer.batch_size)[parallel.rank() :: parallel.world_size()]:
        batch = _Batch(scorer(rows), data, rows, n_top, device)
        for protocol, ranking in rankings.items():
            for whole_split, part in zip(ranking, batch.ranking(protocol)):
                whole_split[rows] = part.cpu()
    return {protocol: Ranking(*map(parallel.all_sum, ranking)) for protocol, ranking in rankings.items()}


def _zero_ranking(n, n_top):
    """Returns a Ranking of zeros. Each process fills some rows; the sum over processes has all."""
    ranks, n_candidates, items = (torch.zeros(shape, dtype=torch.int64) for shape in (n, n, (n, n_top)))
    return Ranking(ranks, torch.zeros(n), n_candidates, items)


class _Batch:
    """Targets of some rows and the scores that rank them."""

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
        n_candidates = self._checked("uni99", torch.full_like(self.row, columns.size(1)))
        top = in_order(scores, columns, self.priority, self.n_top)
        return self._count(rows, items, scores.reshape(-1), scores[:, 0]), n_candidates, top

    def _full(self):
        empty = self.row[:0]
        n_candidates = self._checked("full", torch.full_like(self.row, len(self.priority) - 1))
        return self._catalogue_counts, n_candidates, self._top(empty, empty)

    def _full_unseen(self):
        rows, items = self._seen()
        seen = self._count(rows, items, self.scores.pairs(rows, items), self.target_score)
        n_candidates = len(self.priority) - 1 - torch.bincount(rows, minlength=len(self.row))
        self._checked("full_unseen", n_candidates)
        return self._catalogue_counts - seen, n_candidates, self._top(rows, items)

    def _top(self, *hidden):
        if not self.n_top:
            return self.target[:, None][:, :0]
        return top_items(self.scores, self.priority, self.n_top, hidden)

    def _checked(self, protocol, n_candidates):
        """Returns the numbers of candidates; raises ValueError if a user has fewer than n_top."""
        if n_candidates.min() < self.n_top:
            user = self.data.user_tokens[self.data.targets.users[self.rows[n_candidates.argmin().cpu()]]]
            raise ValueError(
                f"topk needs the best {self.n_top} items, protocol {protocol} has {n_candidates.min()} candidates for "
                f"user {user}: lower topk, or leave out the metrics that use item lists"
            )
        return n_candidates

    def _seen(self):
        """Returns rows and items of the seen items, each item once per user, targets left out."""
        rows, items = self.data.earlier_of(self.rows)
        keys = torch.unique(rows.to(self.device) * len(self.priority) + items.to(self.device))
        rows, items = keys // len(self.priority), keys % len(self.priority)
        is_other = items != self.target[rows]
        return rows[is_other], items[is_other]

    @cached_property
    def _catalogue_counts(self):
        """Same as `_count`, over the whole catalogue."""
        low, high = (self.target_score + sign * self.scores.slack for sign in (-1, 1))
        counts = self.row.new_zeros(len(self.row), 3)
        for first, block in self.scores.blocks():
            above = n_above(block, high)
            near = n_above(block, low, torch.ge) - above
            has_target = (self.target >= first) & (self.target < first + block.size(1))
            counts[:, 0] += above
            unsure = (near > has_target).nonzero()[:, 0]  # another item ties with the target, up to the slack
            if len(unsure):
                part = block[unsure]
                row, column = ((part >= low[unsure, None]) & (part <= high[unsure, None])).nonzero(as_tuple=True)
                rows, items = unsure[row], column + first
                counts += self._count(rows, items, self.scores.pairs(rows, items), self.target_score)
        return counts

    def _count(self, rows, items, scores, target_score):
        """Counts the given pairs per row, shape: [B, 3].

        The columns are: scores above the target's, ties with the target that priority puts first, all ties.
        """
        target, target_score = self.target[rows], target_score[rows]
        is_equal = (scores == target_score) & (items != target)
        is_before = is_equal & (self.priority[items] < self.priority[target])
        counts = torch.stack([scores > target_score, is_before, is_equal], dim=1).long()
        return self.row.new_zeros(len(self.row), 3).index_add_(0, rows, counts)

"""recbole_unirep.serving.ranking: the best items of a batch of histories and their scores, as evaluation ranks them."""

import torch

from recbole_unirep.training.scores import GeneratedScores
from recbole_unirep.training.top_items import MARGIN, Pool, in_order, top_items, top_of_pool

COLUMNS = 128  # candidates of a generative model whose likelihoods are computed at a time


def best_items(scores, n_rows, priority, n_top, hidden, is_candidate, index):
    """The best items of each row.

    Args:
        scores (TableScores, GivenScores or GeneratedScores): B rows.
        n_rows (int): B.
        priority (Tensor): place of each item id among equals, shape: [n_items].
        n_top (int): how many, at most the candidates.
        hidden (tuple[Tensor, Tensor]): rows and items that are no candidates, shape: [P] each.
        is_candidate (Tensor or None): of each item id, shape: [n_items], bool; None for the whole catalogue. A
            generative model is asked for the likelihood of each of them, found or not.
        index (ItemIndex or None): where items are looked for; scores are TableScores then.

    Returns:
        tuple[Tensor, Tensor]: item ids, best first, shape: [B, n_top], int64; their scores, -inf where a row has no
        more candidates or its model found no more, shape: [B, n_top].
    """
    if is_candidate is not None and isinstance(scores, GeneratedScores):
        return _of_candidates(scores, n_rows, priority, n_top, hidden, is_candidate)
    if index is None:
        items = top_items(scores, priority, n_top, hidden, is_candidate)
    else:
        pool = _found(index, scores.states, n_top + MARGIN, hidden)
        items = top_of_pool(scores, pool, priority, n_top, hidden)
    rows = torch.arange(len(items), device=items.device)[:, None].expand_as(items)
    values = scores.pairs(rows.reshape(-1), items.reshape(-1)).view(items.shape)
    return items, values.masked_fill(items == 0, -torch.inf)


def _of_candidates(scores, n_rows, priority, n_top, hidden, is_candidate):
    """As `best_items`, by the scores of candidates."""
    candidates = is_candidate.nonzero()[:, 0]
    parts = [scores.of_candidates(part.expand(n_rows, -1)) for part in candidates.split(COLUMNS)]
    values = torch.cat(parts, dim=1)  # [B, C]
    row, item = hidden
    place = torch.searchsorted(candidates, item).clamp(max=len(candidates) - 1)
    is_one = candidates[place] == item
    values = values.index_put((row[is_one], place[is_one]), values.new_tensor(-torch.inf))
    items = in_order(values, candidates.expand(n_rows, -1), priority, n_top)
    return items, values.gather(1, torch.searchsorted(candidates, items))


def _found(index, states, size, hidden):
    """Pool of an index: as many items more as the longest history hides."""
    rows, items = hidden
    n_items = len(index)
    n_hidden = int(torch.bincount(rows, minlength=1).max()) if len(rows) else 0
    best, found = index.search(states, min(size + n_hidden, n_items))
    bound = best[:, -1] if index.is_exact else torch.full_like(best[:, -1], -torch.inf)
    keys = torch.arange(len(found), device=found.device)[:, None] * (n_items + 1) + found
    is_hidden = torch.isin(keys, rows * (n_items + 1) + items)
    return Pool(best.masked_fill(is_hidden, -torch.inf), found, bound)

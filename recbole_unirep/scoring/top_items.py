"""recbole_unirep.scoring.top_items: the best items of each user, in the order in which targets are ranked."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.scoring.scores import GeneratedScores

COLUMNS = 128  # candidates of a generative model whose likelihoods are computed at a time
MARGIN = 32  # items beyond the ones asked for that are looked at, so that rounding can't hide one of them


def in_order(scores, items, priority, n_top):
    """The first items by falling score, equal scores by priority.

    Args:
        scores (Tensor): shape: [..., C].
        items (Tensor): item ids, shape: [..., C], int64.
        priority (Tensor): place of each item id among equals, shape: [n_items].
        n_top (int): at most C.

    Returns:
        Tensor: item ids, shape: [..., n_top], int64.
    """
    place = priority[items].argsort(dim=-1)
    scores, items = scores.gather(-1, place), items.gather(-1, place)
    return items.gather(-1, scores.argsort(dim=-1, descending=True, stable=True)[..., :n_top])


class Pool(NamedTuple):
    """Items of each row among which its best ones are looked for.

    Attributes:
        best (Tensor): scores up to their slack, -inf where an item is no candidate, shape: [B, P].
        items (Tensor): item ids, shape: [B, P], int64.
        bound (Tensor): no candidate outside has more than this and its slack; -inf to look no further, shape: [B].
    """

    best: Tensor
    items: Tensor
    bound: Tensor


def top_items(scores, priority, n_top, hidden, is_candidate=None):
    """The best items of the catalogue for each row.

    Args:
        scores (TableScores or GivenScores): B rows.
        priority (Tensor): place of each item id among equals, shape: [n_items].
        n_top (int): how many, at most the candidates.
        hidden (tuple[Tensor, Tensor]): rows and items that are no candidates, shape: [P] each.
        is_candidate (Tensor or None): of each item id, shape: [n_items], bool; None for the whole catalogue.

    Returns:
        Tensor: item ids, best first, 0 where a row has no more candidates, shape: [B, n_top], int64.
    """
    pool = _pool(scores, n_top + MARGIN, hidden, is_candidate)
    return top_of_pool(scores, pool, priority, n_top, hidden, is_candidate)


def top_of_pool(scores, pool, priority, n_top, hidden, is_candidate=None):
    """The best items of each row by exact scores, looked for in a pool first; arguments as in `top_items`.

    Args:
        pool (Pool): of the rows; where an item outside of it may be as good, the whole catalogue is looked at.
    """
    best, items, bound = pool
    rows = torch.arange(len(items), device=items.device)[:, None].expand_as(items)
    exact = scores.pairs(rows.reshape(-1), items.reshape(-1)).view(items.shape)
    exact = exact.masked_fill(best == -torch.inf, -torch.inf)  # the hidden ones, where candidates are few
    top = in_order(exact, items, priority, n_top)
    last = exact.sort(dim=1, descending=True).values[:, n_top - 1]
    for row in (last <= bound + scores.slack).nonzero()[:, 0].tolist():  # an item outside may be as good
        top[row] = _exact_top(scores, row, priority, n_top, hidden, is_candidate)
    return top


def _pool(scores, size, hidden, is_candidate):
    """Scores up to their slack and items of each row's best, block by block, in falling order."""
    best = items = None
    for first, block in scores.blocks():
        inside = (hidden[1] >= first) & (hidden[1] < first + block.size(1))
        if inside.any():
            block = block.index_put((hidden[0][inside], hidden[1][inside] - first), block.new_tensor(-torch.inf))
        if is_candidate is not None:
            block = block.masked_fill(~is_candidate[first : first + block.size(1)], -torch.inf)
        if best is None or best.size(1) < size:
            found, column = block.topk(min(size, block.size(1)), dim=1)
            if best is None:
                best, items = found, column + first
                continue
            best, place = torch.cat([best, found], dim=1).topk(min(size, best.size(1) + found.size(1)), dim=1)
            items = torch.cat([items, column + first], dim=1).gather(1, place)
            continue
        n_better = (block > best[:, -1:]).sum(dim=1, dtype=torch.int32)
        rows = n_better.nonzero()[:, 0]
        if len(rows):  # after some blocks few rows have one, and few of them several
            found, column = block[rows].topk(min(size, int(n_better.max())), dim=1)
            best[rows], place = torch.cat([best[rows], found], dim=1).topk(size, dim=1)
            items[rows] = torch.cat([items[rows], column + first], dim=1).gather(1, place)
    return Pool(best, items, best[:, -1])


def _exact_top(scores, row, priority, n_top, hidden, is_candidate):
    """The best items of one row, by the exact scores of the whole catalogue, 0 behind the last, shape: [n_top]."""
    is_left = torch.ones(len(priority), dtype=torch.bool, device=priority.device)
    is_left[0] = False
    is_left[hidden[1][hidden[0] == row]] = False
    items = (is_left if is_candidate is None else is_left & is_candidate).nonzero()[:, 0]
    top = in_order(scores.pairs(torch.full_like(items, row), items), items, priority, n_top)
    return functional.pad(top, (0, n_top - len(top)))


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

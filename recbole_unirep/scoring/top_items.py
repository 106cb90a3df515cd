"""recbole_unirep.scoring.top_items: the best items of each user, in the same order that ranks targets."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.scoring.scores import GeneratedScores

COLUMNS = 128  # candidates per batch when a generative model computes likelihoods
MARGIN = 32  # extra items in the pool, so that rounding cannot hide one of the best n_top


def in_order(scores, items, priority, n_top):
    """Returns the first n_top items by descending score, ties by priority.

    Args:
        scores (Tensor): shape: [..., C].
        items (Tensor): item ids, shape: [..., C], int64.
        priority (Tensor): order of each item id among ties, shape: [n_items].
        n_top (int): at most C.

    Returns:
        Tensor: item ids, shape: [..., n_top], int64.
    """
    place = priority[items].argsort(dim=-1)
    scores, items = scores.gather(-1, place), items.gather(-1, place)
    return items.gather(-1, scores.argsort(dim=-1, descending=True, stable=True)[..., :n_top])


class Pool(NamedTuple):
    """Preselected items of each row, from which its best items are chosen.

    Attributes:
        best (Tensor): scores up to their slack, -inf if an item is not a candidate, shape: [B, P].
        items (Tensor): item ids, shape: [B, P], int64.
        bound (Tensor): upper bound of the scores of candidates outside the pool, up to slack; -inf if the items outside
            are to be ignored, shape: [B].
    """

    best: Tensor
    items: Tensor
    bound: Tensor


def top_items(scores, priority, n_top, hidden, is_candidate=None):
    """Returns the best items of the catalogue for each row.

    Args:
        scores (TableScores or GivenScores): B rows.
        priority (Tensor): order of each item id among ties, shape: [n_items].
        n_top (int): number of items per row, at most the number of candidates.
        hidden (tuple[Tensor, Tensor]): rows and items of pairs that are not candidates, shape: [P] each.
        is_candidate (Tensor or None): True for item ids that are candidates, shape: [n_items], bool; None for the whole
            catalogue.

    Returns:
        Tensor: item ids, best first, 0 if a row has no more candidates, shape: [B, n_top], int64.
    """
    pool = _pool(scores, n_top + MARGIN, hidden, is_candidate)
    return top_of_pool(scores, pool, priority, n_top, hidden, is_candidate)


def top_of_pool(scores, pool, priority, n_top, hidden, is_candidate=None):
    """Returns the best items of each row by exact scores, searching a pool first; other arguments as in `top_items`.

    Args:
        pool (Pool): of the same rows. If an item outside the pool may score as high, the whole catalogue is searched.
    """
    best, items, bound = pool
    rows = torch.arange(len(items), device=items.device)[:, None].expand_as(items)
    exact = scores.pairs(rows.reshape(-1), items.reshape(-1)).view(items.shape)
    exact = exact.masked_fill(best == -torch.inf, -torch.inf)  # hidden items, in the pool if candidates are few
    top = in_order(exact, items, priority, n_top)
    last = exact.sort(dim=1, descending=True).values[:, n_top - 1]
    for row in (last <= bound + scores.slack).nonzero()[:, 0].tolist():  # an item outside may score as high
        top[row] = _exact_top(scores, row, priority, n_top, hidden, is_candidate)
    return top


def _pool(scores, size, hidden, is_candidate):
    """Returns the Pool of each row's `size` best items by block scores, in descending order."""
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
        if len(rows):  # after some blocks only few rows find better items, and few of those find several
            found, column = block[rows].topk(min(size, int(n_better.max())), dim=1)
            best[rows], place = torch.cat([best[rows], found], dim=1).topk(size, dim=1)
            items[rows] = torch.cat([items[rows], column + first], dim=1).gather(1, place)
    return Pool(best, items, best[:, -1])


def _exact_top(scores, row, priority, n_top, hidden, is_candidate):
    """Returns one row's best items by exact scores of the whole catalogue, padded with 0, shape: [n_top]."""
    is_left = torch.ones(len(priority), dtype=torch.bool, device=priority.device)
    is_left[0] = False
    is_left[hidden[1][hidden[0] == row]] = False
    items = (is_left if is_candidate is None else is_left & is_candidate).nonzero()[:, 0]
    top = in_order(scores.pairs(torch.full_like(items, row), items), items, priority, n_top)
    return functional.pad(top, (0, n_top - len(top)))


def best_items(scores, n_rows, priority, n_top, hidden, is_candidate, index):
    """Returns the best items of each row and their scores.

    Args:
        scores (TableScores, GivenScores or GeneratedScores): B rows.
        n_rows (int): B.
        priority (Tensor): order of each item id among ties, shape: [n_items].
        n_top (int): number of items per row, at most the number of candidates.
        hidden (tuple[Tensor, Tensor]): rows and items of pairs that are not candidates, shape: [P] each.
        is_candidate (Tensor or None): True for item ids that are candidates, shape: [n_items], bool; None for the whole
            catalogue. A generative model computes the likelihood of each candidate, found by its search or not.
        index (ItemIndex or None): index to search; requires TableScores.

    Returns:
        tuple[Tensor, Tensor]: item ids, best first, shape: [B, n_top], int64; their scores, -inf if a row has no more
        candidates or the model found no more items, shape: [B, n_top].
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
    """Same as `best_items`, by the scores of all candidates."""
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
    """Returns the Pool that an index finds. It is larger by the number of items that the longest history hides."""
    rows, items = hidden
    n_items = len(index)
    n_hidden = int(torch.bincount(rows, minlength=1).max()) if len(rows) else 0
    best, found = index.search(states, min(size + n_hidden, n_items))
    bound = best[:, -1] if index.is_exact else torch.full_like(best[:, -1], -torch.inf)
    keys = torch.arange(len(found), device=found.device)[:, None] * (n_items + 1) + found
    is_hidden = torch.isin(keys, rows * (n_items + 1) + items)
    return Pool(best.masked_fill(is_hidden, -torch.inf), found, bound)

"""recbole_unirep.training.top_items: the best items of each user, in the order in which targets are ranked."""

import torch

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


def top_items(scores, priority, n_top, hidden):
    """The best items of the catalogue for each row.

    Args:
        scores (TableScores or GivenScores): B rows.
        priority (Tensor): place of each item id among equals, shape: [n_items].
        n_top (int): how many; every row has at least as many candidates.
        hidden (tuple[Tensor, Tensor]): rows and items that are no candidates, shape: [P] each.

    Returns:
        Tensor: item ids, best first, shape: [B, n_top], int64.
    """
    best, items = _pool(scores, n_top + MARGIN, hidden)  # [B, n_top + MARGIN], or as many as there are
    rows = torch.arange(len(items), device=items.device)[:, None].expand_as(items)
    exact = scores.pairs(rows.reshape(-1), items.reshape(-1)).view(items.shape)
    exact = exact.masked_fill(best == -torch.inf, -torch.inf)  # the hidden ones, where candidates are few
    top = in_order(exact, items, priority, n_top)
    last = exact.sort(dim=1, descending=True).values[:, n_top - 1]
    for row in (last <= best[:, -1] + scores.slack).nonzero()[:, 0].tolist():  # an item outside may be as good
        top[row] = _exact_top(scores, row, priority, n_top, hidden)
    return top


def _pool(scores, size, hidden):
    """Scores up to their slack and items of each row's best, block by block, in falling order."""
    best = items = None
    for first, block in scores.blocks():
        inside = (hidden[1] >= first) & (hidden[1] < first + block.size(1))
        if inside.any():
            block = block.index_put((hidden[0][inside], hidden[1][inside] - first), block.new_tensor(-torch.inf))
        found, column = block.topk(min(size, block.size(1)), dim=1)
        if best is None:
            best, items = found, column + first
            continue
        best, place = torch.cat([best, found], dim=1).topk(min(size, best.size(1) + found.size(1)), dim=1)
        items = torch.cat([items, column + first], dim=1).gather(1, place)
    return best, items


def _exact_top(scores, row, priority, n_top, hidden):
    """The best items of one row, by the exact scores of the whole catalogue, shape: [n_top]."""
    is_candidate = torch.ones(len(priority), dtype=torch.bool, device=priority.device)
    is_candidate[0] = False
    is_candidate[hidden[1][hidden[0] == row]] = False
    items = is_candidate.nonzero()[:, 0]
    return in_order(scores.pairs(torch.full_like(items, row), items), items, priority, n_top)

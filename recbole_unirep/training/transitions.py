"""recbole_unirep.training.transitions: learned weights of how often an item has followed the last ones.

An ID embedding of few numbers can't remember which of many similar items followed which. Counts of training can: the
followers of a sequence's last items gain score in proportion, one learned weight a place. What a row itself counts
after a place is taken out again while it is trained, so that a weight learns what is known before the next item is, as
when users are ranked.

Reference:
    Rendle et al., "Factorizing Personalized Markov Chains for Next-Basket Recommendation", WWW 2010, learns transitions
        as factors; these are the counts.
"""

import torch

from recbole_unirep.training.score_additions import ScoreAdditions


def transition_additions(weights, transitions, window, rows, row, place):
    """What items gain as followers of the last ones.

    Args:
        weights (Tensor): of the last item, the one before it, ..., shape: [W].
        transitions (ItemTransitions): followers of every item in training.
        window (int): the largest distance that was counted.
        rows (Tensor): item ids, 0 pads on the right; items after a place are the row's own next ones, whose counts are
            taken out; shape: [B, L], int64.
        row (Tensor): row of each position, shape: [P], int64.
        place (Tensor): its last place, shape: [P], int64.

    Returns:
        ScoreAdditions: of P positions.
    """
    lag = torch.arange(len(weights), device=rows.device)
    last = _items(rows, row, place[:, None] - lag)  # [P, W], 0 where there is none
    start = transitions.offsets[last]
    size = (transitions.offsets[last + 1] - start).reshape(-1)  # [P * W]
    pair = torch.repeat_interleave(size)  # [K], in 0..P * W - 1
    at = start.reshape(-1)[pair] + torch.arange(len(pair), device=rows.device) - (size.cumsum(0) - size)[pair]
    counted = ScoreAdditions(
        pair // len(weights), transitions.items[at], transitions.values[at] * weights[pair % len(weights)]
    )
    return ScoreAdditions.joined([counted, *_own(weights, transitions.scale, window, last, rows, row, place)])


def _own(weights, scale, window, last, rows, row, place):
    """What the rows themselves count after their places: minus the share of each pair that starts at a last item."""
    is_it = (rows[row][:, None] == last[..., None]) & (last > 0)[..., None]  # [P, W, L]
    position, lag, at = is_it.nonzero(as_tuple=True)
    share = -weights[lag] * scale[last[position, lag]]
    for step in range(1, window + 1):
        following = _items(rows, row[position], at + step)
        is_ahead = ((following > 0) & (at + step > place[position])).nonzero()[:, 0]
        yield ScoreAdditions(position[is_ahead], following[is_ahead], share[is_ahead] / step)


def _items(rows, row, place):
    """Items of rows [P] at places [P] or [P, W], 0 where a row has none."""
    is_there = (place >= 0) & (place < rows.size(1))
    return rows[row.view(-1, *[1] * (place.dim() - 1)), place.clamp(0, rows.size(1) - 1)] * is_there

"""recbole_unirep.scoring.score_additions: learned numbers that some pairs of position and item add to their scores.

A state meets every item by a product. What is known of a few pairs is added to the scores of these pairs:

Repeats: one learned number for every item that a sequence holds. It learns how often users take an item again. Where
nobody ever does it falls far below zero, so that neither the table nor the states have to push these items away.

Transitions: an ID embedding of a few numbers can't remember which of many similar items followed which. Counts of the
training interactions can: the followers of a sequence's last items gain score in proportion, with one learned weight
per place. What a row itself counts after a place is taken out again while it is trained, so that a weight learns from
what is known before the next item, as when users are ranked.

Reference:
    Anderson et al., "The Dynamics of Repeat Consumption", WWW 2014.
    Ren et al., "RepeatNet: A Repeat Aware Neural Recommendation Machine for Session-Based Recommendation", AAAI 2019,
        which learns a whole decoder for repeats.
    Rendle et al., "Factorizing Personalized Markov Chains for Next-Basket Recommendation", WWW 2010, learns
        transitions as factors; these are the counts.
"""

from typing import NamedTuple

import torch
from torch import Tensor

ITEMS = 2**32  # more than there are item ids: a pair of position and item is one number


class ScoreAdditions(NamedTuple):
    """Pairs of position and item, and what each adds; a pair may be there several times, and adds the sum.

    Attributes:
        position (Tensor): shape: [K], int64.
        item (Tensor): item ids, shape: [K], int64.
        value (Tensor): may carry a gradient, shape: [K].
    """

    position: Tensor
    item: Tensor
    value: Tensor

    @classmethod
    def joined(cls, parts):
        """All pairs of several."""
        return cls(*(torch.cat(part) for part in zip(*parts)))

    def summed(self):
        """Every pair once, in the order of positions, then items."""
        keys, place = torch.unique(self._keys(self.position, self.item), return_inverse=True)
        value = self.value.new_zeros(len(keys)).index_add(0, place, self.value)
        return ScoreAdditions(keys // ITEMS, keys % ITEMS, value)

    def of(self, position, item):
        """What pairs add, of additions that are `summed`; [N], int64 each, to [N]."""
        if not len(self.value):
            return self.value.new_zeros(len(item))
        keys, asked = self._keys(self.position, self.item), self._keys(position, item)
        place = torch.searchsorted(keys, asked).clamp(max=len(keys) - 1)
        return self.value[place] * (keys[place] == asked)

    def among(self, targets, scored):
        """Of P positions' additions those that a softmax meets.

        Args:
            targets (Tensor): item of each position, shape: [P], int64.
            scored (Tensor): the scored items, ascending, shape: [N], int64.

        Returns:
            SoftmaxAdditions: of P positions.
        """
        is_own = self.item == targets[self.position]
        own = self.value.new_zeros(len(targets)).index_add(0, self.position[is_own], self.value[is_own])
        column = place_among(self.item, scored)
        is_scored = (column >= 0).nonzero()[:, 0]
        order = is_scored[self.position[is_scored].argsort(stable=True)]
        return SoftmaxAdditions(own, self.value[order], self.position[order], column[order])

    @staticmethod
    def _keys(position, item):
        return position * ITEMS + item


class SoftmaxAdditions(NamedTuple):
    """What is added to the scores of a softmax.

    Attributes:
        own (Tensor): to a position's score of its own item, shape: [P].
        value (Tensor): to a score of a position, shape: [K].
        position (Tensor): ascending, shape: [K], int64.
        column (Tensor): place of the item among the scored ones, shape: [K], int64.
    """

    own: Tensor
    value: Tensor
    position: Tensor
    column: Tensor


def place_among(items, scored):
    """Place of each item in an ascending list, -1 where it is not in it."""
    place = torch.searchsorted(scored, items).clamp(max=len(scored) - 1)
    return torch.where(scored[place] == items, place, -1)


def repeats(bias, inputs, row, place):
    """The number, for items that stand in a row up to a place.

    Args:
        bias (Tensor): the number, shape: [].
        inputs (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
        row (Tensor): row of each position, shape: [P], int64.
        place (Tensor): its last place, shape: [P], int64.

    Returns:
        ScoreAdditions: of P positions, each item once a position.
    """
    is_earlier = torch.ones(inputs.size(1), inputs.size(1), dtype=torch.bool, device=inputs.device).tril(-1)
    is_again = ((inputs[:, :, None] == inputs[:, None, :]) & is_earlier).any(dim=2)  # [B, L]
    is_read = ((inputs > 0) & ~is_again)[row] & (torch.arange(inputs.size(1), device=inputs.device) <= place[:, None])
    position, at = is_read.nonzero(as_tuple=True)
    return ScoreAdditions(position, inputs[row[position], at], bias.expand(len(position)))


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

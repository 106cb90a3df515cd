"""recbole_unirep.scoring.score_additions: learned biases that some (position, item) pairs add to their scores.

The base score of every item is its dot product with the state. Two biases are added for a few pairs:

Repeats: one learned number for every item that is already in the sequence. It learns how often users interact with an
item again. If they never do, it falls far below zero, so neither the item table nor the states have to push these items
away.

Transitions: a small ID embedding cannot store which of many similar items followed which; counts of the training
interactions can. The successors of a sequence's last items gain score in proportion to these counts, with one learned
weight per lag. During training, the counts that a row's own later items contribute are subtracted. A weight thus learns
only from what is known before the next item, as at ranking time.

Reference:
    Anderson et al., "The Dynamics of Repeat Consumption", WWW 2014.
    Ren et al., "RepeatNet: A Repeat Aware Neural Recommendation Machine for Session-Based Recommendation", AAAI 2019,
        which learns a whole decoder for repeats instead of one number.
    Rendle et al., "Factorizing Personalized Markov Chains for Next-Basket Recommendation", WWW 2010, learns
        transitions as factors; here they are the counts themselves.
"""

from typing import NamedTuple

import torch
from torch import Tensor

ITEMS = 2**32  # more than the number of item ids: one integer encodes a (position, item) pair


class ScoreAdditions(NamedTuple):
    """Values added to the scores of (position, item) pairs; the values of a repeated pair add up.

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
        """Concatenates the pairs of several ScoreAdditions."""
        return cls(*(torch.cat(part) for part in zip(*parts)))

    def summed(self):
        """Merges repeated pairs; the result is sorted by position, then item."""
        keys, place = torch.unique(self._keys(self.position, self.item), return_inverse=True)
        value = self.value.new_zeros(len(keys)).index_add(0, place, self.value)
        return ScoreAdditions(keys // ITEMS, keys % ITEMS, value)

    def of(self, position, item):
        """Returns the values of the given pairs, 0 if absent; needs `summed` additions; [N], int64 each, to [N]."""
        if not len(self.value):
            return self.value.new_zeros(len(item))
        keys, wanted = self._keys(self.position, self.item), self._keys(position, item)
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        return self.value[place] * (keys[place] == wanted)

    @staticmethod
    def _keys(position, item):
        return position * ITEMS + item


class SoftmaxAdditions(NamedTuple):
    """Values added to the scores of a softmax.

    Attributes:
        own (Tensor): added to each position's score of its target, shape: [P].
        parts (list of SoftmaxPart): added to the scores of (position, column) pairs; the values of a repeated pair add
            up.
    """

    own: Tensor
    parts: list

    @classmethod
    def among(cls, additions, targets, scored):
        """Selects the additions that a softmax over the scored items needs.

        Args:
            additions (list of ScoreAdditions): the positions of each must ascend.
            targets (Tensor): target item of each position, shape: [P], int64.
            scored (Tensor): item ids in the softmax, ascending, shape: [N], int64.

        Returns:
            SoftmaxAdditions: for P positions.
        """
        own, parts, columns = 0, [], columns_of(scored)
        is_catalogue = len(scored) > 0 and int(scored[-1]) == len(scored)  # every item is scored
        for position, item, value in additions:
            target = torch.where(item == targets[position], value, 0)
            own = own + value.new_zeros(len(targets)).index_add(0, position, target)
            if is_catalogue and not (item > len(scored)).any():
                parts.append(SoftmaxPart(position, item - 1, value))
                continue
            column = columns(item)
            is_scored = (column >= 0).nonzero()[:, 0]
            parts.append(SoftmaxPart(position[is_scored], column[is_scored], value[is_scored]))
        return cls(own, parts)


class SoftmaxPart(NamedTuple):
    """Values added to the scores of (position, column) pairs.

    Attributes:
        position (Tensor): ascending, shape: [K], int64.
        column (Tensor): index of the item in the list of scored items, shape: [K], int64.
        value (Tensor): shape: [K].
    """

    position: Tensor
    column: Tensor
    value: Tensor


def columns_of(scored):
    """Returns a function from item ids to their index in the ascending list `scored`, -1 for items not in the list."""
    last = int(scored[-1]) if len(scored) else -1
    place = scored.new_full((last + 2,), -1)
    place[scored] = torch.arange(len(scored), device=scored.device)
    return lambda items: place[items.clamp(max=last + 1)]


def repeats(bias, inputs, row, place):
    """Adds the repeat bias to the items that a row holds up to the given place.

    Args:
        bias (Tensor): the learned number, shape: [].
        inputs (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
        row (Tensor): row of each position, shape: [P], int64.
        place (Tensor): last place in the row that the position has read, shape: [P], int64.

    Returns:
        ScoreAdditions: for P positions, each item once per position.
    """
    is_earlier = torch.ones(inputs.size(1), inputs.size(1), dtype=torch.bool, device=inputs.device).tril(-1)
    is_again = ((inputs[:, :, None] == inputs[:, None, :]) & is_earlier).any(dim=2)  # [B, L]
    is_read = ((inputs > 0) & ~is_again)[row] & (torch.arange(inputs.size(1), device=inputs.device) <= place[:, None])
    position, at = is_read.nonzero(as_tuple=True)
    return ScoreAdditions(position, inputs[row[position], at], bias.expand(len(position)))


def transition_additions(weights, transitions, window, rows, row, place):
    """Adds the transition bias to the successors of each position's last items, as far as their counts are stored.

    Args:
        weights (Tensor): one weight per lag: last item, the item before it, ..., shape: [W].
        transitions (ItemTransitions): counts of each item's successors in training.
        window (int): the largest distance between item and successor that was counted.
        rows (Tensor): item ids, 0 pads on the right. Items after a position's place are the row's own later items;
            their contribution to the counts is subtracted. Shape: [B, L], int64.
        row (Tensor): row of each position, shape: [P], int64.
        place (Tensor): last place in the row that the position has read, shape: [P], int64.

    Returns:
        list of ScoreAdditions: for P positions, which ascend in each part.
    """
    lag = torch.arange(len(weights), device=rows.device)
    last = _items(rows, row, place[:, None] - lag)  # [P, W], 0 if the row is shorter
    start = transitions.offsets[last].reshape(-1)  # [P * W]
    size = transitions.offsets[last + 1].reshape(-1) - start
    pair = torch.repeat_interleave(size)  # [K], in 0..P * W - 1
    at = torch.arange(len(pair), device=rows.device) + (start - size.cumsum(0) + size)[pair]
    values = transitions.values[at] * weights.repeat(len(last)).index_select(0, pair)
    counted = ScoreAdditions(pair // len(weights), transitions.items[at], values)
    return [counted, *_minus_own_counts(weights, transitions, window, last, rows, row, place)]


def _minus_own_counts(weights, transitions, window, last, rows, row, place):
    """Yields negative additions: the counts that each row's items after its place contribute for its last items."""
    is_it = (rows[row][:, None] == last[..., None]) & (last > 0)[..., None]  # [P, W, L]
    position, lag, at = is_it.nonzero(as_tuple=True)
    item = last[position, lag]
    share = -weights[lag] * transitions.scale[item]
    for step in range(1, window + 1):
        following = _items(rows, row[position], at + step)
        is_ahead = ((following > 0) & (at + step > place[position])).nonzero()[:, 0]
        is_ahead = is_ahead[transitions.holds(item[is_ahead], following[is_ahead])]
        yield ScoreAdditions(position[is_ahead], following[is_ahead], share[is_ahead] / step)


def _items(rows, row, place):
    """Returns the items of rows [P] at places [P] or [P, W], 0 outside of the row."""
    is_there = (place >= 0) & (place < rows.size(1))
    return rows[row.view(-1, *[1] * (place.dim() - 1)), place.clamp(0, rows.size(1) - 1)] * is_there

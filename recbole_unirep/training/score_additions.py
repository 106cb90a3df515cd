"""recbole_unirep.training.score_additions: learned numbers that some pairs of position and item add to their scores.

A state meets every item by a product. What is known of few pairs, such as the items that a sequence holds
(`repeats.py`) or those that often follow its last ones (`transitions.py`), is added to these pairs' scores.
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

"""recbole_unirep.training.repeats: a learned number for the items that a sequence has read.

Next to a state stand the items just read, whether or not users take an item twice. One number added to the score of
every item that a sequence holds learns how often they do: far below zero where nobody ever does, so that neither the
table nor the states have to push these items away.

Reference:
    Anderson et al., "The Dynamics of Repeat Consumption", WWW 2014.
    Ren et al., "RepeatNet: A Repeat Aware Neural Recommendation Machine for Session-Based Recommendation", AAAI 2019,
        which learns a whole decoder for it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

ITEMS = 2**32  # more than there are item ids: a pair of position and item is one number


class ReadItems(NamedTuple):
    """Items that positions have read, each once a position.

    Attributes:
        position (Tensor): ascending, shape: [K], int64.
        item (Tensor): item ids, shape: [K], int64.
        n_positions (int): number of positions.
    """

    position: Tensor
    item: Tensor
    n_positions: int

    def has(self, position, item):
        """Whether these positions have read these items, shape: [N], bool; both arguments [N], int64."""
        return torch.isin(position * ITEMS + item, self.position * ITEMS + self.item)


class Repeats(NamedTuple):
    """What the softmax adds to scores of items that positions have read.

    Attributes:
        bias (Tensor): the number, shape: [].
        position (Tensor): ascending, shape: [K], int64.
        column (Tensor): place of the item among the scored ones, shape: [K], int64.
        own (Tensor): whether a position has read its own target, shape: [P], bool.
    """

    bias: Tensor
    position: Tensor
    column: Tensor
    own: Tensor


def read_items(inputs, row, place):
    """Items that stand in a row up to a place.

    Args:
        inputs (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
        row (Tensor): row of each position, shape: [P], int64.
        place (Tensor): its last place, shape: [P], int64.

    Returns:
        ReadItems: of P positions.
    """
    is_earlier = torch.ones(inputs.size(1), inputs.size(1), dtype=torch.bool, device=inputs.device).tril(-1)
    is_again = ((inputs[:, :, None] == inputs[:, None, :]) & is_earlier).any(dim=2)  # [B, L]
    is_read = ((inputs > 0) & ~is_again)[row] & (torch.arange(inputs.size(1), device=inputs.device) <= place[:, None])
    position, at = is_read.nonzero(as_tuple=True)
    return ReadItems(position, inputs[row[position], at], len(row))


def repeats(bias, read, targets, column_of):
    """What of the read items is scored.

    Args:
        bias (Tensor): shape: [].
        read (ReadItems): of P positions.
        targets (Tensor): item of each position, shape: [P], int64.
        column_of (callable): item ids [K] to their places among the scored ones, -1 where they are none.

    Returns:
        Repeats: of P positions.
    """
    column = column_of(read.item)
    own = read.has(torch.arange(read.n_positions, device=targets.device), targets)
    return Repeats(bias, read.position[column >= 0], column[column >= 0], own)

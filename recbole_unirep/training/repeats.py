"""recbole_unirep.training.repeats: a learned number for the items that a sequence has read.

Next to a state stand the items just read, whether or not users take an item twice. One number added to the score of
every item that a sequence holds learns how often they do: far below zero where nobody ever does, so that neither the
table nor the states have to push these items away.

Reference:
    Anderson et al., "The Dynamics of Repeat Consumption", WWW 2014.
    Ren et al., "RepeatNet: A Repeat Aware Neural Recommendation Machine for Session-Based Recommendation", AAAI 2019,
        which learns a whole decoder for it.
"""

import torch

from recbole_unirep.training.score_additions import ScoreAdditions


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

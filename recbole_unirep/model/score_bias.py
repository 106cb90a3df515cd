"""recbole_unirep.model.score_bias: the learned numbers that UniRep adds to scores of few pairs of sequence and item."""

import torch
from torch import nn

from recbole_unirep.data.item_transitions import WINDOW, ItemTransitions
from recbole_unirep.training.repeats import repeats
from recbole_unirep.training.score_additions import ScoreAdditions
from recbole_unirep.training.transitions import transition_additions

STEP = 10.0  # an optimizer moves every number by about its learning rate: these have several units to go


class ScoreBias(nn.Module):
    """What items gain that a sequence holds, and items that often follow its last ones.

    Args:
        has_repeats (bool): whether the former have a number.
        n_last (int): how many of the last items have a weight for their followers.
        transitions (ItemTransitions or None): followers of every item in training, where n_last is above 0.
    """

    def __init__(self, has_repeats, n_last, transitions):
        super().__init__()
        self.repeat_level = nn.Parameter(torch.zeros(())) if has_repeats else None
        self.transition_level = nn.Parameter(torch.zeros(n_last)) if n_last else None
        for name, part in transitions._asdict().items() if n_last else ():
            self.register_buffer(name, part)

    @property
    def repeat_bias(self):
        """What is added to the score of an item that the sequence holds, shape: []; None where nothing is."""
        return None if self.repeat_level is None else STEP * self.repeat_level

    @property
    def transition_bias(self):
        """Weights of the followers of the last item, the one before it, ..., shape: [W]; None where there are none."""
        return None if self.transition_level is None else STEP * self.transition_level

    @property
    def n_counts(self):
        """Stored numbers that are counted and not learned: a follower of an item each."""
        return 0 if self.transition_level is None else len(self.items)

    def forward(self, rows, row, place):
        """Additions to scores.

        Args:
            rows (Tensor): item ids, 0 pads on the right; in training with the items that follow, shape: [B, L], int64.
            row (Tensor): row of each position, shape: [P], int64.
            place (Tensor): its last place, shape: [P], int64.

        Returns:
            ScoreAdditions: of P positions.
        """
        parts = []
        if self.repeat_level is not None:
            parts.append(repeats(self.repeat_bias, rows, row, place))
        if self.transition_level is not None:
            transitions = ItemTransitions(self.offsets, self.items, self.values, self.scale)
            parts.append(transition_additions(self.transition_bias, transitions, WINDOW, rows, row, place))
        return ScoreAdditions.joined(parts)

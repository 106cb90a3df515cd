"""recbole_unirep.model.score_bias: what UniRep adds to the product of state and item.

Learned numbers for few pairs (items that the sequence holds, followers of its last ones), and in ranking alone features
of all pairs whose weights are settings (likeness to an item of the sequence, popularity).
"""

import torch
from torch import nn
from torch.nn import functional

from recbole_unirep.data.cooccurrence import ItemTransitions, item_counts, item_transitions
from recbole_unirep.data.sequences import WINDOW
from recbole_unirep.scoring.score_additions import ScoreAdditions, repeats, transition_additions
from recbole_unirep.scoring.score_features import HistorySimilarity, Popularity, ScoreFeatures

STEP = 10.0  # an optimizer moves every number by about its learning rate: these have several units to go
LEARNED, RANKING = ("repeat_bias", "transition_bias"), ("history_similarity", "popularity_bias")


class ScoreBias(nn.Module):
    """What is added to scores.

    Args:
        config (Config): its keys in LEARNED and RANKING.
        dataset (recbole Dataset): the training part.
        directions (callable): item ids to vectors of length 1, see `UnifiedItemEmbedding.directions`.
    """

    def __init__(self, config, dataset, directions):
        super().__init__()
        self.directions = directions
        self.repeat_level = nn.Parameter(torch.zeros(())) if config["repeat_bias"] else None
        self.transition_level = None
        if config["transition_bias"]:
            self.transition_level = nn.Parameter(torch.zeros(config["transition_bias"]))
            for name, part in item_transitions(dataset)._asdict().items():
                self.register_buffer(name, part)
        self.feature_weights = {key: config[key] for key in RANKING if config[key]}
        counts = item_counts(dataset) if config["popularity_bias"] else None
        self.register_buffer("item_counts", counts, persistent=False)  # a checkpoint may be ranked with other weights

    @property
    def needs_directions(self):
        """True where ranking compares items with those of the history."""
        return "history_similarity" in self.feature_weights

    @property
    def is_learned(self):
        """Whether training has a part of it."""
        return self.repeat_level is not None or self.transition_level is not None

    @property
    def weights(self):
        """What each key adds, by name: a number, or one for each of the last items.

        Returns:
            dict[str, float or list[float]]: of the keys in use.
        """
        learned = {}
        if self.repeat_level is not None:
            learned["repeat_bias"] = STEP * self.repeat_level.item()
        if self.transition_level is not None:
            learned["transition_bias"] = (STEP * self.transition_level).tolist()
        return {**learned, **self.feature_weights}

    @property
    def n_counts(self):
        """Stored numbers that are counted and not learned: followers of items, and how often items were taken."""
        n_followers = 0 if self.transition_level is None else len(self.items)
        return n_followers + (0 if self.item_counts is None else len(self.item_counts) - 1)

    @torch.no_grad()
    def extend(self, n_new):
        """Takes in so many further items, which nothing has followed and nobody has taken."""
        if self.transition_level is not None:
            self.offsets = torch.cat([self.offsets, self.offsets[-1:].expand(n_new)])
            self.scale = functional.pad(self.scale, (0, n_new), value=1.0)  # as of all that nothing has followed
        if self.item_counts is not None:
            self.item_counts = functional.pad(self.item_counts, (0, n_new))

    def learned(self, rows, row, place):
        """What training and ranking add to the scores of few pairs.

        Args:
            rows (Tensor): item ids, 0 pads on the right; in training with the items that follow, whose counts are taken
                out; shape: [B, L], int64.
            row (Tensor): row of each position, shape: [P], int64.
            place (Tensor): its last place, shape: [P], int64.

        Returns:
            ScoreAdditions or None: of P positions.
        """
        parts = []
        if self.repeat_level is not None:
            parts.append(repeats(STEP * self.repeat_level, rows, row, place))
        if self.transition_level is not None:
            transitions = ItemTransitions(self.offsets, self.items, self.values, self.scale)
            parts.append(transition_additions(STEP * self.transition_level, transitions, WINDOW, rows, row, place))
        return ScoreAdditions.joined(parts) if parts else None

    def forward(self, rows, last):
        """What ranking adds.

        Args:
            rows (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
            last (Tensor): last place of each row, shape: [B], int64.

        Returns:
            tuple: ScoreAdditions, every pair once, and ScoreFeatures of B rows; None for what there is not.
        """
        additions = self.learned(rows, torch.arange(len(rows), device=rows.device), last)
        features = [self._feature(key, rows, last) for key in self.feature_weights]
        weights = list(self.feature_weights.values())
        return additions and additions.summed(), ScoreFeatures(weights, features) if features else None

    def _feature(self, key, rows, last):
        if key == "popularity_bias":
            return Popularity(self.item_counts)
        return HistorySimilarity(self.directions, rows, last)


def make_score_bias(config, dataset, directions):
    """A ScoreBias, None where the config asks for none; arguments as those of ScoreBias."""
    return ScoreBias(config, dataset, directions) if any(config[key] for key in (*LEARNED, *RANKING)) else None

"""recbole_unirep.model.score_bias: what UniRep adds to the product of state and item, each with a learned weight."""

import torch
from torch import nn

from recbole_unirep.data.item_transitions import WINDOW, ItemTransitions, item_counts, item_transitions
from recbole_unirep.training.repeats import repeats
from recbole_unirep.training.score_additions import ScoreAdditions
from recbole_unirep.training.score_features import HistorySimilarity, Popularity, ScoreFeatures
from recbole_unirep.training.transitions import transition_additions

STEP = 10.0  # an optimizer moves every number by about its learning rate: these have several units to go
KEYS = ("repeat_bias", "transition_bias", "history_similarity", "popularity_bias")


class ScoreBias(nn.Module):
    """Items gain that a sequence holds, that often follow its last ones, that are like one of it, that are popular.

    Args:
        config (Config): its KEYS.
        dataset (recbole Dataset): the training part.
        directions (callable): item ids to vectors of length 1, see `UnifiedItemEmbedding.directions`.
    """

    def __init__(self, config, dataset, directions):
        super().__init__()
        self.directions = directions
        self.repeat_level = nn.Parameter(torch.zeros(())) if config["repeat_bias"] else None
        self.transition_level = self.feature_level = None
        if config["transition_bias"]:
            self.transition_level = nn.Parameter(torch.zeros(config["transition_bias"]))
            for name, part in item_transitions(dataset)._asdict().items():
                self.register_buffer(name, part)
        self.features = [key for key in ("history_similarity", "popularity_bias") if config[key]]
        if self.features:
            self.feature_level = nn.Parameter(torch.zeros(len(self.features)))
        self.register_buffer("item_counts", item_counts(dataset) if config["popularity_bias"] else None)

    @property
    def weights(self):
        """What each key has learned, by name: a number, or one for each of the last items.

        Returns:
            dict[str, float or list[float]]: of the keys in use.
        """
        found = {}
        if self.repeat_level is not None:
            found["repeat_bias"] = STEP * self.repeat_level.item()
        if self.transition_level is not None:
            found["transition_bias"] = (STEP * self.transition_level).tolist()
        if self.feature_level is not None:
            found.update(zip(self.features, (STEP * self.feature_level).tolist()))
        return found

    @property
    def n_counts(self):
        """Stored numbers that are counted and not learned: followers of items, and how often items were taken."""
        n_followers = 0 if self.transition_level is None else len(self.items)
        return n_followers + (0 if self.item_counts is None else len(self.item_counts) - 1)

    def forward(self, rows, row, place):
        """What is added to any score.

        Args:
            rows (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
            row (Tensor): row of each position, ascending, shape: [P], int64.
            place (Tensor): its last place, shape: [P], int64.

        Returns:
            tuple: ScoreAdditions, every pair once, and ScoreFeatures of P positions; None for what there is not.
        """
        additions = self._additions(rows, row, place)
        return additions and additions.summed(), self._features(rows, row, place, own=0)

    def of_softmax(self, rows, row, place, targets, scored):
        """What is added in training.

        Args:
            rows, row, place: as above, the rows with the items that follow: their own counts are taken out.
            targets (Tensor): item of each position, shape: [P], int64.
            scored (Tensor): items of the softmax, ascending, shape: [N], int64.

        Returns:
            tuple: SoftmaxAdditions and SoftmaxFeatures; None for what there is not.
        """
        additions, features = self._additions(rows, row, place), self._features(rows, row, place, own=1)
        return additions and additions.among(targets, scored), features and features.among(targets, scored)

    def _additions(self, rows, row, place):
        parts = []
        if self.repeat_level is not None:
            parts.append(repeats(STEP * self.repeat_level, rows, row, place))
        if self.transition_level is not None:
            transitions = ItemTransitions(self.offsets, self.items, self.values, self.scale)
            parts.append(transition_additions(STEP * self.transition_level, transitions, WINDOW, rows, row, place))
        return ScoreAdditions.joined(parts) if parts else None

    def _features(self, rows, row, place, own):
        if self.feature_level is None:
            return None
        made = {
            "history_similarity": lambda: HistorySimilarity(self.directions, rows, row, place),
            "popularity_bias": lambda: Popularity(self.item_counts, own),
        }
        return ScoreFeatures(STEP * self.feature_level, [made[key]() for key in self.features])

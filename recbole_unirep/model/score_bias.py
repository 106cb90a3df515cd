"""recbole_unirep.model.score_bias: bias that UniRep adds to the dot product of state and item.

It has two kinds of terms. Learned numbers are added for a few pairs, in training and ranking: items that are already in
the sequence, and successors of its last items. Features with configured weights are added for all pairs, in ranking
only: similarity to an item of the sequence, popularity, and an offset of items that took no part in training.
"""

import torch
from torch import nn
from torch.nn import functional

from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.data.cooccurrence import ItemTransitions, item_counts, item_transitions
from recbole_unirep.data.sequences import WINDOW
from recbole_unirep.scoring.cold_offset import COLD_OFFSET
from recbole_unirep.scoring.score_additions import ScoreAdditions, repeats, transition_additions
from recbole_unirep.scoring.score_features import HistorySimilarity, Newness, Popularity, ScoreFeatures

STEP = 10.0  # scales up the learned numbers: they must move by several units, but a step moves them by about the rate
LEARNED, RANKING = ("repeat_bias", "transition_bias"), ("history_similarity", "popularity_bias")


class ScoreBias(nn.Module):
    """Computes the bias added to scores.

    Args:
        config (Config): its keys in LEARNED and RANKING, and COLD_OFFSET.
        dataset (recbole Dataset): the training part.
        directions (callable): item ids to unit vectors, see `UnifiedItemEmbedding.directions`.
    """

    def __init__(self, config, dataset, directions):
        super().__init__()
        self.directions = directions
        self.n_items, self.n_trained = dataset.item_num, n_training_items(dataset)
        self.repeat_level = nn.Parameter(torch.zeros(())) if config["repeat_bias"] else None
        self.transition_level = None
        if config["transition_bias"]:
            self.transition_level = nn.Parameter(torch.zeros(config["transition_bias"]))
            for name, part in item_transitions(dataset, config["transition_followers"])._asdict().items():
                self.register_buffer(name, part)
        weights = torch.tensor([float(config[key]) for key in RANKING], dtype=torch.float64)
        self.register_buffer("ranking_weights", weights)
        has_counts = config["popularity_bias"] or "popularity_bias" in config["chosen_on_validation"]
        counts, self.usual_count = None, 0.0
        if has_counts:
            counts = item_counts(dataset)
            self.usual_count = counts[1 : self.n_trained].double().log1p().mean().expm1().item()
            counts[self.n_trained :] = self.usual_count
        self.register_buffer("item_counts", counts, persistent=False)  # a checkpoint can be ranked with other weights
        self.register_buffer(COLD_OFFSET, torch.tensor(float(config[COLD_OFFSET]), dtype=torch.float64))

    @property
    def feature_weights(self):
        """Weights of the features in use by key: dict[str, float] without zeros."""
        return {key: weight for key, weight in self.ranking_weights_by_key().items() if weight}

    def ranking_weights_by_key(self):
        """Returns the weight of every feature by key (dict[str, float])."""
        return dict(zip(RANKING, self.ranking_weights.tolist()))

    def set_ranking_weights(self, weights):
        """Sets weights of features by key; the others stay.

        Raises:
            ValueError: popularity gets a weight, but the run has not counted it.
        """
        if weights.get("popularity_bias") and self.item_counts is None:
            raise ValueError("popularity_bias needs counts, which this model was built without")
        for key, weight in weights.items():
            self.ranking_weights[RANKING.index(key)] = weight

    @property
    def cold_offset_in_use(self):
        """Number added to the scores of items that took no part in training; 0 if there are none."""
        return self.cold_offset.item() if self.n_items > self.n_trained else 0.0

    @property
    def needs_directions(self):
        """True if ranking compares items with the items of the history."""
        return "history_similarity" in self.feature_weights

    @property
    def is_learned(self):
        """True if the bias has learned numbers, which training uses."""
        return self.repeat_level is not None or self.transition_level is not None

    @property
    def weights(self):
        """Current value of each key in use: one number, or one number per lag.

        Returns:
            dict[str, float or list[float]]: by key.
        """
        learned = {}
        if self.repeat_level is not None:
            learned["repeat_bias"] = STEP * self.repeat_level.item()
        if self.transition_level is not None:
            learned["transition_bias"] = (STEP * self.transition_level).tolist()
        cold = {COLD_OFFSET: self.cold_offset_in_use} if self.cold_offset_in_use else {}
        return {**learned, **self.feature_weights, **cold}

    @property
    def n_counts(self):
        """Number of stored counts, which are not learned: successors per item, and training interactions per item."""
        n_followers = 0 if self.transition_level is None else len(self.items)
        return n_followers + (0 if self.item_counts is None else len(self.item_counts) - 1)

    def _load_from_state_dict(self, state_dict, prefix, *others):
        """Takes the stored successors of a checkpoint, however many its run kept per item.

        Checkpoints of older runs hold no weights of ranking: their config does.
        """
        state_dict.setdefault(prefix + COLD_OFFSET, self.cold_offset)
        state_dict.setdefault(prefix + "ranking_weights", self.ranking_weights)
        if self.transition_level is not None:
            for name in ("items", "values"):
                if prefix + name in state_dict:
                    setattr(self, name, getattr(self, name).new_empty(len(state_dict[prefix + name])))
        super()._load_from_state_dict(state_dict, prefix, *others)

    @torch.no_grad()
    def extend(self, n_new):
        """Extends the tables by n_new items, which have no successors and the usual number of interactions."""
        self.n_items += n_new
        if self.transition_level is not None:
            self.offsets = torch.cat([self.offsets, self.offsets[-1:].expand(n_new)])
            self.scale = functional.pad(self.scale, (0, n_new), value=1.0)  # scale of items without successors
        if self.item_counts is not None:
            self.item_counts = functional.pad(self.item_counts, (0, n_new), value=self.usual_count)

    def learned(self, rows, row, place):
        """Returns the learned additions for a few pairs, used in training and ranking.

        Args:
            rows (Tensor): item ids, 0 pads on the right. In training, rows include the items that follow, whose counts
                are subtracted. Shape: [B, L], int64.
            row (Tensor): row of each position, shape: [P], int64.
            place (Tensor): last place in the row that the position has read, shape: [P], int64.

        Returns:
            list of ScoreAdditions: for P positions, which ascend in each part; empty if nothing is learned.
        """
        parts = []
        if self.repeat_level is not None:
            parts.append(repeats(STEP * self.repeat_level, rows, row, place))
        if self.transition_level is not None:
            transitions = ItemTransitions(self.offsets, self.items, self.values, self.scale)
            parts += transition_additions(STEP * self.transition_level, transitions, WINDOW, rows, row, place)
        return parts

    def forward(self, rows, last):
        """Returns everything that ranking adds to scores.

        Args:
            rows (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
            last (Tensor): index of the last item of each row, shape: [B], int64.

        Returns:
            tuple: ScoreAdditions with every pair once, and ScoreFeatures of B rows; None for a kind that is not in use.
        """
        additions = self.learned(rows, torch.arange(len(rows), device=rows.device), last)
        features = [self._feature(key, rows, last) for key in self.feature_weights]
        weights = list(self.feature_weights.values())
        if self.cold_offset_in_use:
            features.append(Newness(self.n_trained))
            weights.append(self.cold_offset_in_use)
        summed = ScoreAdditions.joined(additions).summed() if additions else None
        return summed, ScoreFeatures(weights, features) if features else None

    def _feature(self, key, rows, last):
        if key == "popularity_bias":
            return Popularity(self.item_counts, self.usual_count)
        return HistorySimilarity(self.directions, rows, last)


def make_score_bias(config, dataset, directions):
    """Returns a ScoreBias, or None if none of its keys is set or chosen; arguments as in ScoreBias."""
    is_used = any(config[key] for key in (*LEARNED, *RANKING, COLD_OFFSET, "chosen_on_validation"))
    return ScoreBias(config, dataset, directions) if is_used else None

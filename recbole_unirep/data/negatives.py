"""recbole_unirep.data.negatives: what a training step draws beside its targets.

One item a target for BCE and BPR, or items that all positions of a step share for the sampled softmax.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ONE_UNIFORM = ("uniform", 1, False)  # distribution, sample_num, dynamic
DISTRIBUTIONS = ("uniform", "popularity")


class Negatives(NamedTuple):
    """Drawn items.

    Attributes:
        items (Tensor): one a target, shape: [P], or shared, each once and ascending, shape: [S]; int64.
        log_weights (Tensor): log(times drawn / expected times) of shared ones, shape: [S], float32; empty otherwise.
    """

    items: Tensor
    log_weights: Tensor


class NoNegatives:
    """For losses that need none."""

    def draw(self, users, generator):
        return Negatives(users[:0], torch.empty(0))


class TargetNegatives:
    """One item a target, uniform over the items that the user has not in training.

    Args:
        sequences (UserSequences): all interactions.
        n_training (np.ndarray): items of each user that belong to training, shape: [n_users].
        n_items (int): number of item ids, padding included.

    Raises:
        ValueError: a user has every item.
    """

    def __init__(self, sequences, n_training, n_items):
        self.n_items = n_items
        users, items = _training_pairs(sequences, n_training)
        keys = np.unique(users * n_items + items)
        if np.bincount(keys // n_items).max(initial=0) >= n_items - 1:
            raise ValueError("a user has every item in training, so no negative is left for them: use loss_type: CE")
        self.owned = torch.from_numpy(keys)

    def draw(self, users, generator):
        """Negatives of targets of these users, shape: [P]."""
        items = torch.randint(1, self.n_items, users.shape, generator=generator)
        again = torch.arange(len(users))
        while len(again := again[self._is_owned(users[again], items[again])]):
            items[again] = torch.randint(1, self.n_items, again.shape, generator=generator)
        return Negatives(items, torch.empty(0))

    def _is_owned(self, users, items):
        key = users * self.n_items + items
        place = torch.searchsorted(self.owned, key).clamp(max=len(self.owned) - 1)
        return self.owned[place] == key


class SharedNegatives:
    """Items drawn with replacement for all positions of a step, with the weight that makes up for their probability.

    Args:
        sequences (UserSequences): all interactions.
        n_training (np.ndarray): items of each user that belong to training, shape: [n_users].
        n_items (int): number of item ids, padding included.
        count (int): draws of a step.
        distribution (str): 'uniform', or 'popularity': training interactions plus one, so that every item can come.

    Raises:
        ValueError: the distribution is unknown.
    """

    def __init__(self, sequences, n_training, n_items, count, distribution):
        if distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"negative_distribution={distribution} is not known: choose one of {', '.join(DISTRIBUTIONS)}"
            )
        weight = np.ones(n_items - 1)
        if distribution == "popularity":
            weight += np.bincount(_training_pairs(sequences, n_training)[1] - 1, minlength=n_items - 1)
        self.count = count
        self.probability = torch.from_numpy(weight / weight.sum())  # of item 1, 2, ...
        self.cumulative = self.probability.cumsum(0)

    def draw(self, users, generator):
        """Negatives of one step, whoever its users are."""
        uniform = torch.rand(self.count, generator=generator, dtype=torch.float64) * self.cumulative[-1]
        place = torch.searchsorted(self.cumulative, uniform, right=True).clamp(max=len(self.cumulative) - 1)
        place, times = torch.unique(place, return_counts=True)
        log_weights = (times / (self.count * self.probability[place])).log()
        return Negatives(1 + place, log_weights.float())


def make_negatives(config, sequences, n_training, n_items):
    """What the run's loss draws.

    Args:
        config (Config): `loss_type` and the keys of its negatives.
        sequences (UserSequences): all interactions.
        n_training (np.ndarray): items of each user that belong to training, shape: [n_users].
        n_items (int): number of item ids, padding included.

    Returns:
        NoNegatives, TargetNegatives or SharedNegatives: answers `draw(users, generator)`.

    Raises:
        ValueError: negatives that rows of users have not, or none are left for a user.
    """
    if config["loss_type"] == "CE":
        return NoNegatives()
    if config["loss_type"] == "SSM":
        shared = config["shared_negatives"], config["negative_distribution"]
        return SharedNegatives(sequences, n_training, n_items, *shared)
    asked = config["train_neg_sample_args"]
    if (asked["distribution"], asked["sample_num"], asked["dynamic"]) != ONE_UNIFORM:
        said = ", ".join(f"{key} {asked[key]}" for key in ("distribution", "sample_num", "dynamic"))
        raise ValueError(
            f"train_neg_sample_args asks for {said}; with loss_type={config['loss_type']} one row a user draws one "
            f"uniform negative a target: leave the key out, or use training_rows=prefix"
        )
    return TargetNegatives(sequences, n_training, n_items)


def _training_pairs(sequences, n_training):
    """User and item of every training interaction, shape: [n] each."""
    users = np.repeat(np.arange(len(n_training)), np.diff(sequences.offsets))
    is_training = sequences.is_among_first(n_training)
    return users[is_training], sequences.items[is_training]

"""recbole_unirep.data.negatives: the negative items that a training step draws.

BCE and BPR draw one item per target. The sampled softmax draws items that all positions of a step share.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ONE_UNIFORM = ("uniform", 1, False)  # distribution, sample_num, dynamic
DISTRIBUTIONS = ("uniform", "popularity")


class Negatives(NamedTuple):
    """Negative items of a step.

    Attributes:
        items (Tensor): one per target, shape: [P]; or shared ones, distinct and ascending, shape: [S]; int64.
        log_weights (Tensor): log(times drawn / expected times) of shared items, shape: [S], float32; else empty.
    """

    items: Tensor
    log_weights: Tensor


class NoNegatives:
    """Draws nothing, for losses without negatives."""

    def draw(self, users, generator):
        return Negatives(users[:0], torch.empty(0))


class TargetNegatives:
    """Draws one item per target, uniformly from the items outside the user's training items.

    Args:
        sequences (UserSequences): all interactions.
        n_training (np.ndarray): number of each user's training items, shape: [n_users].
        n_items (int): number of item ids, padding included.

    Raises:
        ValueError: a user interacted with every item.
    """

    def __init__(self, sequences, n_training, n_items):
        self.n_items = n_items
        users, items = _training_pairs(sequences, n_training)
        keys = np.unique(users * n_items + items)
        if np.bincount(keys // n_items).max(initial=0) >= n_items - 1:
            raise ValueError("a user interacted with every item in training, no negatives are left: use loss_type: CE")
        self.owned = torch.from_numpy(keys)

    def draw(self, users, generator):
        """Draws a negative for each target, given the targets' users, shape: [P]."""
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
    """Draws items with replacement, shared by all positions of a step, with weights that correct for their probability.

    If it would draw at least as many as there are items, it takes every item once: the softmax over all items.

    Args:
        sequences (UserSequences): all interactions.
        n_training (np.ndarray): number of each user's training items, shape: [n_users].
        n_items (int): number of item ids, padding included.
        count (int): draws per step.
        distribution (str): 'uniform' or 'popularity'; the latter draws in proportion to training interactions plus one.

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
        """Draws the negatives of one step; the users do not matter."""
        n_items = len(self.probability)
        if self.count >= n_items:
            return Negatives(torch.arange(1, n_items + 1), torch.zeros(n_items))
        uniform = torch.rand(self.count, generator=generator, dtype=torch.float64) * self.cumulative[-1]
        place = torch.searchsorted(self.cumulative, uniform, right=True).clamp(max=len(self.cumulative) - 1)
        place, times = torch.unique(place, return_counts=True)
        log_weights = (times / (self.count * self.probability[place])).log()
        return Negatives(1 + place, log_weights.float())


def make_negatives(config, sequences, n_training, n_items):
    """Builds the source of negatives for the run's loss.

    Args:
        config (Config): `loss_type` and the keys of its negatives are read.
        sequences (UserSequences): all interactions.
        n_training (np.ndarray): number of each user's training items, shape: [n_users].
        n_items (int): number of item ids, padding included.

    Returns:
        NoNegatives, TargetNegatives or SharedNegatives: has a method `draw(users, generator)`.

    Raises:
        ValueError: `train_neg_sample_args` is not supported, or a user interacted with every item.
    """
    if config["loss_type"] == "CE":
        return NoNegatives()
    if config["loss_type"] == "SSM":
        shared = config["shared_negatives"], config["negative_distribution"]
        return SharedNegatives(sequences, n_training, n_items, *shared)
    sampling = config["train_neg_sample_args"]
    if (sampling["distribution"], sampling["sample_num"], sampling["dynamic"]) != ONE_UNIFORM:
        found = ", ".join(f"{key} {sampling[key]}" for key in ("distribution", "sample_num", "dynamic"))
        raise ValueError(
            f"train_neg_sample_args is {found}; loss_type={config['loss_type']} in training_rows user or target draws "
            f"one uniform negative per target: leave the key out, or use training_rows=prefix"
        )
    return TargetNegatives(sequences, n_training, n_items)


def _training_pairs(sequences, n_training):
    """Returns user and item of every training interaction, shape: [n] each."""
    users = np.repeat(np.arange(len(n_training)), np.diff(sequences.offsets))
    is_training = sequences.is_among_first(n_training)
    return users[is_training], sequences.items[is_training]

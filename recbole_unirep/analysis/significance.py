"""Tests whether two models differ by more than chance, over users and seeds.

The bootstrap resamples users and seeds together: the same users for both models, but the seeds of each model
independently, because equal seeds of two models have nothing in common.

Reference:
    Bradley Efron, Robert Tibshirani. "An Introduction to the Bootstrap", 1993: chapters 8 and 13, and page 69 for the
    correction for few draws. Sture Holm. "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
"""

from typing import NamedTuple

import numpy as np

MIN_SEEDS = 3  # fewer seeds do not show their spread
USERS_AT_ONCE = 4_000_000  # drawn users in memory at a time


class Difference(NamedTuple):
    """Difference of two models in one metric, ours minus theirs.

    Attributes:
        mean (float): mean difference over users and seeds.
        low (float): 2.5th percentile of the resampled differences.
        high (float): 97.5th percentile.
        p_value (float or None): two-sided, of users and seeds resampled together. None if a model has fewer than three
            seeds; then low and high come from resampled users only.
    """

    mean: float
    low: float
    high: float
    p_value: float


def user_values(metric, ranks):
    """Value of a metric for each user, with one relevant item per user.

    Args:
        metric (str): RecBole's name: 'hit@10', 'recall@10', 'ndcg@10', 'mrr@10', 'map@10', 'precision@10', or 'mrr',
            which counts all candidates.
        ranks (ndarray): ranks of the targets, from 1, shape: [n_users], int.

    Returns:
        np.ndarray or None: float64, shape: [n_users]; None if the metric does not follow from the ranks.
    """
    name, _, k = metric.partition("@")
    gain = GAINS.get(name)
    if gain is None or (name != "mrr" and not k):
        return None
    ranks = np.asarray(ranks, dtype=np.float64)
    if not k:
        return gain(ranks, None)
    return np.where(ranks <= int(k), gain(ranks, int(k)), 0.0)


GAINS = {
    "hit": lambda ranks, k: np.ones_like(ranks),
    "recall": lambda ranks, k: np.ones_like(ranks),
    "precision": lambda ranks, k: np.full_like(ranks, 1.0 / k),
    "ndcg": lambda ranks, k: 1.0 / np.log2(ranks + 1.0),
    "mrr": lambda ranks, k: 1.0 / ranks,
    "map": lambda ranks, k: 1.0 / ranks,
}


def resampled_means(values, *, n_resamples, seed):
    """Bootstrap means over users drawn with replacement, the same users for every column.

    Args:
        values (ndarray): one row per user, shape: [n_users, n_columns].
        n_resamples (int): number of resamples.
        seed (int): seed of the draws; the same seed and number of users draw the same users.

    Returns:
        np.ndarray: float64, shape: [n_resamples, n_columns].
    """
    values, generator = np.asarray(values, dtype=np.float64), np.random.default_rng(seed)
    n_users = len(values)
    at_once = max(1, USERS_AT_ONCE // n_users)
    means = []
    for start in range(0, n_resamples, at_once):
        n = min(at_once, n_resamples - start)
        drawn = generator.integers(n_users, size=(n, n_users)) + np.arange(n)[:, None] * n_users
        times = np.bincount(drawn.ravel(), minlength=n * n_users).reshape(n, n_users)
        means.append(times.astype(np.float64) @ values / n_users)
    return np.concatenate(means)


def difference(ours, theirs, our_means, their_means, *, seed):
    """Computes the difference of two models in one metric.

    Args:
        ours (ndarray): mean over all users per run of our model, shape: [n_seeds].
        theirs (ndarray): mean over all users per run of the other model, shape: [n_other_seeds].
        our_means (ndarray): `resampled_means` of our runs, shape: [n_resamples, n_seeds].
        their_means (ndarray): `resampled_means` of their runs, with the same draws of users, shape:
            [n_resamples, n_other_seeds].
        seed (int): seed for drawing seeds.

    Returns:
        Difference: ours minus theirs.
    """
    mean = float(np.mean(ours) - np.mean(theirs))
    if min(len(ours), len(theirs)) < MIN_SEEDS:
        resampled, p_value = our_means.mean(axis=1) - their_means.mean(axis=1), None
    else:
        generator = np.random.default_rng(seed)
        resampled = _over_seeds(our_means, generator) - _over_seeds(their_means, generator)
        n_beyond = min((resampled <= 0).sum(), (resampled >= 0).sum())
        p_value = min(1.0, 2 * (int(n_beyond) + 1) / (len(resampled) + 1))
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Difference(mean, float(low), float(high), p_value)


def _over_seeds(means, generator):
    """Means over seeds drawn with replacement, shape: [n_resamples].

    Deviations are scaled by sqrt(n / (n - 1)), because n draws from n values vary less than n new values.
    """
    n_resamples, n_seeds = means.shape
    drawn = generator.integers(n_seeds, size=(n_resamples, n_seeds))
    centre = means.mean(axis=1)
    return centre + np.sqrt(n_seeds / (n_seeds - 1)) * (np.take_along_axis(means, drawn, axis=1).mean(axis=1) - centre)


def holm(p_values):
    """Corrects p-values for multiple tests by Holm's step-down procedure.

    Args:
        p_values (list of float): p-values of all tests.

    Returns:
        list[float]: in the same order, at most 1.
    """
    order, corrected, largest = np.argsort(p_values, kind="stable"), [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = float(largest)
    return corrected

"""Whether two models differ by more than the luck of users and of seeds.

Users and seeds are drawn again with replacement at once: the same users on both sides, the seeds of each side by
themselves, because equal seeds of two models have nothing in common.

Reference:
    Bradley Efron, Robert Tibshirani. "An Introduction to the Bootstrap", 1993: chapters 8 and 13, and page 69 for the
    correction of few draws. Sture Holm. "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
"""

from typing import NamedTuple

import numpy as np

MIN_SEEDS = 3  # with fewer the spread of seeds is unknown
USERS_AT_ONCE = 4_000_000  # drawn users held at a time


class Difference(NamedTuple):
    """One side less the other.

    Attributes:
        mean (float): over users and seeds.
        low (float): 2.5th percentile of the resampled differences.
        high (float): 97.5th percentile.
        p_value (float or None): two-sided, of users and seeds resampled together; None with fewer than three seeds on
            a side, low and high are then of users alone.
    """

    mean: float
    low: float
    high: float
    p_value: float


def user_values(metric, ranks):
    """What each user adds to a metric, for one relevant item a user.

    Args:
        metric (str): as RecBole names results: 'hit@10', 'recall@10', 'ndcg@10', 'mrr@10', 'map@10', 'precision@10',
            or 'mrr', over all candidates.
        ranks (ndarray): from 1, shape: [n_users], int.

    Returns:
        np.ndarray or None: float64, shape: [n_users]; None where ranks don't decide the metric.
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
    """Means over users drawn again with replacement, the same users for every column.

    Args:
        values (ndarray): a user a row, shape: [n_users, n_columns].
        n_resamples (int): how often to draw.
        seed (int): of the draws; the same seed and number of users draw the same users.

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
    """The difference of two models in one metric.

    Args:
        ours (ndarray): means over all users, a run each, shape: [n_seeds].
        theirs (ndarray): likewise, shape: [n_other_seeds].
        our_means (ndarray): `resampled_means` of the runs of ours, shape: [n_resamples, n_seeds].
        their_means (ndarray): of the same draws of users, shape: [n_resamples, n_other_seeds].
        seed (int): of the draws of seeds.

    Returns:
        Difference: ours less theirs.
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
    """Means over seeds drawn with replacement, spread by sqrt(n / (n - 1)), because n draws of n values vary less than
    n new values would, shape: [n_resamples].
    """
    n_resamples, n_seeds = means.shape
    drawn = generator.integers(n_seeds, size=(n_resamples, n_seeds))
    centre = means.mean(axis=1)
    return centre + np.sqrt(n_seeds / (n_seeds - 1)) * (np.take_along_axis(means, drawn, axis=1).mean(axis=1) - centre)


def holm(p_values):
    """p-values corrected for how many there are, by Holm's step-down procedure.

    Args:
        p_values (list of float): as tested together.

    Returns:
        list[float]: in the same order, at most 1.
    """
    order, corrected, largest = np.argsort(p_values, kind="stable"), [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = float(largest)
    return corrected

"""recbole_unirep.study.comparison: finished runs under one protocol, with what is luck and what is not.

Runs of one label are its seeds. Whether ours are better is told against the best of the other labels, which validation
chooses, never the test.
"""

from pathlib import Path
from statistics import mean, median, stdev
from typing import NamedTuple

import numpy as np

from recbole_unirep.analysis.significance import difference, holm, resampled_means, user_values
from recbole_unirep.runs.folder import RANKS, read_result
from recbole_unirep.scoring.ranks import read_ranks

N_RESAMPLES = 10_000
SEED_OF_RESAMPLES = 0
MUST_AGREE = ("dataset", "dataset_fingerprint", "tie_order", "tie_seed", "valid_metric", "candidates_seed")


class FinishedRun(NamedTuple):
    """A run and what it is compared by.

    Attributes:
        label (str): the row it belongs to.
        folder (Path): where it lies.
        result (dict): its result.json.
    """

    label: str
    folder: Path
    result: dict


class Row(NamedTuple):
    """A label under one protocol.

    Attributes:
        label (str): what is compared.
        seeds (list of int): of its runs.
        means (dict[str, float]): of each metric over its runs.
        deviations (dict[str, float or None]): standard deviation over its runs, None for one.
        valid_score (float or None): mean over its runs of the score that chose their checkpoints.
        item_table_parameters (int or None): as in result.json.
        trainable_parameters (int): as in result.json.
        seconds (float): median of its runs.
        peak_memory_bytes (int): most of its runs, of the process.
    """

    label: str
    seeds: list
    means: dict
    deviations: dict
    valid_score: float
    item_table_parameters: int
    trainable_parameters: int
    seconds: float
    peak_memory_bytes: int


class Gain(NamedTuple):
    """One of ours against the baseline.

    Attributes:
        label (str): which of ours.
        baseline (str): the best of the others on validation.
        percent (dict[str, float or None]): of the baseline's value, by metric; None where that is 0.
        differences (dict[str, Difference]): by metric; metrics which ranks don't decide are left out.
        p_values (dict[str, float or None]): corrected for the metrics and labels of all protocols compared.
    """

    label: str
    baseline: str
    percent: dict
    differences: dict
    p_values: dict


class Comparison(NamedTuple):
    """What one protocol says.

    Attributes:
        protocol (str): its name.
        metrics (list of str): those compared.
        rows (list of Row): in the order of the labels.
        gains (list of Gain): of each of ours; empty where there is nothing to compare with.
    """

    protocol: str
    metrics: list
    rows: list
    gains: list


def read_run(label, folder):
    """A finished run.

    Args:
        label (str): the row it belongs to.
        folder (str or Path): where it lies.

    Raises:
        FileNotFoundError: it holds no result.
        ValueError: the result is not the one that was written.
    """
    result = read_result(Path(folder))
    if result is None:
        raise FileNotFoundError(f"{folder} holds no finished run: no result.json in it")
    return FinishedRun(label, Path(folder), result)


def compare_runs(runs, protocols, metrics, ours, baseline=None):
    """Compares runs under each protocol.

    Args:
        runs (list of FinishedRun): of all labels.
        protocols (list of str): those to show.
        metrics (list of str): as in result.json; one that no run has is an error.
        ours (list of str): labels that are ours; the others are baselines.
        baseline (str or None): the label that gains are over, where validation can't choose it.

    Returns:
        list[Comparison]: one a protocol.

    Raises:
        ValueError: the runs are of different data, candidates or orders of ties, or lack a protocol or metric.
    """
    check_comparable(runs, protocols)
    comparisons = []
    for protocol in protocols:
        rows = [_row(label, own, protocol, metrics) for label, own in _by_label(runs).items()]
        comparisons.append(
            Comparison(protocol, list(metrics), rows, _gains(rows, runs, protocol, metrics, ours, baseline))
        )
    return _corrected(comparisons)


def check_comparable(runs, protocols):
    """Raises ValueError where one table can't hold the runs: other data, other candidates, another validation score,
    a protocol that was not ranked, or a seed that comes twice.
    """
    if not runs:
        raise ValueError("there is no finished run to compare")
    first = runs[0]
    keys = MUST_AGREE + (("candidates_hash",) if "uni99" in protocols else ())
    for run in runs:
        for key in keys:
            found, expected = (other.result.get(key, first.result.get(key)) for other in (run, first))
            if found != expected:
                raise ValueError(
                    f"{run.folder} has {key} {_short(found)} and {first.folder} {_short(expected)}: one table can't "
                    f"hold both, compare runs on the same data and candidates"
                )
        missing = [protocol for protocol in protocols if protocol not in run.result["test_result"]]
        if missing:
            found = ", ".join(run.result["test_result"]) or "none"
            raise ValueError(f"{run.folder} was not ranked under {', '.join(missing)}, only {found}: run it with them")
    for label, own in _by_label(runs).items():
        seeds = [run.result["seed"] for run in own]
        twice = {seed for seed in seeds if seeds.count(seed) > 1}
        if twice:
            raise ValueError(f"{label} has two runs of seed {min(twice)}: give each seed once, or other labels")


def _by_label(runs):
    labels = {}
    for run in runs:
        labels.setdefault(run.label, []).append(run)
    return labels


def _row(label, runs, protocol, metrics):
    results = [run.result for run in runs]
    values = {metric: [_metric(run, protocol, metric) for run in runs] for metric in metrics}
    scores = [result["best_valid_score"] for result in results]
    return Row(
        label,
        [result["seed"] for result in results],
        {metric: mean(found) for metric, found in values.items()},
        {metric: stdev(found) if len(found) > 1 else None for metric, found in values.items()},
        None if None in scores else mean(scores),
        results[0]["item_table_parameters"],
        results[0]["trainable_parameters"],
        median(result["seconds"] for result in results),
        max(result["peak_memory_bytes"]["process"] for result in results),
    )


def _metric(run, protocol, metric):
    found = run.result["test_result"][protocol]
    if metric not in found:
        raise ValueError(f"{run.folder} has no {metric} under {protocol}: its metrics are {', '.join(found)}")
    return found[metric]


def _gains(rows, runs, protocol, metrics, ours, named):
    """What ours gain over the baseline that is named, or that validation chooses."""
    others = [row for row in rows if row.label not in ours and row.valid_score is not None]
    if named is not None:
        others = [row for row in others if row.label == named]
    if not others:
        return []
    sign = 1 if runs[0].result.get("valid_score_bigger", True) else -1
    baseline = max(others, key=lambda row: sign * row.valid_score)
    compared = {row.label: row for row in rows if row.label in ours or row is baseline}
    means = _resampled(runs, protocol, metrics, compared)
    gains = []
    for row in rows:
        if row.label in ours:
            percent = {
                metric: 100 * (row.means[metric] / baseline.means[metric] - 1) if baseline.means[metric] else None
                for metric in metrics
            }
            differences = {
                metric: _difference(means[row.label, metric], means[baseline.label, metric])
                for metric in metrics
                if (row.label, metric) in means and (baseline.label, metric) in means
            }
            p_values = {metric: found.p_value for metric, found in differences.items()}
            gains.append(Gain(row.label, baseline.label, percent, differences, p_values))
    return gains


def _difference(ours, theirs):
    (our_values, our_means), (their_values, their_means) = ours, theirs
    return difference(our_values, their_values, our_means, their_means, seed=SEED_OF_RESAMPLES)


def _resampled(runs, protocol, metrics, labels):
    """(means over all users by run, the same over users drawn again) by label and metric."""
    own = [run for run in runs if run.label in labels and (run.folder / RANKS).is_file()]
    kept = [read_ranks(run.folder) for run in own]
    has = {run.folder for run, ranks in zip(own, kept) if protocol in ranks.ranks}  # nobody keeps those of a slice
    complete = {label for label in labels if all(run.folder in has for run in runs if run.label == label)}
    columns, names = [], []
    for run, ranks in zip(own, kept):
        if not np.array_equal(ranks.users, kept[0].users):
            raise ValueError(f"{run.folder} and {own[0].folder} ranked other users: compare runs on the same data")
        for metric in metrics if run.label in complete else ():
            values = user_values(metric, ranks.ranks[protocol])
            if values is not None:
                columns.append(values)
                names.append((run.label, metric))
    if not columns:
        return {}
    values = np.stack(columns, axis=1)
    again = resampled_means(values, n_resamples=N_RESAMPLES, seed=SEED_OF_RESAMPLES)
    found = {}
    for name in dict.fromkeys(names):
        places = [place for place, other in enumerate(names) if other == name]
        found[name] = (values[:, places].mean(axis=0), again[:, places])
    return found


def _corrected(comparisons):
    """The comparisons with p-values corrected over all of them."""
    places = [
        (gain.p_values, metric)
        for comparison in comparisons
        for gain in comparison.gains
        for metric, p_value in gain.p_values.items()
        if p_value is not None
    ]
    for (p_values, metric), corrected in zip(places, holm([p_values[metric] for p_values, metric in places])):
        p_values[metric] = corrected
    return comparisons


def _short(value):
    return value[:12] if isinstance(value, str) else value

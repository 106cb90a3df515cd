"""recbole_unirep.study.comparison: compares finished runs under one protocol, with significance tests.

Runs with the same label are its seeds. Gains of our models are measured against the best baseline, which is chosen by
validation scores, never by test scores.
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
    """A finished run with its label.

    Attributes:
        label (str): row of the table that the run belongs to.
        folder (Path): folder of the run.
        result (dict): content of its result.json.
    """

    label: str
    folder: Path
    result: dict


class Row(NamedTuple):
    """Results of one label under one protocol.

    Attributes:
        label (str): label of the runs.
        seeds (list of int): seeds of its runs.
        means (dict[str, float]): mean of each metric over its runs.
        deviations (dict[str, float or None]): standard deviation over its runs, None for a single run.
        valid_score (float or None): mean over its runs of the validation score that chose their checkpoints.
        item_table_parameters (int or None): as in result.json.
        trainable_parameters (int): as in result.json.
        seconds (float): median duration of its runs.
        peak_memory_bytes (int): maximum peak memory of the process over its runs.
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
    """Gain of one of our models over the baseline.

    Attributes:
        label (str): label of our model.
        baseline (str): label of the baseline, by default the best other model on validation.
        percent (dict[str, float or None]): gain in percent of the baseline's value, by metric; None if that value is 0.
        differences (dict[str, Difference]): by metric, without metrics that can't be computed from ranks.
        p_values (dict[str, float or None]): corrected over the metrics, labels and protocols compared.
    """

    label: str
    baseline: str
    percent: dict
    differences: dict
    p_values: dict


class Comparison(NamedTuple):
    """Comparison under one protocol.

    Attributes:
        protocol (str): name of the protocol.
        metrics (list of str): metrics compared.
        rows (list of Row): in the order of the labels.
        gains (list of Gain): one per label of ours; empty if there is no baseline.
    """

    protocol: str
    metrics: list
    rows: list
    gains: list


def read_run(label, folder):
    """Reads a finished run.

    Args:
        label (str): row of the table that the run belongs to.
        folder (str or Path): folder of the run.

    Raises:
        FileNotFoundError: the folder has no result.
        ValueError: the result is damaged.
    """
    result = read_result(Path(folder))
    if result is None:
        raise FileNotFoundError(f"{folder} holds no finished run: no result.json in it")
    return FinishedRun(label, Path(folder), result)


def compare_runs(runs, protocols, metrics, ours, baseline=None):
    """Compares runs under each protocol.

    Args:
        runs (list of FinishedRun): runs of all labels.
        protocols (list of str): protocols to show.
        metrics (list of str): names as in result.json; a missing one is an error.
        ours (list of str): our labels; the others are baselines.
        baseline (str or None): label of the baseline, also one of ours; None chooses it by validation.

    Returns:
        list[Comparison]: one per protocol.

    Raises:
        ValueError: the runs differ in data, candidates or order of ties, or lack a protocol or metric.
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
    """Raises ValueError if the runs can't share one table.

    They must have the same data, candidates and validation metric, be ranked under all protocols, and have each seed
    once per label.
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
    """Gains of our labels over the named baseline, which may be ours, or over the one that validation chooses."""
    ours = [label for label in ours if label != named]
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
    """(means over all users per run, means over resampled users per run) by label and metric."""
    own = [run for run in runs if run.label in labels and (run.folder / RANKS).is_file()]
    kept = [read_ranks(run.folder) for run in own]
    has = {run.folder for run, ranks in zip(own, kept) if protocol in ranks.ranks}  # ranks of slices are not stored
    complete = {label for label in labels if all(run.folder in has for run in runs if run.label == label)}
    columns, names = [], []
    for run, ranks in zip(own, kept):
        if not np.array_equal(ranks.users, kept[0].users):
            raise ValueError(f"{run.folder} and {own[0].folder} ranked different users: compare runs on the same data")
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
    """Comparisons with p-values corrected over all of them."""
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

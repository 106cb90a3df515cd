"""recbole_unirep.study.compare_models: one table of several models, trained now or earlier."""

import sys

import yaml

from recbole_unirep import parallel
from recbole_unirep.files.lock import locked
from recbole_unirep.model import METHODS
from recbole_unirep.runs.folder import saved_config
from recbole_unirep.study.cells import OF_THE_MACHINE, Cell
from recbole_unirep.study.comparison import compare_runs, read_run
from recbole_unirep.study.comparison_tables import comparison_table, terminal, write_comparison
from recbole_unirep.study.grid import check_cells, finished_runs, run_grid


def compare_models(models, dataset, seeds, protocols, metrics, ours, out, keys):
    """Trains each model with each seed, skips finished runs, and compares the results.

    Args:
        models (list of str): names of the models.
        dataset (str): name of the dataset.
        seeds (list of int): one run of every model per seed.
        protocols (list of str): one table per protocol.
        metrics (list of str): columns of the tables.
        ours (list of str or None): models whose gains are shown; None selects those of METHODS.
        out (Path): folder of the runs and tables.
        keys (dict[str, str]): config keys of every run as texts; MODEL.key applies to one model.

    Returns:
        list[Comparison]: one per protocol.

    Raises:
        ValueError: a setting can't be used (raised before any run), or a run failed (raised after all others were
            compared).
        FileNotFoundError: a file is missing.
        KeyboardInterrupt: the user stopped the runs; the same call continues them.
    """
    if parallel.world_size() > 1:
        raise ValueError("unirep compare runs in one process: start it without torchrun")
    for label in ours or ():
        if label not in models:
            raise ValueError(f"ours={','.join(ours)}: {label} is not among models={','.join(models)}")
    cells = _cells(models, dataset, seeds, protocols, out, keys)
    check_cells(cells, lambda row: metrics)
    with locked(out):
        try:
            failed = run_grid(cells)
        except KeyboardInterrupt:
            print(f"stopped; finished and partial runs are in {out}; the same command continues", flush=True)
            raise
        runs = finished_runs(cells)
        if runs:
            comparisons = _write(out, runs, protocols, metrics, ours)
    if failed:
        raise ValueError(f"{len(failed)} of {len(cells)} runs failed: " + "; ".join(map(": ".join, failed.items())))
    return comparisons


def compare_finished(folders, protocols, metrics, ours, out):
    """Compares finished runs.

    Args:
        folders (sequence of str): folders of the runs.
        protocols (list of str or None): one table per protocol; None selects those of the first run.
        metrics (list of str): columns of the tables.
        ours (list of str or None): labels whose gains are shown; None selects the models of METHODS.
        out (Path or None): folder of the tables; None writes no files.

    Returns:
        list[Comparison]: one per protocol.

    Raises:
        ValueError: the runs can't share one table, or no run has a requested label.
        FileNotFoundError: a folder is not a run.
    """
    runs = [read_run(label, folder) for label, folder in zip(_labels(folders), folders)]
    labels = list(dict.fromkeys(run.label for run in runs))
    for label in ours or ():
        if label not in labels:
            raise ValueError(f"ours={','.join(ours)}: {label} is not among {', '.join(labels)}")
    return _write(out, runs, protocols or list(runs[0].result["test_result"]), metrics, ours)


def _cells(models, dataset, seeds, protocols, out, keys):
    """Cells of the grid of models and seeds."""
    shared, own = {}, {model: {} for model in models}
    for key, text in keys.items():
        model, dot, rest = key.partition(".")
        if dot and model not in own:
            raise ValueError(f"--{key}: {model} is not among models={','.join(models)}")
        (own[model] if dot else shared)[rest or key] = text
    return [
        Cell(
            model,
            dataset,
            seed,
            {"model": model, "dataset": dataset, "protocol": protocols, **shared, **own[model], "seed": seed},
            out / model / f"seed-{seed}",
        )
        for model in models
        for seed in seeds
    ]


def _labels(folders):
    """Labels of runs: the model, with the settings in which the runs of that model differ."""
    configs = []
    for folder in folders:
        configs.append(yaml.safe_load(saved_config(folder).read_text(encoding="utf-8")))
    labels = []
    for config in configs:
        alike = [other for other in configs if other["model"] == config["model"]]
        keys = sorted({key for other in alike for key in other} - OF_THE_MACHINE - {"seed", "epochs", "stopping_step"})
        differing = [key for key in keys if any(other.get(key) != config.get(key) for other in alike)]
        labels.append(" ".join([config["model"], *(f"{key}={config.get(key)}" for key in differing)]))
    return labels


def _write(out, runs, protocols, metrics, ours):
    """Compares runs, prints the tables, and writes them unless `out` is None."""
    if ours is None:
        ours = [label for label in dict.fromkeys(run.label for run in runs) if label.split()[0] in METHODS]
    comparisons = compare_runs(runs, protocols, metrics, ours)
    table = comparison_table(comparisons, runs[0].result["dataset"])
    print(f"{terminal(table, sys.stdout.isatty())}\n{table.note}", flush=True)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_comparison(out, comparisons, table)
        print(f"{out / 'comparison.csv'} (.md, .tex), {out / 'gains.csv'}", flush=True)
    return comparisons

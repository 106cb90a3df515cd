"""recbole_unirep.commands.compare: one table of several models, trained here or before."""

import sys
from pathlib import Path

import yaml

from recbole_unirep import parallel
from recbole_unirep.files.lock import locked
from recbole_unirep.model import METHODS
from recbole_unirep.runs.folder import saved_config
from recbole_unirep.settings.values import split_arguments
from recbole_unirep.study.cells import OF_THE_MACHINE, Cell, seeds_asked
from recbole_unirep.study.comparison import compare_runs, read_run
from recbole_unirep.study.comparison_tables import comparison_table, terminal, write_comparison
from recbole_unirep.study.figures_asked import METRICS, PROTOCOLS
from recbole_unirep.study.grid import check_cells, finished_runs, run_grid

OPTIONS = ("models", "dataset", "seeds", "protocol", "metrics", "ours", "out")
NOT_IN_CELLS = {
    "run_dir": "each run has a folder of its own under --out",
    "resume": "the same command again continues",
    "seed": "--seeds=3 or --seeds=2020,2021,2022 says which",
    "model": "--models=UniRep,SASRec says which",
}


def compare(arguments):
    """Trains each model with each seed where that has not been done, and compares them; or compares finished runs.

    Args:
        arguments (sequence of str): folders of runs and options; or `--dataset=..`, `--models=A,B` and settings, those
            of one model as `--A.key=value`.

    Returns:
        list[Comparison]: one a protocol.

    Raises:
        ValueError: something asked for can't be, or runs that one table can't hold.
        FileNotFoundError: a file or run is missing.
    """
    if parallel.world_size() > 1:
        raise ValueError("unirep compare runs in one process: start it without torchrun")
    folders = [argument for argument in arguments if not argument.startswith("--")]
    texts = split_arguments(argument for argument in arguments if argument.startswith("--"))
    options = {name: texts.pop(name) for name in OPTIONS if name in texts}
    texts.pop("debug", None)
    if folders:
        return _compare_finished(folders, options, texts)
    out = Path(options.get("out") or f"runs/compare-{options.get('dataset')}")
    cells, protocols = _cells(options, texts, out)
    metrics = names(options, "metrics", METRICS)
    check_cells(cells, lambda row: metrics)
    with locked(out):
        try:
            failed = run_grid(cells)
        except KeyboardInterrupt:
            print(f"stopped; what is trained lies in {out}; the same command continues", flush=True)
            raise
        runs = finished_runs(cells)
        if runs:
            comparisons = _write(out, runs, protocols, metrics, options)
    if failed:
        raise ValueError(f"{len(failed)} of {len(cells)} runs failed: " + "; ".join(map(": ".join, failed.items())))
    return comparisons


def names(options, key, default):
    """A list of names out of an option, in the order given."""
    if key not in options:
        return list(default)
    found = [name.strip() for name in options[key].strip("[]").split(",") if name.strip()]
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{key}={options[key]}: name each once, separated by commas")
    return found


def _cells(options, texts, out):
    """The grid of models and seeds, and the protocols."""
    for key, reason in NOT_IN_CELLS.items():
        if key in texts:
            raise ValueError(f"--{key} can't be given to unirep compare: {reason}")
    for key, example in (("dataset", "ml-100k"), ("models", "UniRep,SASRec")):
        if not options.get(key):
            raise ValueError(f"unirep compare needs {key}: give e.g. --{key}={example}, or folders of finished runs")
    models, protocols = names(options, "models", []), names(options, "protocol", PROTOCOLS)
    own = {model: {} for model in models}
    shared = {}
    for key, text in texts.items():
        model, dot, rest = key.partition(".")
        if dot and model not in own:
            raise ValueError(f"--{key}: {model} is not among models={options['models']}")
        (own[model] if dot else shared)[rest or key] = text
    for label in names(options, "ours", []):
        if label not in own:
            raise ValueError(f"ours={options['ours']}: {label} is not among models={options['models']}")
    dataset = options["dataset"]
    return [
        Cell(
            model,
            dataset,
            seed,
            {"model": model, "dataset": dataset, "protocol": protocols, **shared, **own[model], "seed": seed},
            out / model / f"seed-{seed}",
        )
        for model in models
        for seed in seeds_asked(options.get("seeds", "3"))
    ], protocols


def _compare_finished(folders, options, texts):
    """The table of runs that are there."""
    unknown = [*texts, *(name for name in ("models", "dataset", "seeds") if name in options)]
    if unknown:
        raise ValueError(
            f"--{unknown[0]} trains runs, folders of finished runs were given: leave it out (known are --protocol, "
            f"--metrics, --ours, --out)"
        )
    labels = _labels(folders)
    runs = [read_run(label, folder) for label, folder in zip(labels, folders)]
    protocols = names(options, "protocol", runs[0].result["test_result"])
    out = Path(options["out"]) if "out" in options else None
    return _write(out, runs, protocols, names(options, "metrics", METRICS), options)


def _labels(folders):
    """A run's model, and the settings in which the runs of that model differ."""
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


def _write(out, runs, protocols, metrics, options):
    """Compares, prints, and writes where a folder is named; labels of ours without a finished run are left out."""
    labels = list(dict.fromkeys(run.label for run in runs))
    ours = names(options, "ours", [label for label in labels if label.split()[0] in METHODS])
    if "models" not in options:
        for label in ours:
            if label not in labels:
                raise ValueError(f"ours={options['ours']}: {label} is not among {', '.join(labels)}")
    comparisons = compare_runs(runs, protocols, metrics, ours)
    table = comparison_table(comparisons, runs[0].result["dataset"])
    print(f"{terminal(table, sys.stdout.isatty())}\n{table.note}", flush=True)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_comparison(out, comparisons, table)
        print(f"{out / 'comparison.csv'} (.md, .tex), {out / 'gains.csv'}", flush=True)
    return comparisons

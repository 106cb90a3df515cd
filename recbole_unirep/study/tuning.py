"""recbole_unirep.study.tuning: tunes models with the same number of trials each, judged by validation scores.

A trial is a run that ranks no test item. Its validation score after each epoch can prune it. A killed trial is
continued. A failed trial is stored with its error message.
"""

import contextlib
import gc
import json
import os
import shutil
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from recbole.utils import ModelType
from tabulate import tabulate

from recbole_unirep import parallel
from recbole_unirep.config import Config
from recbole_unirep.files.lock import locked
from recbole_unirep.quick_start import run_recbole
from recbole_unirep.runs.folder import CONTINUABLE, METRICS, read_result
from recbole_unirep.settings.arguments import join_arguments
from recbole_unirep.settings.known_keys import general_keys
from recbole_unirep.study.search_space import extremes, plain, read_spaces, space_of
from recbole_unirep.study.trials import Trials
from recbole_unirep.study.tune_folder import (
    DATABASE,
    check_request,
    write_best,
    write_importance,
    write_trials,
)

MACHINE_KEYS = ("data_path", "show_progress", "use_gpu", "gpu_id")  # may change when a tuning is continued


class Tuning(NamedTuple):
    """Request of a tuning.

    Attributes:
        models (list of str): names of the models.
        spaces (dict[str, dict[str, Lever]]): levers of each model.
        settings (list of str): `--key=value` for every trial.
        trials (int): number of trials per model.
        out (Path): folder of the tuning.
        record (dict): plain values that decide the results.
        bigger (bool): True if a bigger validation score is better.
    """

    models: list
    spaces: dict
    settings: list
    trials: int
    out: Path
    record: dict
    bigger: bool


def tune_models(models, dataset, space, trials, prune_after, out, keys):
    """Runs the remaining trials, models taking turns, and writes the results.

    Args:
        models (list of str): names of the models.
        dataset (str): name of the dataset.
        space (str): a YAML file of search spaces, or the name of a shipped one.
        trials (int): number of trials per model.
        prune_after (int): epochs before a trial may be pruned.
        out (str or None): folder; None means runs/tune-DATASET.
        keys (dict[str, str]): config keys of every trial, as texts.

    Returns:
        dict[str, dict]: best trial of each model, as in `Trials.finished`.

    Raises:
        ValueError: a setting can't be used (raised before any trial runs), or no trial of a model is complete.
        FileNotFoundError: a file is missing.
    """
    tuning = _plan(models, dataset, space, trials, prune_after, out, keys)
    with locked(tuning.out):
        check_request(tuning.out, tuning.record)
        trials = {model: _trials(tuning, model) for model in tuning.models}
        try:
            for number in range(1, tuning.trials + 1):
                for model, own in trials.items():
                    if len(own.finished()) < number:
                        _run_trial(tuning, model, own)
                        _write(tuning, trials)
        except KeyboardInterrupt:
            print(
                f"stopped; finished trials are in {tuning.out / 'trials.csv'}; the same command continues", flush=True
            )
            raise
        _write(tuning, trials)
        importance = {model: own.importance() for model, own in trials.items()}
        finished = {model: own.finished() for model, own in trials.items()}
        n_complete = {model: sum(trial["state"] == "complete" for trial in found) for model, found in finished.items()}
        write_importance(tuning.out, importance, n_complete)
    best = {model: own.best() for model, own in trials.items()}
    for model, found in best.items():
        if found is None:
            raise ValueError(
                f"none of {len(finished[model])} trials of {model} is complete, the last failed with: "
                f"{finished[model][-1]['message']}: see {tuning.out / 'trials.csv'}"
            )
    print(_summary(tuning, finished, best, importance))
    return best


def _run_trial(tuning, model, trials):
    """Runs one trial and records its result."""
    trial, started = trials.start(), perf_counter()
    folder = tuning.out / model / f"trial-{trial.number:04d}"
    facts = {"valid_score": None, "best_epoch": None, "message": ""}
    try:
        is_pruned = _report_earlier_epochs(trial, folder)
        if is_pruned:
            result = {}
        else:
            pruned = []
            result = _run(
                tuning, model, trial, folder, lambda *score: trial.report(*score) and not pruned.append(score)
            )
            is_pruned = bool(pruned)
        state = "pruned" if is_pruned else "complete"
        best = trials.best_of(trial.scores.values())
        facts["best_epoch"] = min(trial.scores, key=lambda epoch: trial.scores[epoch] != best)
        facts["valid_score"] = best if is_pruned else result["best_valid_score"]  # with the weights that the run chose
        facts["fingerprint"] = result.get("dataset_fingerprint")
    except OSError:  # such as a full disk: not caused by the settings, so the trial can be continued
        raise
    except Exception as error:  # any other error is recorded as this trial's result; log.txt has the traceback
        state, facts["message"] = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
    facts["epochs"], facts["seconds"] = len(trial.scores), round(perf_counter() - started, 1)
    facts["run"] = folder.relative_to(tuning.out).as_posix() if folder.is_dir() else ""
    trial.finish(state, **facts)
    gc.collect()  # the trainer's reference cycles hold device memory
    _print_trial(tuning, model, trial, state, facts)


def _report_earlier_epochs(trial, folder):
    """Reports the epochs that an interrupted trial already trained; returns True if they prune it."""
    file = folder / METRICS
    if not file.is_file() or not any((folder / name).is_file() for name in CONTINUABLE):
        return False
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    records = [json.loads(line) for line in lines if line.endswith("\n")]  # a killed run may leave an incomplete line
    ends = [trial.report(record["epoch"], record["valid_score"]) for record in records if "valid_score" in record]
    return any(ends)


def _run(tuning, model, trial, folder, report):
    """Trains with a trial's settings, or resumes it; log lines go to its log.txt only."""
    result = read_result(folder)
    if result is not None:
        return result
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        if any((folder / name).is_file() for name in CONTINUABLE):
            own = [text for text in tuning.settings if text[2:].partition("=")[0] in MACHINE_KEYS]
            return run_recbole(arguments=[*own, f"--resume={folder}"], callback_fn=report)
        shutil.rmtree(folder, ignore_errors=True)
        keys = {**trial.keys, "protocol": [], "run_dir": str(folder)}
        return run_recbole(model, config_dict=keys, arguments=tuning.settings, callback_fn=report)


def _plan(models, dataset, space, trials, prune_after, out, keys):
    """Makes the tuning and checks the settings of every model before any trial runs."""
    if parallel.world_size() > 1:
        raise ValueError("unirep tune runs in one process: start it without torchrun")
    parts = read_spaces(space)
    settings = join_arguments({"dataset": dataset, "show_progress": "False", **keys})
    spaces, configs = {}, {}
    for model in models:
        spaces[model], configs[model] = _space(model, space_of(parts, model), settings, keys)
    config = configs[models[0]]
    given = {key: value for key, value in config.resolved.items() if key in keys and key not in MACHINE_KEYS}
    record = {
        "dataset": dataset,
        "valid_metric": config["valid_metric"],
        "seed": config["seed"],
        "prune_after": prune_after,
        "settings": given,
        "spaces": {model: plain(levers) for model, levers in spaces.items()},
        "trials": trials,
    }
    out = Path(out or f"runs/tune-{dataset}")
    return Tuning(models, spaces, settings, trials, out, record, config["valid_metric_bigger"])


def _space(model, levers, settings, keys):
    """Returns the levers that a model uses and its config, after checking both ends of every lever."""
    twice = sorted(levers.keys() & keys.keys())
    if twice:
        raise ValueError(
            f"{', '.join(twice)} is set but is also a lever of {model}: leave it out, or choose another space"
        )
    for keys in extremes(levers):
        config = Config(model, config_dict={**keys, "protocol": []}, arguments=settings)
    known = config.own_keys | (set() if config["MODEL_TYPE"] == ModelType.TRADITIONAL else general_keys())
    used = {key: lever for key, lever in levers.items() if key in known}
    unused = sorted(levers.keys() - used.keys())
    if unused:
        print(f"{model} has no {', '.join(unused)}: left out of its trials", flush=True)
    if not used:
        raise ValueError(f"{model} uses none of the space's levers: add a part '{model}' to the space")
    return used, config


def _trials(tuning, model):
    file, record = tuning.out / DATABASE, tuning.record
    levers = tuning.spaces[model]
    return Trials(file, model, levers, seed=record["seed"], bigger=tuning.bigger, prune_after=record["prune_after"])


def _write(tuning, trials):
    """Writes trials.csv, and best.yaml of every model with a complete trial."""
    finished = {model: own.finished() for model, own in trials.items()}
    write_trials(tuning.out, finished)
    for model, own in trials.items():
        best = own.best()
        if best:
            write_best(tuning.out, tuning.record, model, len(finished[model]), best)


def _print_trial(tuning, model, trial, state, facts):
    """Prints one line about a finished trial."""
    score = facts["message"] if state == "failed" else f"{tuning.record['valid_metric']} {facts['valid_score']:.4f}"
    keys = " ".join(f"{key}={value}" for key, value in trial.keys.items())
    print(f"{model} {trial.number}/{tuning.trials} {state} {score} {facts['seconds']:.0f} s  {keys}", flush=True)


def _summary(tuning, finished, best, importance):
    """Summary table, printed last."""
    rows = []
    for model in tuning.models:
        states = [trial["state"] for trial in finished[model]]
        first = next(iter(importance[model]), "-")
        score = f"{best[model]['valid_score']:.4f}"
        counts = [states.count(state) for state in ("complete", "pruned", "failed")]
        rows.append([model, len(states), *counts, score, first, tuning.out / model / "best.yaml"])
    heads = [
        "model",
        "trials",
        "complete",
        "pruned",
        "failed",
        tuning.record["valid_metric"],
        "matters most",
        "settings",
    ]
    return tabulate(rows, headers=heads, disable_numparse=True)

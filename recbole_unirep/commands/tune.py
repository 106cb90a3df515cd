"""recbole_unirep.commands.tune: the same number of trials for each model, judged by validation.

A trial is a run that ranks nothing on test. It is pruned by its validation score after each epoch, continued where a
kill left it, and kept with its message where it fails.
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
from recbole_unirep.settings.known_keys import general_keys
from recbole_unirep.settings.values import split_arguments
from recbole_unirep.study.search_space import extremes, plain, read_spaces, space_of
from recbole_unirep.study.trials import Trials
from recbole_unirep.study.tune_folder import (
    DATABASE,
    check_asked,
    write_best,
    write_importance,
    write_trials,
)

OPTIONS = ("model", "models", "dataset", "space", "trials", "out", "prune_after")
NOT_IN_TRIALS = {
    "protocol": "trials are judged on validation alone",
    "run_dir": "each trial has a folder of its own under --out",
    "resume": "the same command again continues",
    "nproc": "trials run in one process",
}
OF_THE_MACHINE = ("data_path", "show_progress", "use_gpu", "gpu_id")  # may change when tuning is continued


class Asked(NamedTuple):
    """What the command asks for.

    Attributes:
        models (list of str): names of the models.
        spaces (dict[str, dict[str, Lever]]): levers of each model.
        settings (list of str): `--key=value` for every trial.
        trials (int): for each model.
        out (Path): folder.
        record (dict): what decides the results, plain values.
        bigger (bool): whether a bigger validation score is better.
    """

    models: list
    spaces: dict
    settings: list
    trials: int
    out: Path
    record: dict
    bigger: bool


def tune(arguments):
    """Runs what is left of the trials, model by model in turn, and writes what they found.

    Args:
        arguments (sequence of str): `--model=..` or `--models=A,B`, `--dataset=..`, `--space=..`, `--trials=..`,
            `--out=..`, `--prune_after=..`, and settings of every trial.

    Returns:
        dict[str, dict]: the best trial of each model, as `Trials.finished` has it.

    Raises:
        ValueError: something asked for can't be; nothing has been run then. Or no trial of a model is complete.
        FileNotFoundError: a file is missing.
    """
    asked = _asked(arguments)
    with locked(asked.out):
        check_asked(asked.out, asked.record)
        trials = {model: _trials(asked, model) for model in asked.models}
        try:
            for number in range(1, asked.trials + 1):
                for model, own in trials.items():
                    if len(own.finished()) < number:
                        _run_trial(asked, model, own)
                        _write(asked, trials)
        except KeyboardInterrupt:
            print(f"stopped; finished trials are in {asked.out / 'trials.csv'}; the same command continues", flush=True)
            raise
        _write(asked, trials)
        importance = {model: own.importance() for model, own in trials.items()}
        finished = {model: own.finished() for model, own in trials.items()}
        n_complete = {model: sum(trial["state"] == "complete" for trial in found) for model, found in finished.items()}
        write_importance(asked.out, importance, n_complete)
    best = {model: own.best() for model, own in trials.items()}
    for model, found in best.items():
        if found is None:
            raise ValueError(
                f"none of {len(finished[model])} trials of {model} is complete, the last failed with: "
                f"{finished[model][-1]['message']}: see {asked.out / 'trials.csv'}"
            )
    print(_summary(asked, finished, best, importance))
    return best


def _run_trial(asked, model, trials):
    """One trial, from its settings to what is known of it."""
    trial, started = trials.start(), perf_counter()
    folder = asked.out / model / f"trial-{trial.number:04d}"
    facts = {"valid_score": None, "best_epoch": None, "message": ""}
    try:
        is_pruned = _told_before(trial, folder)
        if is_pruned:
            result = {}
        else:
            pruned = []
            result = _run(asked, model, trial, folder, lambda *told: trial.report(*told) and not pruned.append(told))
            is_pruned = bool(pruned)
        state = "pruned" if is_pruned else "complete"
        facts["valid_score"] = trials.best_of(trial.scores.values())
        facts["best_epoch"] = min(trial.scores, key=lambda epoch: trial.scores[epoch] != facts["valid_score"])
        facts["fingerprint"] = result.get("dataset_fingerprint")
    except OSError:  # a full disk, a missing file: not the settings' fault, the trial is continued another time
        raise
    except Exception as error:  # whatever these settings lead to is this trial's result; log.txt has the traceback
        state, facts["message"] = "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"
    facts["epochs"], facts["seconds"] = len(trial.scores), round(perf_counter() - started, 1)
    facts["run"] = folder.relative_to(asked.out).as_posix() if folder.is_dir() else ""
    trial.finish(state, **facts)
    gc.collect()  # the trainer's cycles hold memory of the device
    _tell(asked, model, trial, state, facts)


def _told_before(trial, folder):
    """Tells the epochs that an interrupted trial had trained; whether they end it."""
    file = folder / METRICS
    if not file.is_file() or not any((folder / name).is_file() for name in CONTINUABLE):
        return False
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    records = [json.loads(line) for line in lines if line.endswith("\n")]  # a kill leaves half a line
    ends = [trial.report(record["epoch"], record["valid_score"]) for record in records if "valid_score" in record]
    return any(ends)


def _run(asked, model, trial, folder, report):
    """A run with a trial's settings, continued where it was interrupted; what it says goes to its log.txt alone."""
    result = read_result(folder)
    if result is not None:
        return result
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        if any((folder / name).is_file() for name in CONTINUABLE):
            own = [text for text in asked.settings if text[2:].partition("=")[0] in OF_THE_MACHINE]
            return run_recbole(arguments=[*own, f"--resume={folder}"], callback_fn=report)
        shutil.rmtree(folder, ignore_errors=True)
        keys = {**trial.keys, "protocol": [], "run_dir": str(folder)}
        return run_recbole(model, config_dict=keys, arguments=asked.settings, callback_fn=report)


def _asked(arguments):
    """What the command line asks for, with every model's settings looked at before anything runs."""
    if parallel.world_size() > 1:
        raise ValueError("unirep tune runs in one process: start it without torchrun")
    texts = split_arguments(arguments)
    options = {name: texts.pop(name) for name in OPTIONS if name in texts}
    texts.pop("debug", None)
    for key, reason in NOT_IN_TRIALS.items():
        if key in texts:
            raise ValueError(f"--{key} can't be given to unirep tune: {reason}")
    if ("model" in options) == ("models" in options):
        raise ValueError("unirep tune needs models: give --model=UniRep or --models=UniRep,SASRec")
    if not options.get("dataset"):
        raise ValueError("unirep tune needs a dataset: give e.g. --dataset=ml-100k")
    models = [name.strip() for name in options.get("models", options.get("model")).split(",") if name.strip()]
    if not models or len(set(models)) < len(models):
        raise ValueError(f"models={options.get('models', options.get('model'))}: give each model once")
    trials, prune_after = _number(options, "trials", 20, 1), _number(options, "prune_after", 5, 0)
    space = options.get("space", "default")
    parts = read_spaces(space)
    settings = [f"--dataset={options['dataset']}", *(f"--{key}={text}" for key, text in texts.items())]
    settings += [] if "show_progress" in texts else ["--show_progress=False"]
    spaces, configs = {}, {}
    for model in models:
        spaces[model], configs[model] = _space(model, space_of(parts, model), settings, texts)
    config = configs[models[0]]
    given = {key: value for key, value in config.resolved.items() if key in texts and key not in OF_THE_MACHINE}
    record = {
        "dataset": options["dataset"],
        "valid_metric": config["valid_metric"],
        "seed": config["seed"],
        "prune_after": prune_after,
        "settings": given,
        "spaces": {model: plain(levers) for model, levers in spaces.items()},
        "trials": trials,
    }
    out = Path(options.get("out") or f"runs/tune-{options['dataset']}")
    return Asked(models, spaces, settings, trials, out, record, config["valid_metric_bigger"])


def _number(options, name, default, least):
    text = options.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"{name}={text} is no whole number of at least {least}: give one, such as {default}")
    return int(text)


def _space(model, levers, settings, texts):
    """The levers that a model uses, and its config; both ends of every lever are tried on it."""
    twice = sorted(levers.keys() & texts.keys())
    if twice:
        raise ValueError(
            f"{', '.join(twice)} is given and is a lever of {model} too: leave it out, or take another space"
        )
    for keys in extremes(levers):
        config = Config(model, config_dict={**keys, "protocol": []}, arguments=settings)
    keys = config.own_keys | (set() if config["MODEL_TYPE"] == ModelType.TRADITIONAL else general_keys())
    used = {key: lever for key, lever in levers.items() if key in keys}
    unused = sorted(levers.keys() - used.keys())
    if unused:
        print(f"{model} has no {', '.join(unused)}: not drawn for it", flush=True)
    if not used:
        raise ValueError(f"{model} uses none of the space's levers: add a part '{model}' to the space")
    return used, config


def _trials(asked, model):
    file, record = asked.out / DATABASE, asked.record
    levers = asked.spaces[model]
    return Trials(file, model, levers, seed=record["seed"], bigger=asked.bigger, prune_after=record["prune_after"])


def _write(asked, trials):
    """trials.csv, and best.yaml of every model that has a complete trial."""
    finished = {model: own.finished() for model, own in trials.items()}
    write_trials(asked.out, finished)
    for model, own in trials.items():
        best = own.best()
        if best:
            write_best(asked.out, asked.record, model, len(finished[model]), best)


def _tell(asked, model, trial, state, facts):
    """One line about a finished trial."""
    score = facts["message"] if state == "failed" else f"{asked.record['valid_metric']} {facts['valid_score']:.4f}"
    keys = " ".join(f"{key}={value}" for key, value in trial.keys.items())
    print(f"{model} {trial.number}/{asked.trials} {state} {score} {facts['seconds']:.0f} s  {keys}", flush=True)


def _summary(asked, finished, best, importance):
    """The table that is printed last."""
    rows = []
    for model in asked.models:
        states = [trial["state"] for trial in finished[model]]
        first = next(iter(importance[model]), "-")
        score = f"{best[model]['valid_score']:.4f}"
        counts = [states.count(state) for state in ("complete", "pruned", "failed")]
        rows.append([model, len(states), *counts, score, first, asked.out / model / "best.yaml"])
    heads = [
        "model",
        "trials",
        "complete",
        "pruned",
        "failed",
        asked.record["valid_metric"],
        "matters most",
        "settings",
    ]
    return tabulate(rows, headers=heads, disable_numparse=True)

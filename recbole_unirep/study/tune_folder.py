"""recbole_unirep.study.tune_folder: reads and writes the folder of a tuning.

Files: tune.yaml (the request), trials.db (optuna's study of each model), trials.csv (one trial per line) and
importance.csv. Each model has a folder with best.yaml, for --config_files, and one run folder per trial.
"""

import csv
import io
import json

import yaml

from recbole_unirep.files.lock import LOCK
from recbole_unirep.files.whole import write_text, write_yaml

DATABASE = "trials.db"
COLUMNS = ("model", "trial", "state", "valid_score", "best_epoch", "epochs", "seconds", "run", "message")


def check_request(folder, asked):
    """Writes the request into the folder, or checks that it equals the request in the folder.

    Args:
        folder (Path): folder of the tuning, locked by the caller.
        asked (dict): the request as plain values; `trials` may differ.

    Raises:
        ValueError: the folder holds other files, or a tuning with another request.
    """
    asked, path = json.loads(json.dumps(asked)), folder / "tune.yaml"
    if not path.is_file() or not (folder / DATABASE).is_file():
        found = sorted(file.name for file in folder.iterdir() if file.name not in (LOCK, path.name))
        if found:
            raise ValueError(f"out={folder} holds {found[0]} but no tuning to continue: choose another --out")
    else:
        started = yaml.safe_load(path.read_text(encoding="utf-8"))
        for was, now, name in _differences(started, asked):
            raise ValueError(f"out={folder} was started with {name} {was}, this command sets {now}: take another --out")
    write_yaml(path, asked)


def write_trials(folder, finished):
    """Writes trials.csv.

    Args:
        folder (Path): folder of the tuning.
        finished (dict[str, list[dict]]): `Trials.finished` of each model.
    """
    rows = [
        {**trial, "model": model, **{key: _cell(value) for key, value in trial["keys"].items()}}
        for model, trials in finished.items()
        for trial in trials
    ]
    keys = dict.fromkeys(key for trials in finished.values() for trial in trials for key in trial["keys"])
    _write_csv(folder / "trials.csv", (*COLUMNS, *keys), rows)


def write_importance(folder, importance, n_complete):
    """Writes importance.csv.

    Args:
        folder (Path): folder of the tuning.
        importance (dict[str, dict[str, float]]): importance of each key by model, see `Trials.importance`.
        n_complete (dict[str, int]): number of complete trials by model.
    """
    rows = [
        {"model": model, "key": key, "importance": round(share, 4), "complete_trials": n_complete[model]}
        for model, shares in importance.items()
        for key, share in shares.items()
    ]
    _write_csv(folder / "importance.csv", ("model", "key", "importance", "complete_trials"), rows)


def write_best(folder, asked, model, n_finished, best):
    """Writes best.yaml of a model: the settings of the command and of the model's best trial.

    Args:
        folder (Path): folder of the tuning.
        asked (dict): as in `check_request`.
        model (str): name of the model.
        n_finished (int): number of finished trials.
        best (dict): best trial, an entry of `Trials.finished`.
    """
    path = folder / model / "best.yaml"
    keys = {"model": model, "dataset": asked["dataset"], **asked["settings"], **best["keys"]}
    head = (
        f"# run_recbole --config_files={path}\n"
        f"# Trial {best['trial']} of {n_finished}: validation {asked['valid_metric']} {best['valid_score']} "
        f"at epoch {best['best_epoch']}.\n"
    )
    write_text(path, head + yaml.safe_dump(json.loads(json.dumps(keys)), sort_keys=False, allow_unicode=True))


def _differences(started, asked):
    """Yields (before, now, name) of each difference; names of nested keys are 'outer: inner'."""
    for name in sorted({*started, *asked} - {"trials"}):
        was, now = started.get(name), asked.get(name)
        if isinstance(was, dict) and isinstance(now, dict) and was.keys() == now.keys():
            yield from ((one, other, f"{name}: {inner}") for one, other, inner in _differences(was, now))
        elif was != now:
            yield was, now, name


def _cell(value):
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _write_csv(path, columns, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())

"""recbole_unirep.runs.folder: the folder of a run, its file names, and its config, environment and result."""

import json
from datetime import datetime
from pathlib import Path

from recbole_unirep import parallel
from recbole_unirep.compat.pickle_guard import FLAG
from recbole_unirep.files.checksums import CHECKSUM, check_checksum, with_checksum
from recbole_unirep.files.lock import LOCK
from recbole_unirep.files.whole import write_json, write_yaml

CONFIG = "config.yaml"  # resolved
ENVIRONMENT = "environment.json"
LOG = "log.txt"
METRICS = "metrics.jsonl"  # one line per epoch
TENSORBOARD = "tensorboard"  # a folder
BEST, LAST = "model.pt", "last.pt"  # the checkpoint chosen on validation, and the one that --resume continues
PRETRAINED, LAST_PRETRAINED = "pretrained.pt", "last_pretrained.pt"
CONTINUABLE = (LAST, LAST_PRETRAINED, PRETRAINED)  # --resume continues a run that has one of these files
RESULT = "result.json"
RANKS = "ranks.npz"  # the test rank of each user
FITTED, BEHAVIOUR_FITTED = "tokenizer", "behaviour_tokenizer"  # folders: bundles of frozen codes, the second EAGER's
ADDED = "added_items.safetensors"  # items added after training
IMPORT = "unirep import-recbole"


def create_run_folder(run_dir, dataset, model):
    """Creates an empty folder; two runs that start in the same second get two folders.

    Args:
        run_dir (str or None): the folder that the user named, or None for a new one under runs/.
        dataset (str): name of the dataset.
        model (str): name of the model.

    Returns:
        pathlib.Path: the folder.

    Raises:
        ValueError: run_dir is an empty name, or the folder is not empty.
    """
    if run_dir is not None:
        if not str(run_dir).strip():
            raise ValueError("run_dir is empty: name a folder, or leave the key out for a new one under runs/")
        folder = Path(run_dir)
        if folder.exists() and (not folder.is_dir() or any(map(_counts, folder.iterdir()))):
            raise ValueError(
                f"run_dir={run_dir} is not empty: name another folder, or continue it with --resume={run_dir}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    stem = f"{dataset}-{model}-{datetime.now():%Y%m%d-%H%M%S}"
    for number in range(10_000):
        folder = Path("runs") / (f"{stem}-{number}" if number else stem)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise ValueError(f"runs/ holds 10000 folders named {stem}: name one with --run_dir")


def _counts(path):
    """Whether a file makes a folder non-empty; files of a run that was killed before it wrote its config do not."""
    return path.name not in (ENVIRONMENT, LOCK) and path.suffix != ".partial"


def saved_config(run):
    """Path of a run's config.yaml.

    Args:
        run (str or Path): the run's folder.

    Raises:
        FileNotFoundError: the folder has no config.yaml.
        ValueError: run is a file.
    """
    path = Path(run) / CONFIG
    if Path(run).is_file():
        raise ValueError(f"{run} is a file, a run is a folder: import a RecBole checkpoint with {IMPORT} {run}")
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no run: no {CONFIG} in it")
    return path


def write_config(folder, resolved):
    """Writes config.yaml, without the keys that belong to one command rather than to the run.

    The main process writes, as in every function here.

    Args:
        folder (Path): the run's folder.
        resolved (dict): every key of the run.
    """
    if parallel.is_main():
        write_yaml(folder / CONFIG, {**resolved, "run_dir": None, "resume": None, FLAG: False})


def write_environment(folder, facts):
    """Writes environment.json.

    Args:
        folder (Path): the run's folder.
        facts (dict): what `runs.environment.environment` found, and `dataset_fingerprint`.
    """
    if parallel.is_main():
        write_json(folder / ENVIRONMENT, facts)


def check_data(folder, fingerprint):
    """Raises ValueError if the run's data have another fingerprint."""
    path = Path(folder) / ENVIRONMENT
    try:
        trained_on = str(json.loads(path.read_text(encoding="utf-8"))["dataset_fingerprint"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} can't be read ({error}): restore it or train again") from error
    if trained_on != fingerprint:
        raise ValueError(
            f"{folder} was trained on data with fingerprint {trained_on[:12]}, the dataset now has {fingerprint[:12]}: "
            f"restore the data or train again"
        )


def write_result(folder, result):
    """Writes result.json with its own checksum."""
    if parallel.is_main():
        write_json(folder / RESULT, with_checksum(result))


def read_result(folder):
    """Reads the result of a finished run.

    Args:
        folder (Path): the run's folder.

    Returns:
        dict or None: None if the run is not finished.

    Raises:
        ValueError: the file was changed or is damaged.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}): restore it or run it again") from error
    if not isinstance(result, dict):
        raise ValueError(f"{path} holds no result: restore it or run it again")
    check_checksum(path, result)
    return {key: value for key, value in result.items() if key != CHECKSUM}

"""recbole_unirep.runs.folder: the folder that a run leaves.

config.yaml (resolved), log.txt, metrics.jsonl (an epoch a line), result.json, ranks.npz (each user's test ranks),
environment.json, model.pt (the chosen checkpoint), last.pt (for --resume), tokenizer/ and EAGER's
behaviour_tokenizer/ (bundles, where codes stand still), tensorboard/.
"""

import json
from datetime import datetime
from pathlib import Path

from recbole_unirep.files.whole import CHECKSUM, check_checksum, with_checksum, write_json

# Files of a run's folder.
BEST, LAST = "model.pt", "last.pt"
PRETRAINED, LAST_PRETRAINED = "pretrained.pt", "last_pretrained.pt"
RANKS = "ranks.npz"
RESULT = "result.json"
CONTINUABLE = (LAST, LAST_PRETRAINED, PRETRAINED)  # any of them lets --resume go on
IMPORT = "unirep import-recbole"


def create_run_folder(run_dir, dataset, model):
    """A new empty folder; two runs that start in the same second get two.

    Args:
        run_dir (str or None): the folder that the user named, or None for a new one under runs/.
        dataset (str): name of the dataset.
        model (str): name of the model.

    Returns:
        pathlib.Path: the folder.

    Raises:
        ValueError: the name is empty, or the named folder is not.
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
    """Whether a file is more than what a run leaves that was killed before it had written its config."""
    return path.name not in ("environment.json", "lock") and path.suffix != ".partial"


def saved_config(run):
    """The file of a run's settings.

    Args:
        run (str or Path): its folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is a file.
    """
    path = Path(run) / "config.yaml"
    if Path(run).is_file():
        raise ValueError(f"{run} is a file, a run is a folder: a checkpoint of RecBole becomes one by {IMPORT} {run}")
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no run: no config.yaml in it")
    return path


def check_data(folder, fingerprint):
    """Raises ValueError where the data are not those that the run was trained on."""
    path = Path(folder) / "environment.json"
    try:
        trained_on = str(json.loads(path.read_text(encoding="utf-8"))["dataset_fingerprint"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} can't be read ({error}): restore it or train anew") from error
    if trained_on != fingerprint:
        raise ValueError(
            f"{folder} was trained on data of fingerprint {trained_on[:12]}, the dataset's is {fingerprint[:12]} now: "
            f"restore the data or train anew"
        )


def write_result(folder, result):
    """Writes result.json with a checksum of its own."""
    write_json(folder / RESULT, with_checksum(result))


def read_result(folder):
    """What a finished run found.

    Args:
        folder (Path): the run's.

    Returns:
        dict or None: None where it is not finished.

    Raises:
        ValueError: the file is not the one that was written.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable json ({error}): restore it or run it anew") from error
    if not isinstance(result, dict):
        raise ValueError(f"{path} holds no result: restore it or run it anew")
    check_checksum(path, result)
    return {key: value for key, value in result.items() if key != CHECKSUM}

"""recbole_unirep.run_folder: the folder that a run leaves, and its log.

config.yaml (resolved), log.txt, metrics.jsonl (an epoch a line), result.json, ranks.npz (each user's test ranks),
environment.json, model.pt (the chosen checkpoint), last.pt (for --resume), tokenizer/ and EAGER's
behaviour_tokenizer/ (bundles, where codes stand still), tensorboard/.
"""

import json
import logging
import os
import platform
import re
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from logging.handlers import MemoryHandler
from pathlib import Path

import yaml

from recbole_unirep import parallel
from recbole_unirep.whole_files import CHECKSUM, check_checksum, whole, with_checksum

IMPORT = "unirep import-recbole"
RESULT = "result.json"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PACKAGES = ("recbole-unirep", "recbole", "torch", "numpy", "pandas", "scikit-learn", "sentence-transformers")


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


def write_yaml(path, value):
    """Writes plain values as YAML, whole or not at all."""
    write_text(path, yaml.safe_dump(value, sort_keys=True, allow_unicode=True))


def write_json(path, value):
    """Writes plain values as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path, text):
    """Writes a text, whole or not at all; of several processes the main one writes."""
    if not parallel.is_main():
        return
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def environment(device):
    """What the numbers of a run depend on besides its config.

    Args:
        device (torch.device): where the model is.

    Returns:
        dict: versions, commit of a checkout (None where there is none), machine.
    """
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "commit": _commit(),
        "device": str(device),
        "cpu_count": os.cpu_count(),
        "processes": parallel.world_size(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


class RunLog:
    """Console and file log of one run; lines before the folder exists are kept and written once it does.

    Args:
        speaks (bool): whether this process is the one that logs.
    """

    def __init__(self, speaks):
        self.level = logging.INFO if speaks else logging.CRITICAL

    def __enter__(self):
        self.root = logging.getLogger()
        self.level_before = self.root.level
        self.root.setLevel(self.level)
        console = logging.StreamHandler(sys.stdout)
        console.setFormatter(
            _PlainFormatter("%(message)s") if not sys.stdout.isatty() else logging.Formatter("%(message)s")
        )
        self.memory = MemoryHandler(capacity=1_000_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        self.handlers = [console, self.memory]
        for handler in self.handlers:
            self.root.addHandler(handler)
        for name in ("sentence_transformers", "transformers", "httpx", "huggingface_hub"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return self

    def write_to(self, folder):
        """Sends all lines so far, and those to come, to the folder's log.txt."""
        if self.level > logging.INFO:
            return
        file = _LogFile(folder / "log.txt", encoding="utf-8")
        file.setFormatter(_PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
        self.memory.setTarget(file)
        self.memory.flush()
        self.root.removeHandler(self.memory)
        self.root.addHandler(file)
        self.handlers.append(file)

    def __exit__(self, kind, error, trace):
        wrote = len(self.handlers) > 2
        if wrote and error is not None and not isinstance(error, KeyboardInterrupt):
            self.handlers[-1].emit(
                logging.LogRecord("run", logging.ERROR, __file__, 0, "stopped by an error", (), (kind, error, trace))
            )
        for handler in self.handlers:
            self.root.removeHandler(handler)
            handler.close()
        self.root.setLevel(self.level_before)


class _LogFile(logging.FileHandler):
    """Says once that it can't be written, where logging would print a traceback a line."""

    is_unwritten = False

    def handleError(self, record):
        if not self.is_unwritten:
            print(f"{self.baseFilename} can't be written ({sys.exc_info()[1]})", file=sys.stderr)
        self.is_unwritten = True


class _PlainFormatter(logging.Formatter):
    """Without the colours that RecBole writes into its messages."""

    def format(self, record):
        return COLOUR.sub("", super().format(record))


def _commit():
    """Commit of the checkout that the package is run from, with '+' where its files differ from it; None elsewhere."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None
    parts = ("recbole_unirep", "dataset_prep", "properties")
    try:
        commit, status = (
            subprocess.run(["git", "-C", here, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", *parts))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if status else "")

"""recbole_unirep.run_folder: the folder that a run leaves, and its log.

config.yaml (resolved), log.txt, metrics.jsonl (an epoch a line), result.json, ranks.npz (each user's test ranks),
environment.json, model.pt (the chosen checkpoint), last.pt (for --resume), tensorboard/.
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
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
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
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


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
        file = logging.FileHandler(folder / "log.txt", encoding="utf-8")
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

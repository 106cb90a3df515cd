"""recbole_unirep.study.cells: the cells of a grid; each cell is one run in a separate process.

Every cell has a run folder. A finished cell is not run again, and an interrupted cell is continued. If a folder
holds a run with other settings, that is an error before any cell runs.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

import yaml

from recbole_unirep.config import Config
from recbole_unirep.quick_start import MAY_CHANGE
from recbole_unirep.runs.folder import CONFIG, CONTINUABLE, read_result
from recbole_unirep.scoring.metrics import metric_names

FIRST_SEED = 2020
CHILD = (
    "import sys; sys.argv[0] = 'run_recbole'; from recbole_unirep.study.cells import end_with_parent; "
    "end_with_parent(); from recbole_unirep.cli import run_recbole; sys.exit(run_recbole())"
)
PACKAGE_HOME = str(Path(__file__).resolve().parents[2])
OF_THE_MACHINE = frozenset(MAY_CHANGE) - {"epochs", "stopping_step"} | {"run_dir", "resume", "config_files"}


class Cell(NamedTuple):
    """One run of a grid.

    Attributes:
        row (str): label of the row, the same for all its seeds.
        dataset (str): name of the dataset.
        seed (int): seed of the run.
        keys (dict): all settings, including model, dataset and seed.
        folder (Path): folder of the run.
    """

    row: str
    dataset: str
    seed: int
    keys: dict
    folder: Path

    @property
    def name(self):
        """Name of the cell in messages."""
        return f"{self.row} on {self.dataset}, seed {self.seed}"

    @property
    def command(self):
        """Command line that runs the cell."""
        return " ".join(["run_recbole", *map(_quoted, self.arguments)])

    @property
    def arguments(self):
        """Settings of the cell as `--key=value`."""
        return [f"--{key}={_text(value)}" for key, value in {**self.keys, "run_dir": str(self.folder)}.items()]

    def result(self):
        """Result of the finished run (dict), None if it is not finished."""
        return read_result(self.folder)

    def is_interrupted(self):
        """True if the run is not finished but has a checkpoint to continue from."""
        return self.result() is None and any((self.folder / name).is_file() for name in CONTINUABLE)


def check_cell(cell):
    """Checks a cell's settings, also against those of the run in its folder, if any.

    Args:
        cell (Cell): a cell, run already or not.

    Returns:
        list[str]: metrics that its results will contain, such as 'hit@10' and 'mrr'.

    Raises:
        ValueError: the settings can't be used, or the run in the folder had other settings.
        FileNotFoundError: a file is missing.
    """
    path, config = cell.folder / CONFIG, Config(config_dict=cell.keys)
    metrics = [*metric_names(config), "mrr"]
    if not path.is_file():
        return metrics
    asked = _plain(config.resolved)
    had = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key in sorted((asked.keys() & had.keys()) - OF_THE_MACHINE):
        if asked[key] != had[key]:
            raise ValueError(
                f"{cell.folder} holds {cell.name} with {key}={had[key]}, this command sets {key}={asked[key]}: "
                f"use another name, or remove the folder to run it again"
            )
    return metrics


def run_cell(cell):
    """Runs a cell, or continues it if it was interrupted.

    Args:
        cell (Cell): a cell that is not finished.

    Returns:
        str: "" if the run finished, else why it did not.

    Raises:
        KeyboardInterrupt: the user stopped the run; its checkpoint is kept.
    """
    if cell.is_interrupted():
        arguments = [
            f"--{key}={_text(cell.keys[key])}" for key in ("data_path", "use_gpu", "gpu_id") if key in cell.keys
        ]
        arguments.append(f"--resume={cell.folder}")
    else:
        shutil.rmtree(cell.folder, ignore_errors=True)
        arguments = cell.arguments
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [PACKAGE_HOME, environment.get("PYTHONPATH")]))
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, *arguments, "--show_progress=False"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
        )
        try:
            process.wait()
        except KeyboardInterrupt:  # the terminal also interrupts the child, which saves its checkpoint
            process.stdin.close()
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
            raise
        errors.seek(0)
        error_text = errors.read()
    if process.returncode == 0 and cell.result() is not None:
        return ""
    if process.returncode == 130:
        raise KeyboardInterrupt
    if process.returncode < 0:
        return f"killed by signal {-process.returncode} (9 often means out of memory)"
    lines = [line.strip() for line in error_text.splitlines() if line.strip()]
    return lines[-1] if lines else f"ended with exit code {process.returncode}"


def end_with_parent():
    """Interrupts this cell's process when its parent process ends.

    Otherwise it would keep training in a folder that the next command continues.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # acts like Ctrl-C, which background jobs ignore

    def wait():
        os.read(0, 1)  # returns when the parent closes the pipe; sys.stdin would hold a lock at exit
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _text(value):
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _quoted(argument):
    return f'"{argument}"' if set(argument) & set(" []{}'") else argument


def _plain(values):
    return yaml.safe_load(yaml.safe_dump(values))


def parse_seeds(found):
    """Returns the seeds: a number n means n seeds from 2020 on, a list is returned unchanged.

    Args:
        found (int, str or list of int): such as 3, '3', '2020,2021,2022' or [2020, 2021, 2022].

    Returns:
        list[int]: distinct seeds.

    Raises:
        ValueError: no seed, a repeated seed, or one that is not a whole number.
    """
    is_list = isinstance(found, list) or "," in str(found)
    texts = [str(part).strip() for part in (found if isinstance(found, list) else str(found).split(","))]
    if not texts or not all(part.isdecimal() for part in texts) or len(set(texts)) < len(texts):
        raise ValueError(f"seeds={found} is not understood: give how many, or each seed once: 2020,2021,2022")
    if is_list:
        return [int(part) for part in texts]
    if not 1 <= int(texts[0]) < FIRST_SEED:
        raise ValueError(f"seeds={found}: give a number of seeds, at least 1, or a list such as [2020, 2021, 2022]")
    return [FIRST_SEED + number for number in range(int(texts[0]))]

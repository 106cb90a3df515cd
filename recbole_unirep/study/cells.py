"""recbole_unirep.study.cells: the cells of a grid, each a run in a process of its own.

A cell lies in a folder of its own, which is the run's. A finished cell is never run again, an interrupted one is
continued, and one that was run with other settings is an error before anything runs.
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
        row (str): label of what is compared, the same for all its seeds.
        dataset (str): name of the dataset.
        seed (int): of the run.
        keys (dict): all settings, model, dataset and seed among them.
        folder (Path): of the run.
    """

    row: str
    dataset: str
    seed: int
    keys: dict
    folder: Path

    @property
    def name(self):
        """What messages call it."""
        return f"{self.row} on {self.dataset}, seed {self.seed}"

    @property
    def command(self):
        """The line that runs it."""
        return " ".join(["run_recbole", *map(_quoted, self.arguments)])

    @property
    def arguments(self):
        """Its settings as `--key=value`."""
        return [f"--{key}={_text(value)}" for key, value in {**self.keys, "run_dir": str(self.folder)}.items()]

    def result(self):
        """What the finished run found, dict, or None where it is not finished."""
        return read_result(self.folder)

    def is_interrupted(self):
        """Whether a checkpoint waits to be continued."""
        return self.result() is None and any((self.folder / name).is_file() for name in CONTINUABLE)


def check_cell(cell):
    """Looks at a cell's settings, and at those of the run that lies in its folder.

    Args:
        cell (Cell): need not have been run.

    Returns:
        list[str]: metrics that its results will have, such as 'hit@10' and 'mrr'.

    Raises:
        ValueError: settings that can't be used, or other ones than the run in the folder had.
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
                f"{cell.folder} holds {cell.name} with {key}={had[key]}, asked for is {key}={asked[key]}: ask for it "
                f"under another name, or remove the folder to run it anew"
            )
    return metrics


def run_cell(cell):
    """Runs a cell to its end, or continues it.

    Args:
        cell (Cell): not finished.

    Returns:
        str: "" where it finished, else why not.

    Raises:
        KeyboardInterrupt: the user stopped it; what it has trained is kept.
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
        except KeyboardInterrupt:  # the terminal has interrupted the process too, which keeps its checkpoint
            process.stdin.close()
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
            raise
        errors.seek(0)
        said = errors.read()
    if process.returncode == 0 and cell.result() is not None:
        return ""
    if process.returncode == 130:
        raise KeyboardInterrupt
    if process.returncode < 0:
        return f"killed by signal {-process.returncode} (of memory, where it is 9)"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else f"ended with exit code {process.returncode}"


def end_with_parent():
    """In a cell's process: interrupts it when the process that started it is gone, so that nobody trains in a folder
    which another one is about to continue.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which a script's background job ignores

    def wait():
        os.read(0, 1)  # answers when the other end is closed; sys.stdin would hold a lock at exit
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _text(value):
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _quoted(argument):
    return f'"{argument}"' if set(argument) & set(" []{}'") else argument


def _plain(values):
    return yaml.safe_load(yaml.safe_dump(values))


def seeds_asked(found):
    """Seeds: how many from 2020 on, or a list.

    Args:
        found (int, str or list of int): such as 3, '3', '2020,2021,2022' or [2020, 2021, 2022].

    Returns:
        list[int]: each once.

    Raises:
        ValueError: there is none, or one is no whole number.
    """
    is_list = isinstance(found, list) or "," in str(found)
    texts = [str(part).strip() for part in (found if isinstance(found, list) else str(found).split(","))]
    if not texts or not all(part.isdecimal() for part in texts) or len(set(texts)) < len(texts):
        raise ValueError(f"seeds={found} is not understood: give how many, or each once, such as 2020,2021,2022")
    if is_list:
        return [int(part) for part in texts]
    if not 1 <= int(texts[0]) < FIRST_SEED:
        raise ValueError(f"seeds={found}: give how many, at least 1, or a list such as [2020, 2021, 2022]")
    return [FIRST_SEED + number for number in range(int(texts[0]))]

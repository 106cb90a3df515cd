"""recbole_unirep.training.epoch_log: what a training says: each epoch's numbers, and how long an epoch will take.

The numbers go to metrics.jsonl, TensorBoard, W&B and the log.
"""

import json
from logging import getLogger
from time import perf_counter

from recbole.utils import WandbLogger
from torch.utils.tensorboard import SummaryWriter

from recbole_unirep import parallel
from recbole_unirep.files.whole import unwritten, write_text
from recbole_unirep.runs.folder import METRICS, TENSORBOARD

FIRST_STEPS, FIRST_SECONDS = 100, 60.0  # after so many steps, or so many seconds, an epoch's time is known well enough
LONG = 60.0  # seconds; a shorter epoch ends before anybody asks
MOST_LEVELS = 4  # levels whose numbers the log shows one by one; metrics.jsonl has all


class EpochLog:
    """Writes one record per epoch. With several processes, only the main one writes.

    Args:
        config (Config): the keys of W&B.
        run_dir (Path): the run's folder.
    """

    def __init__(self, config, run_dir):
        self.file = run_dir / METRICS
        self.writes = parallel.is_main()
        self.tensorboard = SummaryWriter(str(run_dir / TENSORBOARD)) if self.writes else None
        self.wandb = WandbLogger(config) if self.writes else None

    def write(self, record, is_best, verbose):
        """Adds the record of an epoch.

        Args:
            record (dict): numbers by name, with `epoch`, and with `stage` if the run has stages.
            is_best (bool): True if the validation score is the best so far.
            verbose (bool): True to add a line to the log.
        """
        if not self.writes:
            return
        try:
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise unwritten(self.file, error) from error
        group = f"{record['stage']}/" if "stage" in record else ""
        for name, value in record.items():
            if name not in ("epoch", "stage"):
                self.tensorboard.add_scalar(group + name, value, record["epoch"])
        self.wandb.log_metrics(record)
        if verbose:
            line = "  ".join(f"{name} {_short(value)}" for name, value in with_lowest_levels(record).items())
            getLogger().info(line + ("  best" if is_best else ""))

    def cut(self, stage, epoch):
        """Drops the lines of a stage from `epoch` on, which will be trained again, and an incomplete last line."""
        if not self.writes or not self.file.is_file():
            return
        lines = [line for line in self.file.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1:] == "\n"]
        records = [(line, json.loads(line)) for line in lines]
        kept = [line for line, record in records if record.get("stage") != stage or record["epoch"] < epoch]
        write_text(self.file, "".join(kept))

    def close(self):
        """Closes TensorBoard's file."""
        if self.writes:
            self.tensorboard.close()


class Pace:
    """Says in the log how long an epoch will take, once its first steps are done. A short epoch says nothing.

    Args:
        n_steps (int): number of steps of the epoch.
    """

    def __init__(self, n_steps):
        self.n_steps, self.n_done, self.is_said, self.started = n_steps, 0, False, perf_counter()

    def step(self):
        """Counts a step that is done."""
        self.n_done += 1
        seconds = perf_counter() - self.started
        if self.is_said or (self.n_done < FIRST_STEPS and seconds < FIRST_SECONDS):
            return
        self.is_said, of_epoch = True, seconds * self.n_steps / self.n_done
        if of_epoch >= LONG and self.n_done < self.n_steps:
            getLogger().info(
                f"{_duration(of_epoch)} per epoch: {self.n_done:,} of {self.n_steps:,} steps took {seconds:.0f} s"
            )


def _duration(seconds):
    """A time in words, for people: 'about 9 min'."""
    return f"about {seconds / 60:.0f} min" if seconds < 2 * 3600 else f"about {seconds / 3600:.1f} hours"


def with_lowest_levels(record):
    """Replaces numbers of more than MOST_LEVELS levels, such as `codebook_usage_1`, ..., by the lowest of each name."""
    levels = {}
    for name in record:
        stem, _, number = name.rpartition("_")
        if number.isdecimal():
            levels.setdefault(stem, []).append(name)
    shown = dict(record)
    for stem, names in levels.items():
        if len(names) > MOST_LEVELS:
            shown[f"lowest {stem}"] = min(shown.pop(name) for name in names)
    return shown


def _short(value):
    return f"{value:.4f}" if isinstance(value, float) else str(value)

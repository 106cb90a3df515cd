"""The work of benchmarks/stock.py by this package, with the functions that `run_recbole` calls.

    python benchmarks/ours.py MEASURE --data_path=FOLDER --dataset=NAME [--KEY=VALUE ...]

Options that the measure does not read are config keys of the run.
"""

import copy
import itertools
import tempfile
from statistics import median
from time import perf_counter

import torch
from measure import arguments, repeated, report, timed
from torch.utils.flop_counter import FlopCounterMode

from recbole_unirep.config import Config
from recbole_unirep.data.sequences import RowBatch, TrainingRows
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.scoring.protocols import evaluate_protocols
from recbole_unirep.training.s3rec import PretrainingStep
from recbole_unirep.training.trainer import EngineTrainer

SETTINGS = {"show_progress": "False", "text_encoder": "minilm"}
OWN_OPTIONS = ("repeats", "users", "steps", "batches")


def configure(options):
    """Returns the config of a run."""
    keys = {"model": "SASRec", **SETTINGS, **options}
    return Config(arguments=[f"--{key}={value}" for key, value in keys.items() if key not in OWN_OPTIONS])


def prepare(options):
    """Returns config, data and trainer of a run."""
    config = configure(options)
    data = load_data(config, one_row_a_user=trains_rows(config))
    config["run_dir"] = tempfile.mkdtemp()
    return config, data, EngineTrainer(config, build_model(config, data.train))


def build(options):
    """Measures the seconds to read, filter, index and split the data."""
    config = configure(options)
    data, seconds = timed(lambda: load_data(config, one_row_a_user=trains_rows(config)))
    report(seconds=seconds, targets=data.train_data.n_targets)


def train(options):
    """Measures the median seconds per epoch, after a warm-up epoch, and its floating-point operations in products."""
    _, data, trainer = prepare(options)
    rows = data.train_data
    trainer._train_epoch(rows, 0)
    seconds = repeated(lambda: trainer._train_epoch(rows, 1), int(options["repeats"]))
    with FlopCounterMode(display=False) as counter:
        trainer._train_epoch(rows, 1)
    report(seconds=seconds, targets=rows.n_targets, flops=counter.get_total_flops())


def pace(options):
    """Measures seconds and targets of the first batches of an epoch, after a warm-up batch, for any model."""
    _, data, trainer = prepare(options)
    warm_up, *measured = itertools.islice(data.train_data, 1 + int(options["batches"]))

    def take(part):
        trainer._train_epoch(some(data.train_data, part), 0)

    take([warm_up])
    _, seconds = timed(lambda: take(measured))
    report(seconds=seconds, targets=sum(map(n_targets, measured)), targets_of_an_epoch=targets_of(data.train_data))


def n_targets(batch):
    """Returns the number of targets, or of pairs, in a batch of our rows or of RecBole's."""
    return len(batch.targets) if isinstance(batch, RowBatch) else len(batch)


def targets_of(train_data):
    """Returns the number of targets, or of pairs, in an epoch."""
    return train_data.n_targets if isinstance(train_data, TrainingRows) else len(train_data.dataset)


def pretrain(options):
    """Measures seconds and sequences of S3Rec's first pre-training batches, after a warm-up batch."""
    _, data, trainer = prepare(options)
    model, loss = trainer.model.train(), PretrainingStep(trainer.model)

    trainer.optimization.total_steps = 1 + int(options["batches"])

    def take(n_batches):
        for batch in itertools.islice(data.train_data, n_batches):
            trainer.optimization.step(trainer.optimizer, sum(loss(batch)))

    take(1)
    n_batches = int(options["batches"])
    _, seconds = timed(lambda: take(n_batches))
    n_sequences = n_batches * data.train_data.batch_size
    report(
        seconds=seconds,
        targets=n_sequences,
        targets_of_an_epoch=len(data.train_data.dataset),
        attributes=model.n_features,
    )


def step(options):
    """Measures the median seconds per training step, after three warm-up steps."""
    _, data, trainer = prepare(options)
    seconds = []
    for batch in data.train_data:
        _, took = timed(lambda batch=batch: trainer._train_epoch(some(data.train_data, [batch]), 0))
        seconds.append(took)
        if len(seconds) == int(options["steps"]) + 3:
            break
    report(seconds=median(seconds[3:]), steps=len(seconds) - 3)


def some(train_data, batches):
    """Returns training data that are like `train_data`, but consist of some batches."""

    class Some(type(train_data)):
        def __len__(self):
            return len(batches)

        def __iter__(self):
            return iter(batches)

    part = copy.copy(train_data)
    part.__class__ = Some
    return part


def evaluate(options):
    """Measures the seconds to draw candidates and rank the test targets among them, and the seconds to rank again."""
    config, data, trainer = prepare(options)
    trainer.model.eval()

    def rank():
        return evaluate_protocols(trainer.model, data.test, ["uni99"], config, None)

    _, first = timed(rank)
    report(seconds=first, seconds_again=repeated(rank, int(options["repeats"])), users=len(data.test))


def full(options):
    """Measures the seconds to rank the test targets among all items."""
    config, data, trainer = prepare(options)
    trainer.model.eval()
    _, seconds = timed(lambda: evaluate_protocols(trainer.model, data.test, ["full"], config, None))
    report(seconds=seconds, users=len(data.test), items=data.train.item_num - 1)


def product(options):
    """Measures floating-point operations per second of a large matrix product, the machine's upper limit."""
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    left @ right
    started, times = perf_counter(), 0
    while perf_counter() - started < 2:
        left @ right
        times += 1
    report(flops_per_second=times * 2 * 2048**3 / (perf_counter() - started))


if __name__ == "__main__":
    measure, given = arguments()
    measures = (build, train, pace, pretrain, step, evaluate, full, product)
    {function.__name__: function for function in measures}[measure](given)

"""Measures stock RecBole 1.2.1: its own Config, loaders, Trainer and evaluator, in float32, with its own settings.

    python benchmarks/stock.py MEASURE --data_path=FOLDER --dataset=NAME ...

The script changes only what the run needs to work (columns, no negatives with the softmax, names that numpy 2 dropped),
and what makes it the same task (5-core, leave-one-out by time, 99 sampled candidates).
"""

import itertools

from measure import arguments, report, timed

from recbole_unirep.compat.workarounds import add_numpy_names

add_numpy_names()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, get_trainer, init_seed  # noqa: E402

TASK = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "user_inter_num_interval": "[5,inf)",
    "item_inter_num_interval": "[5,inf)",
    "train_neg_sample_args": None,
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "uni99"},
    "metrics": ["Hit", "NDCG"],
    "topk": [1, 5, 10, 20],
    "valid_metric": "NDCG@10",
    "show_progress": False,
}


class Slice:
    """The first batches of a RecBole loader; all other attributes are the loader's."""

    def __init__(self, loader, n_batches):
        self.loader, self.n_batches = loader, n_batches

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def __len__(self):
        return self.n_batches

    def __iter__(self):
        return itertools.islice(iter(self.loader), self.n_batches)


def prepare(options):
    """Returns trainer and loaders of a model, and the seconds to make the loaders."""
    name = options.get("model", "SASRec")
    keys = {**TASK, "eval_batch_size": int(options.get("eval_batch_size", 4096))}
    if "data_path" in options:
        keys["data_path"] = options["data_path"]
    if "item_attribute" in options:
        attribute = options["item_attribute"]
        keys |= {"item_attribute": attribute, "load_col": {**TASK["load_col"], "item": ["item_id", attribute]}}
    if "negatives" in options:
        keys["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": int(options["negatives"])}
    if options.get("core") == "0":
        keys |= {"user_inter_num_interval": "[0,inf)", "item_inter_num_interval": "[0,inf)"}
    config = Config(model=name, dataset=options["dataset"], config_dict=keys)
    init_seed(config["seed"], config["reproducibility"])
    (dataset, loaders), seconds = timed(lambda: _data(config))
    model = get_model(name)(config, loaders[0].dataset).to(config["device"])
    return get_trainer(config["MODEL_TYPE"], name)(config, model), loaders, seconds


def _data(config):
    dataset = create_dataset(config)
    return dataset, data_preparation(config, dataset)


def build(options):
    """Measures the seconds to read, filter, index, split and augment the data."""
    report(seconds=prepare(options)[2])


def train(options):
    """Measures seconds and targets of the first batches of an epoch, after a warm-up batch."""
    trainer, (loader, _, _), _ = prepare(options)
    n_batches = int(options["batches"])
    trainer._train_epoch(Slice(loader, 1), 0)
    _, seconds = timed(lambda: trainer._train_epoch(Slice(loader, n_batches), 0))
    attributes = getattr(trainer.model, "n_features", None)
    n_targets = n_batches * loader.batch_size
    report(seconds=seconds, targets=n_targets, targets_of_an_epoch=len(loader.dataset), attributes=attributes)


def evaluate(options):
    """Measures seconds and users of the first batches of a sampled evaluation, after a warm-up batch."""
    trainer, (_, _, loader), _ = prepare(options)
    users = loader.step if hasattr(loader, "step") else loader.batch_size // 100
    n_batches = min(len(loader), max(1, int(options["users"]) // users))
    trainer.evaluate(Slice(loader, 1), load_best_model=False)
    _, seconds = timed(lambda: trainer.evaluate(Slice(loader, n_batches), load_best_model=False))
    n_users = min(n_batches * users, len(loader.dataset))
    report(seconds=seconds, users=n_users, users_of_the_split=len(loader.dataset))


if __name__ == "__main__":
    measure, given = arguments()
    {"build": build, "train": train, "evaluate": evaluate}[measure](given)

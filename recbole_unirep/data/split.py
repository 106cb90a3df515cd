"""recbole_unirep.data.split: splits a dataset into training data and held-out targets."""

import math
from logging import getLogger
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.data.utils import create_samplers, get_dataloader
from recbole.sampler import KGSampler
from recbole.utils import ModelType

from recbole_unirep.data.candidates import Targets, candidates_hash, earlier_items, sampled_candidates, tie_priority
from recbole_unirep.data.cold_items import check_cold_items, n_training_items
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.data.negatives import make_negatives
from recbole_unirep.data.sequences import RowCut, TrainingRows

EPOCHS, STEPS = 12, 1300  # fewest of a schedule whose length follows from the data


class HeldOut:
    """Held-out targets of one split, with the data to rank them.

    Args:
        config (Config): RecBole's or ours.
        dataset (recbole Dataset): the split's part of a dataset from `create_dataset`.
        n_before (np.ndarray): number of each user's items before the first target of this split, shape: [n_users].
        item_counts (np.ndarray): number of each item's training interactions, shape: [n_items].
        split (str): 'valid' or 'test'.

    Raises:
        ValueError: the targets are not each user's last interactions.
    """

    def __init__(self, config, dataset, n_before, item_counts, split):
        self.config, self.dataset, self.item_counts, self.split = config, dataset, item_counts, split
        self.interactions = dataset.inter_feat
        self.sequences = dataset.sequences
        self.whole_sequences, self.place_in_whole = dataset.whole_sequences, dataset.place_in_whole
        self.n_training_items = n_training_items(dataset)
        self.user_tokens = dataset.field2id_token[dataset.uid_field]
        self.item_tokens = dataset.field2id_token[dataset.iid_field]
        self.targets = _targets(self.interactions[dataset.uid_field], self.interactions[dataset.iid_field], n_before)
        self._check_order()
        self.tie_priority = tie_priority(self.item_tokens, config["candidates_seed"])
        self._candidates = None

    def __len__(self):
        return len(self.targets.users)

    @property
    def n_own_items(self):
        """Number of item ids, padding included, without items added after training; a dataset has no such items."""
        return len(self.item_tokens)

    @property
    def candidates(self):
        """Sampled negatives of protocol uni99, drawn once, shape: [n, 99], int64."""
        if self._candidates is None:
            self._candidates = sampled_candidates(
                sequences=self.whole_sequences,
                users=self.targets.users,
                user_tokens=self.user_tokens,
                item_tokens=self.item_tokens,
                seed=self.config["candidates_seed"],
                split=self.split,
            )
        return self._candidates

    @property
    def candidates_hash(self):
        """SHA-256 of the sampled negatives."""
        return candidates_hash(self.targets.users, self.candidates, self.user_tokens, self.item_tokens)

    def earlier_of(self, rows):
        """Lists interactions before the targets of `rows`: place in `rows` and item, shape: [n_earlier] each, int64."""
        targets = Targets(*(part[rows] for part in self.targets))
        if self.place_in_whole is not None:
            users = targets.users.numpy()
            place = self.place_in_whole[self.sequences.offsets[users] + targets.positions.numpy()]
            targets = targets._replace(positions=torch.from_numpy(place - self.whole_sequences.offsets[users]))
        return earlier_items(self.whole_sequences, targets)

    def batches(self, batch_size, rows=None):
        """Returns row numbers of each batch; users with histories of similar length are together.

        With `rows` [n], int64, only these rows are in batches, and the numbers are places in `rows`.
        """
        positions = self.targets.positions if rows is None else self.targets.positions[rows]
        return torch.argsort(positions, stable=True).split(batch_size)

    def _check_order(self):
        place = self.sequences.offsets[self.targets.users.numpy()] + self.targets.positions.numpy()
        if not np.array_equal(self.sequences.items[place], self.targets.items.numpy()):
            raise ValueError(
                f"eval_args {self.config['eval_args']}: the {self.split} interactions are not each user's last: use "
                f"split: {{LS: valid_and_test}}, order: TO, group_by: user"
            )


class Data(NamedTuple):
    """A split dataset.

    Attributes:
        train (recbole Dataset): the training part.
        train_data (TrainingRows or RecBole's loader): batches for the trainer.
        valid (HeldOut or RecBole's loader): validation targets; a loader only under protocol recbole.
        test (HeldOut or RecBole's loader): test targets; a loader only under protocol recbole.
        fingerprint (str): SHA-256 of users, items and each user's order.
    """

    train: Any
    train_data: Any
    valid: HeldOut
    test: HeldOut
    fingerprint: str


def load_data(config, one_row_a_user):
    """Filters and splits a dataset.

    Args:
        config (Config): ours.
        one_row_a_user (bool): True trains on our rows, by user or target as `training_rows` says; False uses RecBole's
            loader.

    Returns:
        Data: with leave-one-out, every kind of model has the same split.

    Raises:
        ValueError: training, validation or test is empty, or `benchmark_filename` gives the split as files.
    """
    if config["benchmark_filename"]:
        raise ValueError(
            f"benchmark_filename={config['benchmark_filename']}: all models share one split by time: put all "
            f"interactions into {config['dataset']}.inter and leave the key out"
        )
    check_cold_items(config, one_row_a_user)
    dataset = create_dataset(config)
    parts = dataset.build_for_rows() if one_row_a_user else dataset.build()
    train, valid, test = parts
    if not len(train.inter_feat) or not len(valid.inter_feat) or not len(test.inter_feat):
        raise ValueError(
            f"{config['dataset']}: eval_args {config['eval_args']} leave training, validation or test empty: "
            f"leave-one-out needs users with at least 4 interactions"
        )
    n_rows = [np.bincount(part.inter_feat[part.uid_field].numpy(), minlength=part.user_num) for part in parts]
    is_sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    n_training = n_rows[0] + int(is_sequential)  # sequential rows are targets, and a user's first item is not a target
    if one_row_a_user:
        train_data = _rows(config, train, n_training)
    else:
        for key in ("crop", "reorder"):
            if config[key]:
                raise ValueError(f"{key}={config[key]} is for training_rows user and target: leave the key out")
        train_data = recbole_loader(config, dataset, train, create_samplers(config, dataset, parts)[0])
    fit_schedule(config, len(train_data))
    item_counts = train.sequences.item_counts(n_training, train.item_num)
    users, items = (train.field2id_token[field] for field in (train.uid_field, train.iid_field))
    fingerprint = train.sequences.fingerprint(users, items)
    getLogger().info(f"dataset_fingerprint {fingerprint}")
    return Data(
        train,
        train_data,
        HeldOut(config, valid, n_training, item_counts, "valid"),
        HeldOut(config, test, n_training + n_rows[1], item_counts, "test"),
        fingerprint,
    )


def _rows(config, train, n_training):
    one_target = config["training_rows"] == "target"
    return TrainingRows(
        sequences=train.sequences,
        n_training=n_training,
        cut=RowCut(config["MAX_ITEM_LIST_LENGTH"], one_target, config["crop"], config["reorder"]),
        rows_per_batch=config["train_batch_size" if one_target else "users_per_batch"],
        negatives=make_negatives(config, train.sequences, n_training, n_training_items(train)),
        seed=config["seed"],
        n_items=n_training_items(train),
    )


def fit_schedule(config, steps_per_epoch):
    """Sets `epochs` and `stopping_step` from the data if the config leaves them open.

    `epochs` becomes EPOCHS, or as many as make STEPS steps; without `stopping_step` training runs to their end.

    Args:
        config (Config): RecBole's or ours; changed.
        steps_per_epoch (int): number of batches.
    """
    if config["epochs"] is None:
        config["epochs"] = max(EPOCHS, math.ceil(STEPS / steps_per_epoch))
    if config["stopping_step"] is None:
        config["stopping_step"] = config["epochs"]


def recbole_loader(config, dataset, train, sampler):
    """Builds RecBole's own training loader.

    Args:
        config (Config): RecBole's or ours.
        dataset (recbole Dataset): the whole dataset.
        train (recbole Dataset): its training part.
        sampler (recbole Sampler or None): draws negatives.
    """
    loader = get_dataloader(config, "train")
    if config["MODEL_TYPE"] == ModelType.KNOWLEDGE:
        negatives = config["train_neg_sample_args"]
        kg_sampler = KGSampler(dataset, negatives["distribution"], negatives["alpha"])
        return loader(config, train, sampler, kg_sampler, shuffle=True)
    return loader(config, train, sampler, shuffle=config["shuffle"])


def _targets(users, items, n_before):
    """Builds Targets with the number of earlier items; a user's rows of one split must be in time order."""
    order = np.argsort(users.numpy(), kind="stable")
    sorted_users = users.numpy()[order]
    is_first = np.diff(sorted_users, prepend=-1) != 0
    row = np.arange(len(order))
    within = row - np.maximum.accumulate(np.where(is_first, row, 0))
    positions = np.empty(len(order), dtype=np.int64)
    positions[order] = n_before[sorted_users] + within
    return Targets(users, items, torch.from_numpy(positions))

"""recbole_unirep.data.cold_items: a split with cold items, which training excludes and the test ranks.

A cold item is never an input, a target, a negative or a softmax row in training, and nothing is fitted on its text. It
stays in the catalogue, so it is ranked, and it is a test target if it is a user's last item. Cold items have the
largest ids: training uses the ids below `n_training_items`.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from recbole.utils import ModelType

SPLITS = ("leave_one_out", "cold_items")
LEAVE_ONE_OUT = {"LS": "valid_and_test"}


class LearnsNothing:
    """Mixin of a rule-based model, which learns nothing from any item."""


class ColdItems(NamedTuple):
    """Chooses the cold items.

    Attributes:
        share (float): fraction of items that are cold, between 0 and 1.
        seed (int): seed of the choice.
    """

    share: float
    seed: int

    def among(self, item_tokens):
        """Marks the items with the smallest hashes of seed and token as cold; ids do not matter.

        Args:
            item_tokens (np.ndarray): token of each item id, row 0 is padding, shape: [n_items].

        Returns:
            np.ndarray: True for cold items, False for padding, shape: [n_items], bool.

        Raises:
            ValueError: no item or every item would be cold.
        """
        n_cold = round(self.share * (len(item_tokens) - 1))
        if not 0 < n_cold < len(item_tokens) - 1:
            raise ValueError(
                f"cold_item_share={self.share} makes {n_cold} of {len(item_tokens) - 1} items cold: give a share that "
                f"makes some items cold, but not all"
            )
        texts = [f"{self.seed}\0{token}".encode() for token in item_tokens[1:]]
        hashes = [hashlib.blake2b(text, digest_size=16).digest() for text in texts]
        is_cold = np.zeros(len(item_tokens), dtype=bool)
        is_cold[1 + np.array(sorted(range(len(hashes)), key=hashes.__getitem__)[:n_cold])] = True
        return is_cold


def requested_cold_items(config):
    """Returns the ColdItems of `split: cold_items`, or None for another split.

    Args:
        config (Config): RecBole's or ours.

    Raises:
        ValueError: the split is unknown, or `eval_args` do not split by leave-one-out.
    """
    split = config["split"] or SPLITS[0]
    if split not in SPLITS:
        raise ValueError(f"split={split} is not known: choose one of {', '.join(SPLITS)}")
    if split == SPLITS[0]:
        return None
    if config["eval_args"]["split"] != LEAVE_ONE_OUT:
        raise ValueError(
            f"split={split} needs leave-one-out, eval_args splits by {config['eval_args']['split']}: leave eval_args "
            f"out, or set its split: {LEAVE_ONE_OUT}"
        )
    return ColdItems(config["cold_item_share"], config["cold_item_seed"])


def check_cold_items(config, trains_rows):
    """Raises ValueError if training would use cold items in spite of the split.

    Args:
        config (Config): ours.
        trains_rows (bool): True if the model trains on our rows, False if it trains on RecBole's.
    """
    trains_rows = trains_rows and config["train_stage"] != "pretrain"  # pre-training uses RecBole's rows
    learns_nothing = config["MODEL_TYPE"] == ModelType.TRADITIONAL or issubclass(config.model_class, LearnsNothing)
    if requested_cold_items(config) and not (trains_rows or learns_nothing):
        raise ValueError(
            f"split={config['split']}: RecBole's own training of {config['model']} takes negatives and softmax rows "
            f"from all items, including cold ones: use a model that trains on user sequences (UniRep, TIGER, LIGER, "
            f"SASRec, GRU4Rec, HSTU, BERT4Rec with loss_type=CE), or a rule such as TextKNN or Pop"
        )


def n_training_items(dataset):
    """Returns the number of item ids that training uses, padding included.

    Args:
        dataset (recbole Dataset): ours or RecBole's own.
    """
    return getattr(dataset, "n_training_items", dataset.item_num)


def kept_interactions(users, items, n_training):
    """Marks the interactions to keep: all with warm items, and a user's last one if two warm ones come before it.

    With fewer than three interactions per user, leave-one-out would train on the last one.

    Args:
        users (np.ndarray): user of each interaction, in order of time, shape: [n], int64.
        items (np.ndarray): item of each interaction, shape: [n], int64.
        n_training (int): smallest id of a cold item.

    Returns:
        np.ndarray: True for interactions to keep, shape: [n], bool.
    """
    is_warm = items < n_training
    last = np.zeros(users.max(initial=0) + 1, dtype=np.int64)
    last[users] = np.arange(len(users))  # numpy keeps a user's last row
    n_warm = np.bincount(users[is_warm], minlength=len(last))
    is_tested = (last[users] == np.arange(len(users))) & (n_warm[users] >= 2)
    return is_warm | is_tested

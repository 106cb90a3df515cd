"""recbole_unirep.data.cold_items: a split that keeps some items out of training, to see how a model ranks new ones.

A cold item is no input, target, negative or softmax row, and nothing is fitted on its text; it stays in the catalogue,
so that it is ranked, and it is a test target where it is a user's last item. The ids of cold items come last: what
trains reads the ids below `n_training_items`.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from recbole.utils import ModelType

SPLITS = ("leave_one_out", "cold_items")
LEAVE_ONE_OUT = {"LS": "valid_and_test"}


class LearnsNothing:
    """Mixin of a model that is a rule: it learns nothing from any item."""


class ColdItems(NamedTuple):
    """Which items are cold.

    Attributes:
        share (float): of the items, between 0 and 1.
        seed (int): with the items' tokens, decides which.
    """

    share: float
    seed: int

    def among(self, item_tokens):
        """Whether each item is cold: those whose hashes are the smallest, whatever their numbering.

        Args:
            item_tokens (np.ndarray): token of each item id, row 0 pads, shape: [n_items].

        Returns:
            np.ndarray: shape: [n_items], bool; padding is not cold.

        Raises:
            ValueError: no item or every item would be cold.
        """
        n_cold = round(self.share * (len(item_tokens) - 1))
        if not 0 < n_cold < len(item_tokens) - 1:
            raise ValueError(
                f"cold_item_share={self.share} makes {n_cold} of {len(item_tokens) - 1} items cold: give a share that "
                f"leaves some cold and some not"
            )
        texts = [f"{self.seed}\0{token}".encode() for token in item_tokens[1:]]
        hashes = [hashlib.blake2b(text, digest_size=16).digest() for text in texts]
        is_cold = np.zeros(len(item_tokens), dtype=bool)
        is_cold[1 + np.array(sorted(range(len(hashes)), key=hashes.__getitem__)[:n_cold])] = True
        return is_cold


def cold_items_asked(config):
    """The cold items that the key `split` asks for, or None.

    Args:
        config (Config): RecBole's or ours.

    Raises:
        ValueError: the split is unknown, or cold items can't be held out of this split.
    """
    split = config["split"] or SPLITS[0]
    if split not in SPLITS:
        raise ValueError(f"split={split} is not known: choose one of {', '.join(SPLITS)}")
    if split == SPLITS[0]:
        return None
    if config["eval_args"]["split"] != LEAVE_ONE_OUT:
        raise ValueError(
            f"split={split} takes cold items out of leave-one-out, eval_args splits by {config['eval_args']['split']}: "
            f"leave the key out, or use split: {LEAVE_ONE_OUT}"
        )
    return ColdItems(config["cold_item_share"], config["cold_item_seed"])


def check_cold_items(config, learns_in_rows):
    """Raises ValueError where a model would learn from cold items all the same.

    Args:
        config (Config): ours.
        learns_in_rows (bool): whether our rows train the model.
    """
    learns_in_rows = learns_in_rows and config["train_stage"] != "pretrain"  # which has RecBole's rows
    learns_by_rule = config["MODEL_TYPE"] == ModelType.TRADITIONAL or issubclass(config.model_class, LearnsNothing)
    if cold_items_asked(config) and not (learns_in_rows or learns_by_rule):
        raise ValueError(
            f"split={config['split']}: RecBole's own training of {config['model']} takes negatives and softmax rows "
            f"from all items, cold ones too: use a model that trains in rows of users or targets (UniRep, TIGER, "
            f"LIGER, SASRec, GRU4Rec, HSTU, BERT4Rec with loss_type=CE), or a rule such as TextKNN or Pop"
        )


def n_training_items(dataset):
    """Number of item ids that take part in training, padding included.

    Args:
        dataset (recbole Dataset): ours or RecBole's own.
    """
    return getattr(dataset, "n_training_items", dataset.item_num)


def is_left(users, items, n_training):
    """Whether an interaction stays: those with cold items go, unless they are a user's last of at least three.

    With fewer left leave-one-out would train on the last one.

    Args:
        users (np.ndarray): users of interactions that stand in order of time, shape: [n], int64.
        items (np.ndarray): their items, shape: [n], int64.
        n_training (int): ids from here on are cold.

    Returns:
        np.ndarray: shape: [n], bool.
    """
    is_warm = items < n_training
    last = np.zeros(users.max(initial=0) + 1, dtype=np.int64)
    last[users] = np.arange(len(users))  # of several rows of a user the last one is kept
    n_warm = np.bincount(users[is_warm], minlength=len(last))
    is_tested = (last[users] == np.arange(len(users))) & (n_warm[users] >= 2)
    return is_warm | is_tested

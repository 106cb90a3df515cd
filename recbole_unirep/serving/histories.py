"""recbole_unirep.serving.histories: the histories that recommendations are asked for, as scorers read them.

A model reads what evaluation lets it read: the last MAX_ITEM_LIST_LENGTH items that took part in training, or were
added to the run since. Every item of the history is an earlier one.
"""

from typing import NamedTuple, Optional

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.utils import ModelType

from recbole_unirep.data.behaviours import BEHAVIOUR
from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.scoring.model_contract import Generative


class Asked(NamedTuple):
    """Rows that recommendations are asked for.

    Attributes:
        sequences (UserSequences): histories, in order of time.
        rows (np.ndarray): which of them, shape: [n], int64.
        users (np.ndarray or None): user id of each row; None where histories have no user; shape: [n], int64.
    """

    sequences: UserSequences
    rows: np.ndarray
    users: Optional[np.ndarray]

    def parts(self, size):
        """The rows in parts of so many, each with sequences of its own."""
        for first in range(0, len(self.rows), size):
            part = slice(first, first + size)
            users = None if self.users is None else self.users[part]
            histories = gathered(self.sequences, self.rows[part])
            yield Asked(histories, np.arange(len(histories.offsets) - 1), users)


class ReadItems(NamedTuple):
    """Item ids that a model reads: those that took part in training, and those that were added since.

    Attributes:
        n_trained (int): ids below it took part in training; padding is one of them.
        first_added (int): ids from here on were added.
    """

    n_trained: int
    first_added: int

    def part_of(self, sequences):
        """Histories without the other items, which evaluation shows to no model."""
        is_read = (sequences.items < self.n_trained) | (sequences.items >= self.first_added)
        n_read = np.append(0, np.cumsum(is_read))
        return sequences.part(is_read, n_read[sequences.offsets])


class Histories:
    """What `make_scorer` asks of data, for B rows.

    Args:
        config (Config): the run's.
        dataset (recbole Dataset): the training part.
        model (recbole AbstractRecommender): of the run.
        asked (Asked): a part of it, whose rows are its sequences.
        read_items (ReadItems): items that the model reads.
    """

    def __init__(self, config, dataset, model, asked, read_items):
        self.config, self.dataset, self.asked = config, dataset, asked
        self.n_own_items = read_items.first_added
        self.item_tokens = dataset.field2id_token[dataset.iid_field]
        is_sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        histories = asked.sequences
        read = read_items.part_of(histories) if is_sequential else histories
        self.length = torch.from_numpy(np.diff(read.offsets))
        columns = {}
        if asked.users is not None:
            columns[dataset.uid_field] = torch.from_numpy(asked.users)
        elif isinstance(model, Generative):  # has a token for names that nobody has
            columns[dataset.uid_field] = torch.zeros_like(self.length)
        if is_sequential:
            width = config["MAX_ITEM_LIST_LENGTH"]
            columns[model.ITEM_SEQ], columns[model.ITEM_SEQ_LEN] = _padded(read.items, read.offsets, width)
            if read.behaviours is not None:
                of_items = _padded(read.behaviours, read.offsets, width)[0]
                columns[BEHAVIOUR + config["LIST_SUFFIX"]] = of_items
        self.interactions = Interaction(columns)

    def __len__(self):
        return len(self.length)

    def batches(self, batch_size):
        """Row numbers of each batch, histories of like length together, as evaluation has them."""
        return torch.argsort(self.length, stable=True).split(batch_size)

    def earlier_of(self, rows):
        """Places in `rows` and items of their histories, shape: [n_earlier] each, int64."""
        histories = gathered(self.asked.sequences, rows.numpy())
        place = np.repeat(np.arange(len(rows)), np.diff(histories.offsets))
        return torch.from_numpy(place), torch.from_numpy(histories.items)


def gathered(sequences, rows):
    """The sequences of some rows, in their order.

    Args:
        sequences (UserSequences): n of them.
        rows (np.ndarray): shape: [m], int64.

    Returns:
        UserSequences: m of them.
    """
    start, size = sequences.offsets[rows], sequences.offsets[rows + 1] - sequences.offsets[rows]
    offsets = np.append(0, np.cumsum(size))
    place = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], size)
    return sequences.part(place, offsets)


def _padded(values, offsets, width):
    """The last values of each row, 0 pads on the right, shape: [B, width], and their number, shape: [B]; int64."""
    size = np.diff(offsets)
    length = np.minimum(size, width)
    place = (offsets[1:] - length)[:, None] + np.arange(width)
    is_item = np.arange(width) < length[:, None]
    items = np.zeros((len(size), width), dtype=np.int64)
    items[is_item] = values[place[is_item]]
    return torch.from_numpy(items), torch.from_numpy(length)

"""recbole_unirep.serving.histories: histories to recommend for, in the form that scorers read.

As in evaluation, a model reads the last MAX_ITEM_LIST_LENGTH items that took part in training or were added to the run
afterwards. All items of a history count as seen items, also those that the model does not read.
"""

from typing import NamedTuple

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.utils import ModelType

from recbole_unirep.data.behaviours import BEHAVIOUR
from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.scoring.model_contract import Generative


class Requests(NamedTuple):
    """Histories to recommend for.

    Attributes:
        sequences (UserSequences): histories in order of time.
        rows (np.ndarray): indices of the requested sequences, shape: [n], int64.
        users (np.ndarray or None): user id of each row; None if histories have no user; shape: [n], int64.
    """

    sequences: UserSequences
    rows: np.ndarray
    users: np.ndarray | None

    def parts(self, size):
        """Yields the rows in parts of at most `size`; each part holds only the sequences of its rows."""
        for first in range(0, len(self.rows), size):
            part = slice(first, first + size)
            users = None if self.users is None else self.users[part]
            histories = selected(self.sequences, self.rows[part])
            yield Requests(histories, np.arange(len(histories.offsets) - 1), users)


class ReadItems(NamedTuple):
    """Item ids that a model reads: those that took part in training and those added afterwards.

    Attributes:
        n_trained (int): ids below it took part in training (id 0 is padding).
        first_added (int): ids from here on were added after training.
    """

    n_trained: int
    first_added: int

    def filtered(self, sequences):
        """Returns the histories without items that the model does not read."""
        is_read = (sequences.items < self.n_trained) | (sequences.items >= self.first_added)
        n_read = np.append(0, np.cumsum(is_read))
        return sequences.part(is_read, n_read[sequences.offsets])


class Histories:
    """Data of B requests, with the interface that `make_scorer` needs.

    Args:
        config (Config): config of the run.
        dataset (recbole Dataset): training part of the run's data.
        model (recbole AbstractRecommender): model of the run.
        requests (Requests): one part of `Requests.parts`, whose rows are all its sequences.
        read_items (ReadItems): items that the model reads.
    """

    def __init__(self, config, dataset, model, requests, read_items):
        self.config, self.dataset, self.requests = config, dataset, requests
        self.n_own_items = read_items.first_added
        self.item_tokens = dataset.field2id_token[dataset.iid_field]
        is_sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        histories = requests.sequences
        read = read_items.filtered(histories) if is_sequential else histories
        self.length = torch.from_numpy(np.diff(read.offsets))
        columns = {}
        if requests.users is not None:
            columns[dataset.uid_field] = torch.from_numpy(requests.users)
        elif isinstance(model, Generative):  # has a token for unknown users
            columns[dataset.uid_field] = torch.zeros_like(self.length)
        if is_sequential:
            width = config["MAX_ITEM_LIST_LENGTH"]
            columns[model.ITEM_SEQ], columns[model.ITEM_SEQ_LEN] = _padded(read.items, read.offsets, width)
            if read.behaviours is not None:
                padded = _padded(read.behaviours, read.offsets, width)[0]
                columns[BEHAVIOUR + config["LIST_SUFFIX"]] = padded
        self.interactions = Interaction(columns)

    def __len__(self):
        return len(self.length)

    def batches(self, batch_size):
        """Splits row indices into batches of histories of similar length, as in evaluation."""
        return torch.argsort(self.length, stable=True).split(batch_size)

    def earlier_of(self, rows):
        """Returns (index into `rows`, item id) of all seen items, shape: [n_seen] each, int64."""
        histories = selected(self.requests.sequences, rows.numpy())
        place = np.repeat(np.arange(len(rows)), np.diff(histories.offsets))
        return torch.from_numpy(place), torch.from_numpy(histories.items)


def selected(sequences, rows):
    """Returns the sequences with the given indices.

    Args:
        sequences (UserSequences): n sequences.
        rows (np.ndarray): indices, shape: [m], int64.

    Returns:
        UserSequences: m sequences, in the order of `rows`.
    """
    start, size = sequences.offsets[rows], sequences.offsets[rows + 1] - sequences.offsets[rows]
    offsets = np.append(0, np.cumsum(size))
    place = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], size)
    return sequences.part(place, offsets)


def _padded(values, offsets, width):
    """The last values of each row, 0 pads on the right, shape: [B, width]; their counts, shape: [B]; both int64."""
    size = np.diff(offsets)
    length = np.minimum(size, width)
    place = (offsets[1:] - length)[:, None] + np.arange(width)
    is_item = np.arange(width) < length[:, None]
    items = np.zeros((len(size), width), dtype=np.int64)
    items[is_item] = values[place[is_item]]
    return torch.from_numpy(items), torch.from_numpy(length)

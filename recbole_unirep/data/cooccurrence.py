"""recbole_unirep.data.cooccurrence: counts of items that follow each other or occur together in training.

Reference:
    Omer Levy, Yoav Goldberg. "Neural Word Embedding as Implicit Matrix Factorization", NeurIPS 2014 (positive
        pointwise mutual information, factorized).
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import svds
from torch import Tensor

from recbole_unirep.data.sequences import WINDOW

GRAPH_WINDOW = 5  # items of a user co-occur if their places in the sequence differ by at most this


class ItemTransitions(NamedTuple):
    """Successors of every item; the successors of item i are entries `offsets[i]` to `offsets[i + 1] - 1`.

    Attributes:
        offsets (Tensor): first entry of each item, shape: [n_items + 1], int64.
        items (Tensor): ids of the successors, ascending per item, shape: [N], int64.
        values (Tensor): counts of the pairs, weighted by 1 / distance, times the item's scale; shape: [N], float32.
        scale (Tensor): 1 / sqrt(sum of the item's weighted counts, at least 1); shape: [n_items], float32.
    """

    offsets: Tensor
    items: Tensor
    values: Tensor
    scale: Tensor

    def holds(self, item, successor):
        """True for each pair whose count is stored; shape: [P] each."""
        low, end = self.offsets[item], self.offsets[item + 1]
        high = end
        for _ in range(int((high - low).max()).bit_length() if len(item) else 0):  # bisection in all rows at once
            middle = (low + high) // 2
            is_below = (low < high) & (self.items[middle.clamp(max=len(self.items) - 1)] < successor)
            low, high = torch.where(is_below, middle + 1, low), torch.where(is_below, high, middle)
        return (low < end) & (self.items[low.clamp(max=len(self.items) - 1)] == successor)


def following_counts(sequences, n_first, n_items, window):
    """Counts how often one item follows another within a window, each time weighted by 1 / distance.

    Args:
        sequences (UserSequences): each user's items in time order.
        n_first (np.ndarray): number of each user's first items to count, shape: [n_users].
        n_items (int): number of item ids, padding included.
        window (int): largest distance between the places of the two items.

    Returns:
        sparse.csr_array: rows are the earlier items, columns the later ones; shape: [n_items, n_items], float64.
    """
    is_training = sequences.is_among_first(n_first)
    users = np.repeat(np.arange(len(sequences.offsets) - 1), np.diff(sequences.offsets))[is_training]
    items = sequences.items[is_training]
    counts = sparse.csr_array((n_items, n_items), dtype=np.float64)
    for step in range(1, window + 1):
        same_user = users[:-step] == users[step:]
        pair = items[:-step][same_user], items[step:][same_user]
        counts += sparse.csr_array((np.full(len(pair[0]), 1 / step), pair), shape=(n_items, n_items))
    return counts


def item_transitions(train, most):
    """Counts the successors of every item in the training interactions.

    Args:
        train (Dataset): training part of a dataset, from `build_for_rows` or `build`.
        most (int): number of successors to keep per item, those with the largest counts.

    Returns:
        ItemTransitions: over all item ids.

    Raises:
        ValueError: see `n_training`.
    """
    n_first = n_training(train, "transition_bias")
    counts = following_counts(train.sequences, n_first, train.item_num, WINDOW)
    scale = 1 / np.sqrt(np.maximum(counts.sum(axis=1), 1))
    counts = _largest(counts, most)
    values = counts.data * np.repeat(scale, np.diff(counts.indptr))
    index = (torch.from_numpy(part.astype(np.int64)) for part in (counts.indptr, counts.indices))
    return ItemTransitions(*index, *(torch.from_numpy(part.astype(np.float32)) for part in (values, scale)))


def _largest(counts, most):
    """Keeps the `most` largest entries of each row, of equal ones those of the lowest columns; columns ascend."""
    counts.sort_indices()
    size = np.diff(counts.indptr)
    row = np.repeat(np.arange(len(size)), size)
    crowded = np.flatnonzero(size[row] > most)
    order = crowded[np.lexsort((-counts.data[crowded], row[crowded]))]  # stable: columns still ascend among equal ones
    kept_of = size[size > most]
    place = np.arange(len(order)) - np.repeat(np.cumsum(kept_of) - kept_of, kept_of)
    is_kept = np.ones(len(row), dtype=bool)
    is_kept[order[place >= most]] = False
    offsets = np.append(0, np.cumsum(np.minimum(size, most)))
    return sparse.csr_array((counts.data[is_kept], counts.indices[is_kept], offsets), shape=counts.shape)


def item_counts(train):
    """Counts each item's training interactions, shape: [n_items], float32.

    Args:
        train (Dataset): training part of a dataset, ours or stock RecBole's with its augmented rows.
    """
    if hasattr(train, "sequences"):
        counts = train.sequences.item_counts(n_training(train, "popularity_bias"), train.item_num)
    else:  # every item but a user's first is the target of a row, and the first is the input of the user's first row
        rows, item = train.inter_feat, train.iid_field
        first = rows[item + train.config["LIST_SUFFIX"]][rows[train.item_list_length_field] == 1, 0]
        counts = np.bincount(torch.cat([rows[item], first]).numpy(), minlength=train.item_num)
    return torch.from_numpy(counts.astype(np.float32))


def n_training(train, key):
    """Number of each user's training items, shape: [n_users].

    Args:
        train (Dataset): training part of a dataset, from `build_for_rows` or `build`.
        key (str): config key that needs the numbers, for the message.

    Raises:
        ValueError: the dataset is stock RecBole's, which does not store each user's items in order.
    """
    if not hasattr(train, "sequences"):
        raise ValueError(
            f"{key} needs each user's items in order, which stock RecBole's dataset does not store: use run_recbole of "
            f"recbole_unirep, or leave the key out"
        )
    return np.bincount(train.inter_feat[train.uid_field].numpy(), minlength=train.user_num) + 1


def graph_vectors(sequences, n_training, n_items, dim, seed):
    """Factorizes the items' positive pointwise mutual information.

    Args:
        sequences (UserSequences): each user's items in time order.
        n_training (np.ndarray): number of each user's training items, shape: [n_users].
        n_items (int): number of item ids, padding included.
        dim (int): size of a vector; with few items the last entries are zero.
        seed (int): seed of the factorization's starting vector.

    Returns:
        np.ndarray: vectors, zeros for items without neighbours, float32, shape: [n_items, dim].
    """
    counts = following_counts(sequences, n_training, n_items, GRAPH_WINDOW)
    counts = (counts + counts.T).tocoo()
    total, of_item = counts.sum(), counts.sum(axis=0)
    information = np.log(counts.data * total / (of_item[counts.row] * of_item[counts.col])).clip(min=0)
    matrix = sparse.csr_array((information, (counts.row, counts.col)), shape=counts.shape)
    n_factors = min(dim, n_items - 2)
    vectors = np.zeros((n_items, dim), dtype=np.float32)
    if n_factors > 0 and matrix.nnz:
        first = np.random.default_rng(seed).standard_normal(n_items)
        left, strength, _ = svds(matrix, k=n_factors, v0=first)
        vectors[:, :n_factors] = left[:, ::-1] * np.sqrt(strength[::-1])
    vectors[np.abs(vectors).max(axis=1) < 1e-8] = 0  # items without neighbours get rounding errors only
    return vectors

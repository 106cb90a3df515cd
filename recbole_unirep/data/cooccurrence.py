"""recbole_unirep.data.cooccurrence: items that follow each other or are taken together in the training interactions.

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

GRAPH_WINDOW = 5  # items of a user that stand so near count as taken together


class ItemTransitions(NamedTuple):
    """Followers of every item: those of item i are the entries `offsets[i]` to `offsets[i + 1]`.

    Attributes:
        offsets (Tensor): shape: [n_items + 1], int64.
        items (Tensor): followers, shape: [N], int64.
        values (Tensor): how often, at one over the distance, times the item's scale; shape: [N], float32.
        scale (Tensor): one over the square root of all that followed an item; shape: [n_items], float32.
    """

    offsets: Tensor
    items: Tensor
    values: Tensor
    scale: Tensor


def following_counts(sequences, n_first, n_items, window):
    """How often an item stood at most so far behind another, at one over the distance.

    Args:
        sequences (UserSequences): each user's items in time order.
        n_first (np.ndarray): how many of each user's count, shape: [n_users].
        n_items (int): number of item ids, padding included.
        window (int): the largest distance.

    Returns:
        sparse.csr_array: row: the earlier item, column: the later one; shape: [n_items, n_items], float64.
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


def item_transitions(train):
    """Followers of every item in training.

    Args:
        train (Dataset): training part of a dataset that `build_for_rows` or `build` made.

    Returns:
        ItemTransitions: over all item ids.

    Raises:
        ValueError: as `n_training`.
    """
    n_first = n_training(train, "transition_bias")
    counts = following_counts(train.sequences, n_first, train.item_num, WINDOW)
    scale = 1 / np.sqrt(np.maximum(counts.sum(axis=1), 1))
    values = counts.data * np.repeat(scale, np.diff(counts.indptr))
    index = (torch.from_numpy(part.astype(np.int64)) for part in (counts.indptr, counts.indices))
    return ItemTransitions(*index, *(torch.from_numpy(part.astype(np.float32)) for part in (values, scale)))


def item_counts(train):
    """How often each item stands in training, shape: [n_items], float32; argument and errors as above."""
    n_first = n_training(train, "popularity_bias")
    counts = train.sequences.item_counts(n_first, train.item_num)
    return torch.from_numpy(counts.astype(np.float32))


def n_training(train, key):
    """How many of each user's items are training, shape: [n_users].

    Args:
        train (Dataset): as above.
        key (str): what needs them, for the message.

    Raises:
        ValueError: the dataset is stock RecBole's, which does not hold each user's items in a row.
    """
    if not hasattr(train, "sequences"):
        raise ValueError(
            f"{key} is made of what each user took in order, which stock RecBole's dataset does not hold: use "
            f"run_recbole of recbole_unirep, or leave the key out"
        )
    return np.bincount(train.inter_feat[train.uid_field].numpy(), minlength=train.user_num) + 1


def graph_vectors(sequences, n_training, n_items, dim, seed):
    """Factors of the items' positive pointwise mutual information.

    Args:
        sequences (UserSequences): each user's items in time order.
        n_training (np.ndarray): how many of each user's are training, shape: [n_users].
        n_items (int): number of item ids, padding included.
        dim (int): dimensions of a vector; fewer where there are fewer items.
        seed (int): of the factorization's first vector.

    Returns:
        np.ndarray: zeros for an item without neighbours, float32, shape: [n_items, dim].
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
    vectors[np.abs(vectors).max(axis=1) < 1e-8] = 0  # the factors of nothing are rounding
    return vectors

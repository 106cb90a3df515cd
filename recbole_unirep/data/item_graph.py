"""item_graph: vectors of items by who takes them together, from the training interactions alone.

Reference:
    Omer Levy, Yoav Goldberg. "Neural Word Embedding as Implicit Matrix Factorization", NeurIPS 2014 (positive pointwise
        mutual information, factorized).
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from recbole_unirep.data.item_transitions import following_counts

WINDOW = 5  # items of a user that stand so near count as taken together


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
    counts = following_counts(sequences, n_training, n_items, WINDOW)
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

"""recbole_unirep.serving.index: faiss index of item vectors, to search the largest inner products.

`faiss` compares all vectors. `hnsw` searches a graph of neighbours: faster, but it may miss items.

Reference:
    Matthijs Douze et al. "The Faiss library", arXiv:2401.08281.
    Yu. A. Malkov, D. A. Yashunin. "Efficient and robust approximate nearest neighbor search using Hierarchical
        Navigable Small World graphs", arXiv:1603.09320.
"""

import faiss
import numpy as np
import torch

NEIGHBOURS, EF_CONSTRUCTION, MIN_EF_SEARCH = 32, 40, 128  # M, efConstruction, minimum of efSearch
INDEXES = ("faiss", "hnsw")


class ItemIndex:
    """Index that finds items by inner product.

    Args:
        table (Tensor): item vectors, row 0 is padding, shape: [n_items, H].
        kind (str): one of INDEXES.
    """

    def __init__(self, table, kind):
        self.is_exact = kind == "faiss"
        vectors = _array(table[1:])
        if self.is_exact:
            self.index = faiss.IndexFlatIP(vectors.shape[1])
        else:
            self.index = faiss.IndexHNSWFlat(vectors.shape[1], NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
            self.index.hnsw.efConstruction = EF_CONSTRUCTION
        self.index.add(vectors)

    def __len__(self):
        return self.index.ntotal

    def search(self, states, n):
        """Finds the items with the largest inner products, up to rounding.

        Args:
            states (Tensor): query vectors, shape: [B, H].
            n (int): items per query, at most the number of items.

        Returns:
            tuple[Tensor, Tensor]: products in descending order, float32, and item ids, int64, shape: [B, n] each. If
            fewer items are found, the rest is -inf with item id 0.
        """
        parameters = None
        if not self.is_exact:
            parameters = faiss.SearchParametersHNSW(efSearch=max(MIN_EF_SEARCH, 2 * n))
        products, place = self.index.search(_array(states), n, params=parameters)
        products = np.where(place < 0, -np.inf, products).astype(np.float32)
        return torch.from_numpy(products).to(states.device), torch.from_numpy(place + 1).to(states.device)


def _array(x):
    return np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float32)

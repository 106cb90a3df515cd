"""recbole_unirep.serving.index: vectors of all items in a faiss index, for the largest inner products.

`faiss` compares all vectors, `hnsw` walks a graph of near ones and misses some, which is what makes it fast.

Reference:
    Matthijs Douze et al. "The Faiss library", arXiv:2401.08281.
    Yu. A. Malkov, D. A. Yashunin. "Efficient and robust approximate nearest neighbor search using Hierarchical
        Navigable Small World graphs", arXiv:1603.09320.
"""

import faiss
import numpy as np
import torch

NEIGHBOURS, EF_CONSTRUCTION, EFFORT = 32, 40, 128  # M, efConstruction, the least efSearch
INDEXES = ("faiss", "hnsw")


class ItemIndex:
    """Items by inner product.

    Args:
        table (Tensor): row 0 is padding's, shape: [n_items, H].
        kind (str): out of INDEXES.
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
        """The items of the largest inner products, up to rounding.

        Args:
            states (Tensor): shape: [B, H].
            n (int): at most the number of items.

        Returns:
            tuple[Tensor, Tensor]: products in falling order, -inf where fewer were found, shape: [B, n], float32; item
            ids, 0 there, shape: [B, n], int64.
        """
        parameters = None
        if not self.is_exact:
            parameters = faiss.SearchParametersHNSW(efSearch=max(EFFORT, 2 * n))
        products, place = self.index.search(_array(states), n, params=parameters)
        products = np.where(place < 0, -np.inf, products).astype(np.float32)
        return torch.from_numpy(products).to(states.device), torch.from_numpy(place + 1).to(states.device)


def _array(x):
    return np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float32)

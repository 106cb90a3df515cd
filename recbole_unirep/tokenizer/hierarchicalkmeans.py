"""HierarchicalKMeans: a tree of clusters, whose paths are semantic IDs of variable length.

Reference:
    David Nistér, Henrik Stewénius. "Scalable Recognition with a Vocabulary Tree", CVPR 2006.
    Yi Tay et al. "Transformer Memory as a Differentiable Search Index" (hierarchical clustering of documents),
        arXiv:2202.06991.

Shapes: N items, K codebook_size, T nodes of the tree.
"""

import torch
from torch import Tensor

from recbole_unirep.tokenizer.clustering import kmeans
from recbole_unirep.tokenizer.distance import nearest
from recbole_unirep.tokenizer.fitted import FittedTokenizer


class HierarchicalKMeans(FittedTokenizer):
    """Splits each cluster again, until it is small or the tree is deep enough.

    Levels below a leaf hold -1. Children are numbered per node, so that a code has a meaning only under its prefix.

    Args:
        n_levels (int): most levels of the tree.
        codebook_size (int): most children of a node.
        leaf_items (int): a cluster of at most so many items is not split again.
        kmeans_iterations (int): Lloyd's iterations of a node.
        fit_items, fit_seed: see `FittedTokenizer`.
    """

    def __init__(
        self,
        *,
        n_levels: int,
        codebook_size: int,
        leaf_items: int,
        kmeans_iterations: int,
        fit_items: int,
        fit_seed: int,
    ):
        super().__init__(fit_items=fit_items, fit_seed=fit_seed)
        self.n_levels, self.codebook_size = n_levels, codebook_size
        self.leaf_items, self.kmeans_iterations = leaf_items, kmeans_iterations
        self.register_buffer("centres", torch.empty(0, 0))  # of all nodes, the root first, shape: [T, text_dim]
        self.register_buffer("first_child", torch.empty(0, dtype=torch.int64))  # shape: [T]
        self.register_buffer("n_children", torch.empty(0, dtype=torch.int64))  # shape: [T]

    def _fit(self, x: Tensor) -> None:
        centres, first_child, n_children = [x.mean(dim=0, keepdim=True)], [0], [0]
        level, n_nodes = [(0, torch.arange(len(x)))], 1  # nodes of this level with their items
        for _ in range(self.n_levels):
            next_level = []
            for node, items in level:
                n_clusters = min(self.codebook_size, len(items))
                if len(items) <= max(self.leaf_items, 1) and node:
                    continue
                clusters = kmeans(x[items], n_clusters, self.kmeans_iterations, self.fit_seed + node)
                child = nearest(x[items], clusters, "euclidean")
                used = torch.unique(child)
                centres.append(clusters[used])
                first_child[node], n_children[node] = n_nodes, len(used)
                next_level += [(n_nodes + place, items[child == code]) for place, code in enumerate(used)]
                n_nodes += len(used)
                first_child += [0] * len(used)
                n_children += [0] * len(used)
            level = next_level
        device = self.centres.device
        self.centres = torch.cat(centres).to(device)
        self.first_child = torch.tensor(first_child, device=device)
        self.n_children = torch.tensor(n_children, device=device)

    def _encode(self, x):
        codes = torch.full((len(x), self.n_levels), -1, device=x.device)
        node = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        for level in range(self.n_levels):
            inner = (self.n_children[node] > 0).nonzero()[:, 0]
            if not len(inner):
                break
            inner = inner[node[inner].argsort(stable=True)]  # items of a node are neighbours
            parents, counts = torch.unique_consecutive(node[inner], return_counts=True)
            for parent, items in zip(parents.tolist(), inner.split(counts.tolist())):
                first = int(self.first_child[parent])
                children = self.centres[first : first + int(self.n_children[parent])]
                codes[items, level] = nearest(x[items], children, "euclidean")
            node[inner] = self.first_child[node[inner]] + codes[inner, level]
        return codes

    def _decode(self, codes):
        return self.centres[self._nodes(codes)[-1]]

    def approximations(self, x: Tensor, codes: Tensor) -> tuple:
        self._check_width(x)
        return self._read(x), [self.centres[node] for node in self._nodes(codes)]

    def _nodes(self, codes):
        """The node of each prefix of an ID, one tensor per level, int64, shape: [N] each."""
        node, nodes = torch.zeros(len(codes), dtype=torch.int64, device=codes.device), []
        for code in codes.unbind(dim=-1):
            node = torch.where(code >= 0, self.first_child[node] + code, node)
            nodes.append(node)
        return nodes

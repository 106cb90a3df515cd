"""recbole_unirep.generation.trie: the semantic IDs of a catalogue as a prefix tree in flat arrays.

The nodes of a level are sorted by ID, so the children of a node are contiguous and one offset per node marks where they
start (CSR): looking up what may follow a prefix is one gather. All IDs here have L levels. An ID that stops early gets
an extra code that ends it, `codebook_size`, and repeats that code at later levels, where nothing else can follow.

Shapes: B users, n prefixes of each, N items, L levels, M nodes of a level, W maximum number of children in a level.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class ClosedCodes(NamedTuple):
    """Codes whose IDs all have L levels.

    Attributes:
        codes (Tensor): int64, shape: [N, L].
        is_past_end (Tensor): True past the end of an ID, shape: [N, L], bool.
        codebook_sizes (list of int): codes per level, counting the one that ends an ID, shape: [L].
    """

    codes: Tensor
    is_past_end: Tensor
    codebook_sizes: list


def close_codes(codes: Tensor, codebook_sizes: list) -> ClosedCodes:
    """Adds a code that ends IDs which stop early.

    Args:
        codes (Tensor): unused levels at the end of an ID hold -1; only a number that tells equal IDs apart may follow
            them, int64, shape: [N, L].
        codebook_sizes (list of int): codes per level, shape: [L].
    """
    is_end = codes < 0
    is_past_end = torch.zeros_like(is_end)
    is_past_end[:, 1:] = is_end[:, :-1] & is_end[:, 1:]  # a number that tells equal IDs apart is not certain
    sizes = torch.tensor(codebook_sizes, device=codes.device)
    has_end = is_end.any(dim=0).tolist()
    return ClosedCodes(
        torch.where(is_end, sizes, codes), is_past_end, [size + more for size, more in zip(codebook_sizes, has_end)]
    )


class Level(NamedTuple):
    """Nodes of one level, sorted by ID.

    Attributes:
        code (Tensor): last code of each node, int64, shape: [M].
        parent (Tensor): index of its parent in the previous level, int64, shape: [M].
        first_child (Tensor): index of the first child of each node of the previous level, M at the end, int64, shape:
            [nodes of the previous level + 1].
        is_past_end (Tensor): True where the ID has ended before this level, shape: [M], bool.
        n_most (int): W, the maximum number of children of a node of the previous level.
    """

    code: Tensor
    parent: Tensor
    first_child: Tensor
    is_past_end: Tensor
    n_most: int


class PrefixTrie:
    """Prefix tree of closed codes; the root is node 0 above the first level.

    Args:
        closed (ClosedCodes): of N items.

    Attributes:
        levels (list of Level): shape: [L].
        leaf (Tensor): index of each item's node in the last level, int64, shape: [N].
        n_leaves (int): number of distinct IDs.
        ids (Tensor): their codes, sorted, int64, shape: [n_leaves, L].
        is_past_end (Tensor): True past the end of an ID, shape: [n_leaves, L], bool.
    """

    def __init__(self, closed: ClosedCodes):
        self.ids, self.leaf, count = closed.codes.unique(dim=0, return_inverse=True, return_counts=True)
        self.n_leaves = len(count)
        some_item = torch.zeros_like(count).scatter_(0, self.leaf, torch.arange(len(self.leaf), device=count.device))
        self.is_past_end = closed.is_past_end[some_item]  # the same for all items of an ID
        self.levels, self._node = [], []
        is_first = torch.zeros(self.n_leaves, dtype=torch.bool, device=count.device)
        is_first[:1] = True
        above = torch.zeros_like(some_item)  # index of each leaf's node in the previous level
        for level in range(self.ids.shape[1]):
            is_first[1:] |= self.ids[1:, level] != self.ids[:-1, level]
            node = is_first.cumsum(dim=0) - 1  # [n_leaves]
            leaf = is_first.nonzero()[:, 0]  # the first leaf of each node, [M]
            parent = above[leaf]
            n_children = torch.bincount(parent)
            first_child = torch.nn.functional.pad(n_children.cumsum(dim=0), (1, 0))
            self.levels.append(
                Level(self.ids[leaf, level], parent, first_child, self.is_past_end[leaf, level], int(n_children.max()))
            )
            self._node.append(node)
            above = node

    @property
    def n_levels(self) -> int:
        """L."""
        return len(self.levels)

    def children(self, level: int, node: Tensor) -> tuple:
        """Children of nodes.

        Args:
            level (int): level of the children, from 0.
            node (Tensor): nodes of the previous level, int64, shape: [...].

        Returns:
            tuple[Tensor, Tensor]: nodes of `level`, int64, shape: [..., W], and False where there is no such child,
            bool, shape: [..., W]; those places hold node 0.
        """
        here = self.levels[level]
        first = here.first_child[node][..., None]
        child = first + torch.arange(here.n_most, device=node.device)
        is_child = child < here.first_child[node + 1][..., None]
        return torch.where(is_child, child, 0), is_child

    def part(self, level: int, first_leaf: int, last_leaf: int) -> slice:
        """Nodes of a level above the leaves `first_leaf` to `last_leaf`, both included."""
        node = self._node[level]
        return slice(int(node[first_leaf]), int(node[last_leaf]) + 1)

"""recbole_unirep.generation.trie: prefix tree of a catalogue's semantic IDs, stored in flat arrays.

The nodes of a level are sorted by ID, so the children of a node are contiguous and one offset per node marks where they
start (CSR). Looking up the children of a prefix is one gather. All IDs here have L levels: a shorter ID gets an end
code, `codebook_size`, repeated at all remaining levels.

Shapes: B users, n prefixes per user, N items, L levels, M nodes of a level, W maximum number of children in a level.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class ClosedCodes(NamedTuple):
    """Codes of IDs that all have L levels; shorter IDs are filled up with end codes.

    Attributes:
        codes (Tensor): int64, shape: [N, L].
        is_past_end (Tensor): True past the end of an ID, shape: [N, L], bool.
        codebook_sizes (list of int): codes per level, including the end code if the level has one, shape: [L].
    """

    codes: Tensor
    is_past_end: Tensor
    codebook_sizes: list


def close_codes(codes: Tensor, codebook_sizes: list) -> ClosedCodes:
    """Fills up IDs that stop early with end codes.

    Args:
        codes (Tensor): -1 for unused levels at the end of an ID; only the number that makes colliding IDs distinct
            (`collisions: append`) may follow them, int64, shape: [N, L].
        codebook_sizes (list of int): codes per level, without an end code, shape: [L].

    Returns:
        ClosedCodes: codes of L levels per item.
    """
    is_end = codes < 0
    is_past_end = torch.zeros_like(is_end)
    is_past_end[:, 1:] = is_end[:, :-1] & is_end[:, 1:]  # an appended number still has to be predicted
    sizes = torch.tensor(codebook_sizes, device=codes.device)
    has_end = is_end.any(dim=0).tolist()
    return ClosedCodes(
        torch.where(is_end, sizes, codes), is_past_end, [size + extra for size, extra in zip(codebook_sizes, has_end)]
    )


class Level(NamedTuple):
    """Nodes of one level, sorted by ID.

    Attributes:
        code (Tensor): last code of each node, int64, shape: [M].
        parent (Tensor): index of each node's parent in the previous level, int64, shape: [M].
        first_child (Tensor): for each node of the previous level, index of its first child in this level; M is
            appended, int64, shape: [nodes of the previous level + 1].
        is_past_end (Tensor): True where the ID has ended before this level, shape: [M], bool.
        n_most (int): W, the maximum number of children of a node of the previous level.
    """

    code: Tensor
    parent: Tensor
    first_child: Tensor
    is_past_end: Tensor
    n_most: int


class PrefixTrie:
    """Prefix tree of IDs; the root is node 0 of the level above the first.

    Args:
        closed (ClosedCodes): codes of N items.

    Attributes:
        levels (list of Level): shape: [L].
        leaf (Tensor): index of each item's node in the last level, int64, shape: [N].
        n_leaves (int): number of distinct IDs.
        ids (Tensor): codes of the distinct IDs, sorted, int64, shape: [n_leaves, L].
        is_past_end (Tensor): True past the end of an ID, shape: [n_leaves, L], bool.
    """

    def __init__(self, closed: ClosedCodes):
        self.ids, self.leaf, count = closed.codes.unique(dim=0, return_inverse=True, return_counts=True)
        self.n_leaves = len(count)
        some_item = torch.zeros_like(count).scatter_(0, self.leaf, torch.arange(len(self.leaf), device=count.device))
        self.is_past_end = closed.is_past_end[some_item]  # equal for all items that share an ID
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
        """Returns the children of nodes.

        Args:
            level (int): level of the children, from 0.
            node (Tensor): nodes of the previous level, int64, shape: [...].

        Returns:
            tuple[Tensor, Tensor]: child nodes in `level`, int64, and True if the child exists, bool, shape: [..., W]
            each; missing children are filled with node 0.
        """
        here = self.levels[level]
        first = here.first_child[node][..., None]
        child = first + torch.arange(here.n_most, device=node.device)
        is_child = child < here.first_child[node + 1][..., None]
        return torch.where(is_child, child, 0), is_child

    def part(self, level: int, first_leaf: int, last_leaf: int) -> slice:
        """Returns the nodes of a level that are ancestors of leaves `first_leaf` to `last_leaf`, both included."""
        node = self._node[level]
        return slice(int(node[first_leaf]), int(node[last_leaf]) + 1)

"""recbole_unirep.generation.trie: the semantic IDs of a catalogue as a prefix tree in flat arrays.

The nodes of a level stand in the order of their IDs, so that the children of a node are neighbours and an offset a node
says where they begin (CSR): what may follow a prefix is one gather. All IDs have L levels here; one that ended earlier
has a code of its own for the end, `codebook_size`, and repeats it at the levels past the end.

Shapes: B users, n prefixes of each, N items, L levels, M nodes of a level, W most children of a node of a level.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class ClosedCodes(NamedTuple):
    """Codes whose IDs all have L levels.

    Attributes:
        codes (Tensor): int64, shape: [N, L].
        is_past_end (Tensor): True at the levels past an ID's end, shape: [N, L], bool.
        codebook_sizes (list of int): codes of each level, the one that ends an ID among them where a level has it,
            shape: [L].
    """

    codes: Tensor
    is_past_end: Tensor
    codebook_sizes: list


def close_codes(codes: Tensor, codebook_sizes: list) -> ClosedCodes:
    """Gives the IDs that end early a code for the end.

    Args:
        codes (Tensor): unused levels at the end of an ID hold -1, behind which only a number that tells equal IDs apart
            may follow, int64, shape: [N, L].
        codebook_sizes (list of int): codes of each level, shape: [L].
    """
    is_end = codes < 0
    is_past_end = torch.zeros_like(is_end)
    is_past_end[:, 1:] = is_end[:, :-1] & is_end[:, 1:]  # a number that tells equal IDs apart stands behind the end
    sizes = torch.tensor(codebook_sizes, device=codes.device)
    has_end = is_end.any(dim=0).tolist()
    return ClosedCodes(
        torch.where(is_end, sizes, codes), is_past_end, [size + more for size, more in zip(codebook_sizes, has_end)]
    )


class Level(NamedTuple):
    """Nodes of one level, in the order of their IDs.

    Attributes:
        code (Tensor): last code of each, int64, shape: [M].
        parent (Tensor): its node of the level before, int64, shape: [M].
        first_child (Tensor): where the children of each node of the level before begin here; at its end M, int64,
            shape: [M of the level before + 1].
        is_past_end (Tensor): True where an ID has ended before, so that nothing else can follow, shape: [M], bool.
        n_most (int): W, children that a node of the level before has at most.
    """

    code: Tensor
    parent: Tensor
    first_child: Tensor
    is_past_end: Tensor
    n_most: int


class PrefixTrie:
    """Prefix tree of closed codes; the root is node 0 of the level before the first.

    Args:
        closed (ClosedCodes): of N items.

    Attributes:
        levels (list of Level): shape: [L].
        leaf (Tensor): each item's node of the last level, int64, shape: [N].
        n_leaves (int): different IDs.
        ids (Tensor): their codes, in order, int64, shape: [n_leaves, L].
        is_past_end (Tensor): levels past their ends, shape: [n_leaves, L], bool.
    """

    def __init__(self, closed: ClosedCodes):
        self.ids, self.leaf, count = closed.codes.unique(dim=0, return_inverse=True, return_counts=True)
        self.n_leaves = len(count)
        some_item = torch.zeros_like(count).scatter_(0, self.leaf, torch.arange(len(self.leaf), device=count.device))
        self.is_past_end = closed.is_past_end[some_item]  # the same for all items of an ID
        self.levels, self._node = [], []
        is_first = torch.zeros(self.n_leaves, dtype=torch.bool, device=count.device)
        is_first[:1] = True
        above = torch.zeros_like(some_item)  # each leaf's node of the level before
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
        """Nodes that may follow.

        Args:
            level (int): of the children, from 0 on.
            node (Tensor): nodes of the level before, int64, shape: [...].

        Returns:
            tuple[Tensor, Tensor]: nodes of the level, shape: [..., W], int64, and whether they are children at all,
            shape: [..., W], bool; those that are none hold some node.
        """
        here = self.levels[level]
        first = here.first_child[node][..., None]
        child = first + torch.arange(here.n_most, device=node.device)
        is_child = child < here.first_child[node + 1][..., None]
        return torch.where(is_child, child, 0), is_child

    def part(self, level: int, first_leaf: int, last_leaf: int) -> slice:
        """Nodes of a level above the leaves from one to another, that one included."""
        node = self._node[level]
        return slice(int(node[first_leaf]), int(node[last_leaf]) + 1)

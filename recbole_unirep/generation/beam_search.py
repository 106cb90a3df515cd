"""recbole_unirep.generation.beam_search: the most likely semantic IDs of a catalogue.

At each level only the children of the kept prefixes in the trie are candidates, so every beam is the ID of an item. All
users and beams are processed as one batch, without a loop.

Shapes: B users, n beams, K codes of a level, W maximum number of children of a node.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from recbole_unirep.generation.trie import PrefixTrie


class Decoder(Protocol):
    """Extends prefixes by one code per step, given the histories of B users."""

    n_kept: int  # upper bound on the numbers stored per prefix

    def __len__(self) -> int:
        """B."""

    def start(self) -> Tensor:
        """Discards all prefixes and returns the logits of the first code, shape: [B, 1, K]."""

    def step(self, parent: Tensor, code: Tensor) -> Tensor:
        """Appends one code to each prefix.

        Args:
            parent (Tensor): index of the prefix to extend, among those of the previous step, int64, shape: [B, n].
            code (Tensor): code to append to each, int64, shape: [B, n].

        Returns:
            Tensor: logits of the next level's codes, shape: [B, n, K].
        """


class Beams(NamedTuple):
    """The best IDs found, best first.

    Attributes:
        leaf (Tensor): leaves of the trie, int64, shape: [B, n].
        log_probability (Tensor): -inf where a user has fewer beams, float32, shape: [B, n].
    """

    leaf: Tensor
    log_probability: Tensor


@torch.no_grad()
def beam_search(decoder: Decoder, trie: PrefixTrie, n_beams: int) -> Beams:
    """Finds the `n_beams` most probable IDs, keeping the `n_beams` best prefixes at each level.

    The search is exact if `n_beams` is at least the number of nodes of every level but the last.

    Args:
        decoder (Decoder): decoder for B users.
        trie (PrefixTrie): IDs of the catalogue.
        n_beams (int): prefixes to keep; n is smaller if there are fewer IDs.

    Returns:
        Beams: best first, ties in ID order. If the prefixes at the cut-off are tied, `torch.topk` decides which are
        kept.
    """
    logits = decoder.start()
    score = logits.new_zeros(logits.shape[:2], dtype=torch.float32)  # [B, n]
    node = torch.zeros_like(score, dtype=torch.int64)
    for level, here in enumerate(trie.levels):
        child, is_child = trie.children(level, node)  # [B, n, W]
        log_p = code_log_probabilities(logits, here.code[child], here.is_past_end[child])
        candidates = (score[..., None] + log_p).masked_fill(~is_child, -torch.inf).flatten(1)  # [B, n * W]
        score, place = candidates.topk(min(n_beams, candidates.shape[1]), dim=1)
        node = child.flatten(1).gather(1, place)
        score, node, place = _in_order(score, node, place)
        if level + 1 < trie.n_levels:
            logits = decoder.step(place // here.n_most, here.code[node])
    return Beams(node, score)


def code_log_probabilities(logits: Tensor, code: Tensor, is_past_end: Tensor) -> Tensor:
    """Log-probability of codes among all codes of their level; 0 past the end of an ID.

    Args:
        logits (Tensor): shape: [..., K].
        code (Tensor): int64, shape: [..., W].
        is_past_end (Tensor): True past the end of an ID, where only one code is possible, shape: [..., W], bool.

    Returns:
        Tensor: float32, shape: [..., W].
    """
    return logits.float().log_softmax(dim=-1).gather(-1, code).masked_fill(is_past_end, 0)


def _in_order(score, node, place):
    """Sorts beams by descending score, ties by node; the order is the same on every device."""
    order = node.argsort(dim=1)
    order = order.gather(1, score.gather(1, order).argsort(dim=1, descending=True, stable=True))
    return score.gather(1, order), node.gather(1, order), place.gather(1, order)

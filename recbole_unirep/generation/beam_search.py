"""recbole_unirep.generation.beam_search: the most likely semantic IDs of a catalogue.

Each level's candidates are the children of the kept prefixes in the trie and nothing else, so every beam is the ID of
an item. Users and beams are worked on together, without a loop over either.

Shapes: B users, n beams, K codes of a level, W most children of a node.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from recbole_unirep.generation.trie import PrefixTrie


class Decoder(Protocol):
    """A model that reads prefixes, one code longer at each step; it holds the memory of B users' histories."""

    n_kept: int  # numbers that it keeps of a prefix at most

    def __len__(self) -> int:
        """B."""

    def start(self) -> Tensor:
        """Logits of the first code, shape: [B, 1, K]; forgets earlier prefixes."""

    def step(self, parent: Tensor, code: Tensor) -> Tensor:
        """Goes on from prefixes to longer ones.

        Args:
            parent (Tensor): which of the prefixes of the step before, int64, shape: [B, n].
            code (Tensor): code that is put behind it, int64, shape: [B, n].

        Returns:
            Tensor: logits of the next level's codes, shape: [B, n, K].
        """


class Beams(NamedTuple):
    """The best IDs found, best first.

    Attributes:
        leaf (Tensor): leaves of the trie, int64, shape: [B, n].
        log_probability (Tensor): -inf where a user has fewer, shape: [B, n], float32.
    """

    leaf: Tensor
    log_probability: Tensor


@torch.no_grad()
def beam_search(decoder: Decoder, trie: PrefixTrie, n_beams: int) -> Beams:
    """The `n_beams` IDs of largest probability among those whose prefixes were kept at every level.

    With as many beams as the fullest level but the last has nodes nothing is lost: the IDs are the best of all.

    Args:
        decoder (Decoder): of B users.
        trie (PrefixTrie): the IDs there are.
        n_beams (int): prefixes that are kept; n is less where there are fewer IDs.

    Returns:
        Beams: equal probabilities in the order of IDs; where they begin at the last place that is kept, which of them
        are kept is up to `torch.topk`.
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
    """Logarithm of the probability of codes among all codes of their level, 0 where there is no choice.

    Args:
        logits (Tensor): shape: [..., K].
        code (Tensor): int64, shape: [..., W].
        is_past_end (Tensor): whether the level is past the ID's end, where a code is certain, shape: [..., W], bool.

    Returns:
        Tensor: float32, shape: [..., W].
    """
    return logits.float().log_softmax(dim=-1).gather(-1, code).masked_fill(is_past_end, 0)


def _in_order(score, node, place):
    """Beams by falling score, equal ones by node, so that their order does not depend on the device."""
    order = node.argsort(dim=1)
    order = order.gather(1, score.gather(1, order).argsort(dim=1, descending=True, stable=True))
    return score.gather(1, order), node.gather(1, order), place.gather(1, order)

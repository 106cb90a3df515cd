"""recbole_unirep.generation.likelihood: exact log-likelihoods of given semantic IDs or of the whole catalogue.

Shapes: B users, C candidates per user, L levels, K codes of a level, M nodes of a level.
"""

import torch
from torch import Tensor

from recbole_unirep.generation.beam_search import Decoder, code_log_probabilities
from recbole_unirep.generation.trie import PrefixTrie


@torch.no_grad()
def candidate_log_likelihoods(decoder: Decoder, codes: Tensor, is_past_end: Tensor) -> Tensor:
    """Log-likelihood of each user's candidates; equal IDs get equal values.

    Args:
        decoder (Decoder): decoder for B users.
        codes (Tensor): codes of candidates from `close_codes`, int64, shape: [B, C, L].
        is_past_end (Tensor): True past the end of an ID, shape: [B, C, L], bool.

    Returns:
        Tensor: float32, shape: [B, C].
    """
    total = code_log_likelihoods(decoder, codes, is_past_end).sum(dim=-1)
    is_same = (codes[:, :, None] == codes[:, None]).all(dim=-1)  # [B, C, C]
    return total.gather(1, is_same.int().argmax(dim=-1))  # equal IDs share one value: ties are exact


def code_log_likelihoods(decoder: Decoder, codes: Tensor, is_past_end: Tensor) -> Tensor:
    """Log-likelihood of each code given the codes before it, differentiable.

    Arguments as in `candidate_log_likelihoods`.

    Returns:
        Tensor: 0 past the end of an ID, float32, shape: [B, C, L].
    """
    own = torch.arange(codes.shape[1], device=codes.device).expand(codes.shape[:2])
    logits, parent, parts = decoder.start(), torch.zeros_like(own), []
    for level in range(codes.shape[2]):
        code = codes[..., level]
        logits = logits.gather(1, parent[..., None].expand(-1, -1, logits.shape[2]))  # [B, C, K]
        parts.append(code_log_probabilities(logits, code[..., None], is_past_end[..., level, None])[..., 0])
        if level + 1 < codes.shape[2]:
            logits, parent = decoder.step(parent, code), own
    return torch.stack(parts, dim=-1)


@torch.no_grad()
def catalogue_log_likelihoods(decoder: Decoder, trie: PrefixTrie, n_at_once: int) -> Tensor:
    """Log-likelihood of every ID for every user; each prefix is decoded once for all IDs that start with it.

    Args:
        decoder (Decoder): decoder for B users.
        trie (PrefixTrie): IDs of the catalogue.
        n_at_once (int): leaves per part; a prefix that spans two parts is decoded twice.

    Returns:
        Tensor: float32, shape: [B, n_leaves].
    """
    parts = []
    for first in range(0, trie.n_leaves, n_at_once):
        last = min(first + n_at_once, trie.n_leaves) - 1
        parts.append(_part_log_likelihoods(decoder, trie, first, last))
    return torch.cat(parts, dim=1)


def _part_log_likelihoods(decoder, trie, first_leaf, last_leaf):
    """Log-likelihood of a range of leaves, shape: [B, last_leaf - first_leaf + 1]."""
    logits = decoder.start()
    total = logits.new_zeros(logits.shape[:2], dtype=torch.float32)  # [B, nodes of the part]
    first_parent = 0
    for level, here in enumerate(trie.levels):
        nodes = trie.part(level, first_leaf, last_leaf)
        parent, code = here.parent[nodes] - first_parent, here.code[nodes]
        log_p = logits.float().log_softmax(dim=-1)[:, parent, code].masked_fill(here.is_past_end[nodes], 0)
        total = total[:, parent] + log_p
        if level + 1 < trie.n_levels:
            shape = (len(total), len(code))
            logits = decoder.step(parent.expand(shape), code.expand(shape))
            first_parent = nodes.start
    return total

"""Statistics of semantic IDs: usage and perplexity of codebooks, unique items, collisions.

Shapes: N items, L levels, K codebook_size. Codes may be an array or a tensor on any device.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, Tables 1, 2 and 6.
"""

import math

import torch
from torch import Tensor


def codebook_usage(codes, codebook_size) -> list:
    """Fraction of each level's codes that at least one item has, one float per level.

    Args:
        codes (Tensor or ndarray): integers in 0..K-1, -1 on levels that an ID does not use, shape: [N, L].
        codebook_size (int or sequence of int): K of all levels, or of each.

    Raises:
        ValueError: a code is outside its codebook.
    """
    return [(counts > 0).double().mean().item() for counts in level_counts(codes, codebook_size)]


def entropy(codes, codebook_size) -> list:
    """Entropy of each level's codes in bits, over the items that use the level; arguments as in `codebook_usage`."""
    levels = []
    for counts in level_counts(codes, codebook_size):
        shares = counts.double() / counts.sum().clamp(min=1)  # [K]
        levels.append((torch.special.entr(shares).sum() / math.log(2)).item())
    return levels


def perplexity(codes, codebook_size) -> list:
    """2 ** entropy: number of equally frequent codes with that entropy; see `codebook_usage`."""
    return [2**bits for bits in entropy(codes, codebook_size)]


def unique_item_coverage(codes) -> float:
    """Number of distinct semantic IDs divided by number of items; codes [N, L]."""
    return len(semantic_id_counts(codes)) / len(codes)


def collision_rate(codes) -> float:
    """Fraction of items that share their semantic ID with another item; codes [N, L]."""
    counts = semantic_id_counts(codes)
    return counts[counts > 1].sum().item() / len(codes)


def codebook_report(codes, codebook_size) -> dict:
    """Usage, perplexity, coverage and collisions as one flat dict, levels counted from 1.

    Args:
        codes (Tensor or ndarray): integers in 0..K-1, -1 on levels that an ID does not use, shape: [N, L].
        codebook_size (int or sequence of int): K of all levels, or of each.

    Returns:
        dict[str, float]: codebook_usage_1, ..., perplexity_1, ..., unique_item_coverage, collision_rate.

    Raises:
        ValueError: a code is outside its codebook.
    """
    usages, perplexities = codebook_usage(codes, codebook_size), perplexity(codes, codebook_size)
    return {
        **{f"codebook_usage_{level}": value for level, value in enumerate(usages, start=1)},
        **{f"perplexity_{level}": value for level, value in enumerate(perplexities, start=1)},
        "unique_item_coverage": unique_item_coverage(codes),
        "collision_rate": collision_rate(codes),
    }


def level_counts(codes, codebook_size) -> list:
    """Number of items per code, one int64 tensor [K] per level; arguments and error as in `codebook_usage`."""
    codes = torch.as_tensor(codes)
    n_levels = codes.shape[1]
    sizes = [codebook_size] * n_levels if isinstance(codebook_size, int) else list(codebook_size)
    levels = []
    for level, (column, size) in enumerate(zip(codes.unbind(dim=-1), sizes), start=1):
        low, high = column.min().item(), column.max().item()
        if low < -1 or high >= size:
            raise ValueError(
                f"codes range from {low} to {high} at level {level}, codebook_size is {size}: give the size that they "
                f"were made with"
            )
        levels.append(column[column >= 0].bincount(minlength=size))
    return levels


def semantic_id_counts(codes) -> Tensor:
    """Number of items per distinct semantic ID, int64, shape: [distinct semantic IDs]."""
    return torch.unique(torch.as_tensor(codes), dim=0, return_counts=True)[1]

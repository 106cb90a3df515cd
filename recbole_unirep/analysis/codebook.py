"""How well codes fill their codebooks and tell items apart.

Shapes: N items, L levels, K codebook_size. Codes may be an array or a tensor on any device.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, Tables 1, 2 and 6.
"""

import torch
from torch import Tensor


def codebook_usage(codes, codebook_size: int) -> list:
    """Share of each level's codes that at least one item has, one float a level.

    Args:
        codes (Tensor or ndarray): integers in 0..K-1, shape: [N, L].
        codebook_size (int): K.

    Raises:
        ValueError: a code lies outside its codebook.
    """
    return (code_counts(codes, codebook_size) > 0).double().mean(dim=-1).tolist()


def perplexity(codes, codebook_size: int) -> list:
    """Exponential of each level's entropy: how many equally frequent codes would be as varied, one float a level.

    Args:
        codes (Tensor or ndarray): integers in 0..K-1, shape: [N, L].
        codebook_size (int): K.

    Raises:
        ValueError: a code lies outside its codebook.
    """
    counts = code_counts(codes, codebook_size).double()
    shares = counts / counts.sum(dim=-1, keepdim=True)  # [L, K]
    return torch.special.entr(shares).sum(dim=-1).exp().tolist()


def unique_item_coverage(codes) -> float:
    """Distinct semantic IDs divided by items; codes [N, L]."""
    return len(semantic_id_counts(codes)) / len(codes)


def collision_rate(codes) -> float:
    """Share of items whose semantic ID another item has too; codes [N, L]."""
    counts = semantic_id_counts(codes)
    return counts[counts > 1].sum().item() / len(codes)


def codebook_report(codes, codebook_size: int) -> dict:
    """All of the above under flat names, levels counted from 1.

    Args:
        codes (Tensor or ndarray): integers in 0..K-1, shape: [N, L].
        codebook_size (int): K.

    Returns:
        dict: floats by name: codebook_usage_1, ..., perplexity_1, ..., unique_item_coverage, collision_rate.

    Raises:
        ValueError: a code lies outside its codebook.
    """
    usages, perplexities = codebook_usage(codes, codebook_size), perplexity(codes, codebook_size)
    return {
        **{f"codebook_usage_{level}": value for level, value in enumerate(usages, start=1)},
        **{f"perplexity_{level}": value for level, value in enumerate(perplexities, start=1)},
        "unique_item_coverage": unique_item_coverage(codes),
        "collision_rate": collision_rate(codes),
    }


def code_counts(codes, codebook_size: int) -> Tensor:
    """Items that have each code of each level, int64, shape: [L, K]."""
    codes = torch.as_tensor(codes)
    low, high = codes.min().item(), codes.max().item()
    if low < 0 or high >= codebook_size:
        raise ValueError(
            f"codes reach from {low} to {high}, codebook_size is {codebook_size}: give the size they were made with"
        )
    return torch.stack([level.bincount(minlength=codebook_size) for level in codes.unbind(dim=-1)])


def semantic_id_counts(codes) -> Tensor:
    """Items that have each semantic ID that occurs, int64, shape: [distinct semantic IDs]."""
    return torch.unique(torch.as_tensor(codes), dim=0, return_counts=True)[1]

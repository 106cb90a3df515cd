"""Codebooks of a residual quantizer, fitted by k-means level by level and then refined together.

Shapes: N vectors, L levels, K codes, D dimensions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from recbole_unirep.tokenizer.clustering import kmeans
from recbole_unirep.tokenizer.distance import nearest
from recbole_unirep.tokenizer.residual import residual_codes, residual_sum


def level_by_level(
    x: Tensor,
    codebook_size: int,
    level_metrics: Sequence[str],
    iterations: int,
    seed: int,
    also_progressive: bool = False,
) -> Tensor:
    """Each level's codebook is a k-means of the residuals of the levels before it.

    Args:
        x (Tensor): at least one vector, float32, shape: [N, D].
        codebook_size (int): K.
        level_metrics (sequence of str): how each level finds its nearest vector, shape: [L].
        iterations (int): Lloyd's iterations of a level.
        seed (int): the same seed and number of threads give the same codebooks.
        also_progressive (bool): see `clustering.kmeans`.

    Returns:
        Tensor: codebooks, float32, on the CPU, shape: [L, K, D].
    """
    residual, codebooks = x.cpu(), []
    for level, metric in enumerate(level_metrics):
        codebook = kmeans(residual, codebook_size, iterations, seed + level, also_progressive)
        residual = residual - codebook[nearest(residual, codebook, metric)]
        codebooks.append(codebook)
    return torch.stack(codebooks)


def refined(x: Tensor, codebooks: Tensor, level_metrics: Sequence[str], rounds: int) -> Tensor:
    """Updates all codebooks together, to lower the error of the vectors' codes.

    In each round a vector becomes the mean of what the other levels leave over of its items, one level after the other;
    then the items are encoded again.

    Args:
        x (Tensor): shape: [N, D].
        codebooks (Tensor): shape: [L, K, D].
        level_metrics (sequence of str): how each level finds its nearest vector, shape: [L].
        rounds (int): number of updates.

    Returns:
        Tensor: codebooks of the round with the lowest error, the given ones if no round is better, shape: [L, K, D].
    """
    best, least = codebooks, torch.inf
    for last in range(rounds + 1):
        codes = residual_codes(x, codebooks, level_metrics)
        known = residual_sum(codebooks, codes)  # [N, D]
        left = (x - known).square().sum(dtype=torch.float64)
        if left < least:
            best, least = codebooks, left
        if last == rounds:
            return best
        codebooks = codebooks.clone()
        for codebook, code in zip(codebooks, codes.unbind(dim=-1)):
            own = codebook[code]
            sums = torch.zeros_like(codebook).index_add_(0, code, x - known + own)
            count = torch.bincount(code, minlength=len(codebook))[:, None]
            codebook.copy_(torch.where(count > 0, sums / count.clamp(min=1), codebook))
            known = known - own + codebook[code]

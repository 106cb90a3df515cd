"""How far vectors lie from each other: choosing a code, and the squared errors of the losses.

Shapes: B vectors, K codes, D dimensions.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, section 3.2.
"""

import torch
from torch import Tensor
from torch.nn import functional


def cosine(x: Tensor, codebook: Tensor) -> Tensor:
    """One minus the cosine similarity, so only directions matter; a zero vector is at distance 1, shape: [B, K]."""
    return 1 - functional.normalize(x, dim=-1) @ functional.normalize(codebook, dim=-1).T


def euclidean(x: Tensor, codebook: Tensor) -> Tensor:
    """Squared Euclidean distance as a matrix product, shape: [B, K]."""
    x_norms = (x * x).sum(dim=-1, keepdim=True)  # [B, 1]
    codebook_norms = (codebook * codebook).sum(dim=-1)  # [K]
    return x_norms - 2 * x @ codebook.T + codebook_norms


DISTANCES = {"cosine": cosine, "euclidean": euclidean}


@torch.no_grad()
def nearest(x: Tensor, codebook: Tensor, metric: str) -> Tensor:
    """Code of the vector nearest to each x, the first of equals.

    Args:
        x (Tensor): vectors, shape: [B, D].
        codebook (Tensor): vectors to choose from, shape: [K, D].
        metric (str): a name in `DISTANCES`.

    Returns:
        Tensor: codes, int64, shape: [B].
    """
    return DISTANCES[metric](x, codebook).argmin(dim=-1)


REDUCTIONS = {"sum": torch.sum, "mean": torch.mean}


def squared_error(x: Tensor, target: Tensor, reduction: str) -> Tensor:
    """Squared error of each vector, its dimensions reduced by a name in `REDUCTIONS`, shape: [B]."""
    return REDUCTIONS[reduction]((x - target).square(), dim=-1)

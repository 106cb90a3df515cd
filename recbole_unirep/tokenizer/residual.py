"""Residual quantization by given codebooks: each level quantizes the residual of the levels before it.

Shapes: N vectors, K codes, D dimensions, L levels.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.tokenizer.distance import cached_parts, nearest


@torch.no_grad()
def residual_codes(x: Tensor, codebooks: Tensor, level_metrics: Sequence[str]) -> Tensor:
    """Codes of vectors, coarse to fine.

    Args:
        x (Tensor): shape: [N, D].
        codebooks (Tensor): shape: [L, K, D].
        level_metrics (sequence of str): how each level finds its nearest vector, shape: [L].

    Returns:
        Tensor: int64, shape: [N, L].
    """
    return torch.cat([_codes(part, codebooks, level_metrics) for part in cached_parts(x)])


def _codes(x, codebooks, level_metrics):
    residual, codes = x.clone(), []
    for codebook, metric in zip(codebooks, level_metrics):
        code = nearest(residual, codebook, metric)  # [N]
        residual -= functional.embedding(code, codebook)  # [N, D]; faster than codebook[code] on a CPU
        codes.append(code)
    return torch.stack(codes, dim=-1)


def residual_sum(codebooks: Tensor, codes: Tensor) -> Tensor:
    """The sum of the levels' vectors of codes [N, L], what the codes approximate, shape: [N, D]."""
    rows = codes + codebooks.shape[1] * torch.arange(codes.shape[1], device=codes.device)
    return functional.embedding_bag(rows, codebooks.flatten(0, 1), mode="sum")


def residual_steps(codebooks: Tensor, codes: Tensor) -> Iterator:
    """Each level's vectors of codes [N, L], shape: [N, D] each; their sum is what the codes approximate."""
    for codebook, code in zip(codebooks, codes.unbind(dim=-1)):
        yield functional.embedding(code, codebook)

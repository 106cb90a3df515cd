"""recbole_unirep.modules.dropout: dropout whose random numbers cost a CPU little.

Torch draws a float for each number on a CPU, which a small transformer's step feels. Here a draw of 64 bits decides on
four numbers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

N_LEVELS = 2**16  # of 16 bits: a probability is rounded to the next 1/65536, and what is kept is scaled by what it is


class Dropout(nn.Dropout):
    """`nn.Dropout` with the draws of `dropout`; not in place."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)


def dropout(x: Tensor, p: float, is_training: bool) -> Tensor:
    """Sets numbers to 0 with a probability, and scales the others so that the expectation stays.

    Args:
        x (Tensor): any shape, floating point.
        p (float): the probability, 0 to 1.
        is_training (bool): False gives x itself.

    Returns:
        Tensor: shape and dtype as x.
    """
    n_dropped = round(p * N_LEVELS)
    if not is_training or n_dropped == 0:
        return x
    if not _draws_bits(x) or n_dropped == N_LEVELS:
        return functional.dropout(x, p)
    return _Dropped.apply(x, n_dropped)


def attention(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, p: float) -> Tensor:
    """Attention whose products are not scaled, with dropout of its weights.

    Args:
        query (Tensor): shape: [B, A, S, E].
        keys, values (Tensor): shape: [B, A, S', E].
        bias (Tensor): added to the products, -inf hides; no query has all hidden; shape: [B, A or 1, S or 1, S'].
        p (float): a weight's probability to be dropped; 0 outside training.

    Returns:
        Tensor: shape: [B, A, S, E].
    """
    if not p or not _draws_bits(query):
        return functional.scaled_dot_product_attention(query, keys, values, bias, p, scale=1.0)
    weights = (query @ keys.transpose(-1, -2)).add_(bias).softmax(dim=-1)
    return dropout(weights, p, True) @ values


def _draws_bits(x):
    """Elsewhere torch's own kernels are the faster ones."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


class _Dropped(torch.autograd.Function):
    """x * mask * scale; the mask is kept, a byte a number."""

    @staticmethod
    def forward(ctx, x, n_dropped):
        bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        is_kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= n_dropped - N_LEVELS // 2
        ctx.save_for_backward(is_kept)
        ctx.scale = N_LEVELS / (N_LEVELS - n_dropped)
        return torch.mul(x, is_kept).mul_(ctx.scale)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return torch.mul(gradient, *ctx.saved_tensors).mul_(ctx.scale), None

"""recbole_unirep.modules.dropout: dropout with cheap random numbers on a CPU.

On a CPU torch draws a float per number, which slows the steps of a small transformer noticeably. Here a draw of 64 bits
decides for four numbers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

N_LEVELS = 2**16  # of 16 bits: the probability is rounded to 1/65536, and kept numbers are scaled accordingly


class Dropout(nn.Dropout):
    """`nn.Dropout` with the draws of `dropout`; never in place."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)


def replace_dropout(network: nn.Module) -> None:
    """Makes every `nn.Dropout` within a network a `Dropout`, in place."""
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))


def dropout(x: Tensor, p: float, is_training: bool) -> Tensor:
    """Sets numbers to 0 with a probability, and scales the others to keep the expectation.

    Args:
        x (Tensor): any shape, floating point.
        p (float): the probability, 0 to 1.
        is_training (bool): False returns x itself.

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
    """Attention with unscaled products and dropout of its weights.

    Args:
        query (Tensor): shape: [B, A, S, E].
        keys, values (Tensor): shape: [B, A, S', E].
        bias (Tensor): added to the products; -inf hides a key, but never all keys of a query, shape:
            [B, A or 1, S or 1, S'].
        p (float): probability of dropping a weight; 0 outside training.

    Returns:
        Tensor: shape: [B, A, S, E].
    """
    if not p or not _draws_bits(query):
        return functional.scaled_dot_product_attention(query, keys, values, bias, p, scale=1.0)
    weights = (query @ keys.transpose(-1, -2)).add_(bias).softmax(dim=-1)
    return dropout(weights, p, True) @ values


def _draws_bits(x):
    """Whether our draws are faster: on other devices, and compiled, torch's own kernels are."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


class _Dropped(torch.autograd.Function):
    """x * mask * scale; keeps the mask, one byte per number."""

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

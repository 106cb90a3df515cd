"""How later losses reach the encoder: autograd functions of its output z and the quantized z_hat.

Reference:
    Straight-through: Aaron van den Oord, Oriol Vinyals, Koray Kavukcuoglu. "Neural Discrete Representation Learning",
        NeurIPS 2017, arXiv:1711.00937.
    Rotation: Christopher Fifty et al. "Restructuring Vector Quantization with the Rotation Trick", ICLR 2025,
        arXiv:2410.06424, section 4. In a residual quantizer, z is rotated onto the sum of its codes.

Shapes: N vectors, D dimensions.
"""

import torch
from torch.nn import functional

TINY = 1e-12  # least length that is divided by


class StraightThrough(torch.autograd.Function):
    """z_hat [N, D] to the last bit; its gradient goes to z and, if it takes one, to z_hat."""

    @staticmethod
    def forward(ctx, z, z_hat):
        return z_hat.view_as(z_hat)

    @staticmethod
    def backward(ctx, gradient):
        return gradient, gradient


class Rotation(torch.autograd.Function):
    """z_hat [N, D] to the last bit; z gets the gradient of the linear map that rotates and scales z onto z_hat."""

    @staticmethod
    def forward(ctx, z, z_hat):
        ctx.save_for_backward(z, z_hat)
        return z_hat.view_as(z_hat)

    @staticmethod
    def backward(ctx, gradient):
        z, z_hat = ctx.saved_tensors
        stretch = z_hat.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True).clamp(min=TINY)
        source, target = functional.normalize(z, dim=-1), functional.normalize(z_hat, dim=-1)
        mean = functional.normalize(source + target, dim=-1)
        along_mean = (gradient * mean).sum(dim=-1, keepdim=True)
        along_target = (gradient * target).sum(dim=-1, keepdim=True)
        return stretch * (gradient - 2 * along_mean * mean + 2 * along_target * source), None


GRADIENT_ESTIMATORS = {"straight_through": StraightThrough, "rotation": Rotation}

"""recbole_unirep.tokenizer.perceptron: linear layers with ReLU between them."""

import torch
from torch import Tensor, nn
from torch.nn import functional

# A CPU's bfloat16 kernels are compiled anew for each number of rows, which takes longer than running them. Rows are
# filled up to a multiple of this, so that a few kernels serve all steps.
ROWS = 64


class Perceptron(nn.Sequential):
    """Linear layers of given sizes with ReLU between them and none at the end.

    Args:
        sizes (list of int): number of inputs, units of each hidden layer, number of outputs.
    """

    def __init__(self, sizes: list[int]):
        layers = []
        for size, next_size in zip(sizes, sizes[1:]):
            layers += [nn.Linear(size, next_size), nn.ReLU(inplace=True)]
        super().__init__(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Maps vectors [N, inputs] to vectors [N, outputs]."""
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
            return super().forward(x)
        return super().forward(functional.pad(x, (0, 0, 0, -len(x) % ROWS)))[: len(x)]

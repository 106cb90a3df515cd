"""Residual quantization with trainable codebooks and a distance of its own at every level.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, Algorithm 1.

The paper leaves the codebooks' first values and dead codes open; `initialise` and `move_dead_codes` are ours.
Shapes: N vectors, K codebook_size, D code_dim.
"""

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.tokenizer.base import Quantized, check_option
from recbole_unirep.tokenizer.distance import NEARNESS, REDUCTIONS, nearest, squared_error

RESIDUAL_GRADIENTS = ("detached", "as_printed")


class _StraightThrough(torch.autograd.Function):
    """z_hat to the last bit, with the gradient of z and, where it takes one, of z_hat."""

    @staticmethod
    def forward(ctx, z, z_hat):
        return z_hat.view_as(z_hat)

    @staticmethod
    def backward(ctx, gradient):
        return gradient, gradient


class ResidualQuantizer(nn.Module):
    """Algorithm 1, lines 3 to 10: each level quantizes what the levels before it left over.

    A cosine level chooses by direction and subtracts the code as it is, unnormalised. The codebooks are Gaussian
    noise until `initialise` has seen data.

    Args:
        n_levels (int): codes in a semantic ID.
        codebook_size (int): vectors each level may choose from.
        code_dim (int): dimensions of a vector.
        level_metrics (list of str): how each level finds its nearest vector, names in `NEARNESS`.
        commitment_weight (float): beta, the pull of the encoder towards its code.
        residual_gradient (str): 'detached' hands r_l - sg[e_l] to the next level, so that each codebook is moved by
            its own loss alone; 'as_printed' hands on r_l - e_l, so that later commitment losses reach it too.
        codebook_gradient (bool): whether later losses reach the chosen codes as well as z.
        loss_reduction (str): over the dimensions of a squared error, a name in `REDUCTIONS`.

    Raises:
        ValueError: an option is unknown, or the number of metrics is not that of the levels.
    """

    def __init__(
        self,
        *,
        n_levels: int,
        codebook_size: int,
        code_dim: int,
        level_metrics: list,
        commitment_weight: float,
        residual_gradient: str,
        codebook_gradient: bool,
        loss_reduction: str,
    ):
        super().__init__()
        if len(level_metrics) != n_levels:
            raise ValueError(
                f"level_metrics names {len(level_metrics)} levels, n_levels is {n_levels}: give one metric per level"
            )
        for metric in level_metrics:
            check_option("level_metrics", metric, NEARNESS)
        check_option("residual_gradient", residual_gradient, RESIDUAL_GRADIENTS)
        check_option("loss_reduction", loss_reduction, REDUCTIONS)
        self.codebooks = nn.Parameter(torch.randn(n_levels, codebook_size, code_dim))
        self.n_levels = n_levels
        self.codebook_size = codebook_size
        self.level_metrics = list(level_metrics)
        self.commitment_weight = commitment_weight
        self.residual_gradient = residual_gradient
        self.codebook_gradient = codebook_gradient
        self.loss_reduction = loss_reduction

    def forward(self, z: Tensor) -> Quantized:
        """Quantizes vectors; gradients pass straight through to them.

        Args:
            z (Tensor): encoded vectors, shape: [N, D].

        Returns:
            Quantized: vectors [N, D] of value z_hat, codes [N, n_levels] int64, losses [N] summed over levels.
        """
        vectors, codes = self.quantize(z)
        return Quantized(vectors, codes, self.losses(z, codes))

    def quantize(self, z: Tensor) -> tuple:
        """Vectors [N, D] of value z_hat through which gradients pass to z, and codes [N, n_levels] int64."""
        codes = self.encode(z)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.codebook_gradient):
            z_hat = self.decode(codes)
        return _StraightThrough.apply(z, z_hat), codes

    def losses(self, z: Tensor, codes: Tensor) -> Tensor:
        """Codebook and commitment losses summed over levels, for callers that need them of some vectors alone.

        Args:
            z (Tensor): encoded vectors, shape: [N, D].
            codes (Tensor): their codes, shape: [N, n_levels].

        Returns:
            Tensor: one loss per vector, shape: [N].
        """
        residual, losses = z, 0
        for codebook, code in zip(self.codebooks, codes.unbind(dim=-1)):
            vector = functional.embedding(code, codebook)  # [N, D]
            codebook_loss = squared_error(residual.detach(), vector, self.loss_reduction)
            commitment_loss = squared_error(residual, vector.detach(), self.loss_reduction)
            losses = losses + codebook_loss + self.commitment_weight * commitment_loss
            residual = residual - (vector.detach() if self.residual_gradient == "detached" else vector)
        return losses

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """Codes of encoded vectors z [N, D], int64, shape: [N, n_levels]."""
        residual, codes = z, []
        for codebook, metric in zip(self.codebooks, self.level_metrics):
            code = nearest(residual, codebook, metric)  # [N]
            residual = residual - codebook[code]  # [N, D]
            codes.append(code)
        return torch.stack(codes, dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the codes' vectors, z_hat of Algorithm 1.

        Args:
            codes (Tensor): codes, int64, shape: [N, n_levels].

        Returns:
            Tensor: z_hat, shape: [N, D].
        """
        return sum(functional.embedding(code, codebook) for codebook, code in zip(self.codebooks, codes.unbind(dim=-1)))

    @torch.no_grad()
    def initialise(self, z: Tensor, codebook_init: str, seed: int) -> None:
        """Gives each level its first codebook, from the residuals that the levels before it leave.

        Args:
            z (Tensor): encoded vectors of the whole catalogue, shape: [N, D].
            codebook_init (str): a name in `CODEBOOK_INITS`.
            seed (int): the same seed gives the same codebooks; torch's global state is neither read nor changed.

        Raises:
            ValueError: `codebook_init` is unknown.
        """
        check_option("codebook_init", codebook_init, CODEBOOK_INITS)
        generator = torch.Generator().manual_seed(seed)
        residual = z
        for codebook, metric in zip(self.codebooks.detach(), self.level_metrics):
            codebook.copy_(CODEBOOK_INITS[codebook_init](residual.cpu(), len(codebook), generator))
            residual = residual - codebook[nearest(residual, codebook, metric)]

    @torch.no_grad()
    def move_dead_codes(self, z: Tensor, used: Tensor, generator: torch.Generator) -> None:
        """Puts each unused code onto a random residual of its level.

        Args:
            z (Tensor): encoded vectors whose residuals are drawn from, shape: [N, D].
            used (Tensor): whether a code was chosen since the caller began to count, bool, shape: [n_levels, K].
            generator (torch.Generator): source of the draw, on the CPU.
        """
        residual = z
        for codebook, metric, alive in zip(self.codebooks.detach(), self.level_metrics, used):
            codebook[~alive] = draw_rows(residual, int((~alive).sum()), generator)
            residual = residual - codebook[nearest(residual, codebook, metric)]


def kmeans_codebook(residual: Tensor, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Centres of plain k-means, whatever the level's metric, shape: [K, D].

    Where there are fewer distinct residuals than codes, the codes that are left lie close to drawn residuals.
    """
    points = residual.double().numpy()
    n_clusters = min(codebook_size, len(np.unique(points, axis=0)))
    random_state = int(torch.randint(2**31, (), generator=generator))
    centres = KMeans(n_clusters, n_init=1, random_state=random_state).fit(points).cluster_centers_
    return fill_codebook(torch.from_numpy(centres).to(residual.dtype), residual, codebook_size, generator)


def sample_codebook(residual: Tensor, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Residuals of random items, each item once; further codes lie close to drawn residuals, shape: [K, D]."""
    drawn = draw_rows(residual, min(codebook_size, len(residual)), generator)
    return fill_codebook(drawn, residual, codebook_size, generator)


def normal_codebook(residual: Tensor, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Gaussian noise with the residuals' standard deviation, shape: [K, D]."""
    return residual.std(unbiased=False) * torch.randn(codebook_size, residual.shape[-1], generator=generator)


CODEBOOK_INITS = {"kmeans": kmeans_codebook, "sample": sample_codebook, "normal": normal_codebook}


def fill_codebook(first: Tensor, residual: Tensor, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Lengthens `first` to K rows by drawn residuals, moved by a hundredth of their spread so that they differ."""
    rest = draw_rows(residual, codebook_size - len(first), generator)
    noise = torch.randn(rest.shape, generator=generator) * residual.std(unbiased=False) / 100
    return torch.cat([first, rest + noise])


def draw_rows(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random rows of x, none twice before all were drawn, shape: [count, D]."""
    order = torch.randperm(len(x), generator=generator)
    return x[order[torch.arange(count) % len(x)].to(x.device)]

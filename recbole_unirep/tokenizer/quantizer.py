"""Residual quantization with trainable codebooks and a distance per level.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, Algorithm 1.

    EMA codebook update: Aaron van den Oord, Oriol Vinyals, Koray Kavukcuoglu. "Neural Discrete Representation
        Learning", NeurIPS 2017, arXiv:1711.00937, appendix A.1.

The paper says nothing about the codebooks' first values and about dead codes; `initialise` and `move_dead_codes` are
ours.
Shapes: N vectors, K codebook_size, D code_dim.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.tokenizer.base import Quantized, built, check_option
from recbole_unirep.tokenizer.distance import NEARNESS, REDUCTIONS, nearest, squared_error
from recbole_unirep.tokenizer.gradients import GRADIENT_ESTIMATORS
from recbole_unirep.tokenizer.residual import residual_codes, residual_sum
from recbole_unirep.tokenizer.residual_fit import level_by_level

RESIDUAL_GRADIENTS = ("detached", "as_printed")
CODEBOOK_UPDATES = ("gradient", "ema")

# Of `ResidualQuantizer.fit`.
FIT_ITEMS = 2**16
KMEANS_ITERATIONS = 10


class GradientFlow(NamedTuple):
    """Where gradients go in a residual quantizer.

    Attributes:
        residual_gradient (str): 'detached' passes r_l - sg[e_l] to the next level, so that only a codebook's own loss
            moves it; 'as_printed' passes r_l - e_l, so that the commitment losses of later levels move it too.
        codebook_gradient (bool): whether later losses reach the chosen codes as well as z.
        gradient_estimator (str): how later losses reach z: 'straight_through' passes on the gradient of z_hat,
            'rotation' rotates and scales it as z is rotated and scaled onto z_hat.
    """

    residual_gradient: str
    codebook_gradient: bool
    gradient_estimator: str


class CodebookUpdate(NamedTuple):
    """How codebooks learn.

    Attributes:
        codebook_update (str): 'gradient' trains the codebooks by their loss; 'ema' has no such loss, `ema_update` sets
            each vector to the moving average of the residuals that chose it.
        codebook_decay (float): of that average, at least 0 and below 1.
    """

    codebook_update: str
    codebook_decay: float


class ResidualQuantizer(nn.Module):
    """Algorithm 1, lines 3 to 10: each level quantizes the residual of the levels before it.

    A cosine level chooses by direction and subtracts the code as it is, not normalised. The codebooks are Gaussian
    noise until `initialise` has seen data.

    Args:
        n_levels (int): codes in a semantic ID.
        codebook_size (int): vectors per level.
        code_dim (int): size of a codebook vector.
        level_metrics (list of str): how each level finds its nearest vector, names in `NEARNESS`; the last one also
            holds for the levels after it.
        commitment_weight (float): beta, the pull of the encoder towards its code.
        loss_reduction (str): reduction of a squared error over its dimensions, a name in `REDUCTIONS`.
        gradients (GradientFlow): which parts receive which gradients.
        update (CodebookUpdate): how codebooks learn.

    Raises:
        ValueError: an option is unknown or contradicts another, or there is no metric, or more than levels.
    """

    def __init__(
        self,
        *,
        n_levels: int,
        codebook_size: int,
        code_dim: int,
        level_metrics: list,
        commitment_weight: float,
        loss_reduction: str,
        gradients: GradientFlow,
        update: CodebookUpdate,
    ):
        super().__init__()
        if not 0 < len(level_metrics) <= n_levels:
            raise ValueError(
                f"level_metrics names {len(level_metrics)} levels, n_levels is {n_levels}: give one metric per level, "
                f"where the last one holds for the levels after it"
            )
        for metric in level_metrics:
            check_option("level_metrics", metric, NEARNESS)
        _check_gradients(gradients)
        check_option("codebook_update", update.codebook_update, CODEBOOK_UPDATES)
        check_option("loss_reduction", loss_reduction, REDUCTIONS)
        codebooks = torch.randn(n_levels, codebook_size, code_dim)
        if update.codebook_update == "gradient":
            self.codebooks = nn.Parameter(codebooks)
        else:
            _check_ema(update.codebook_decay, gradients)
            self.register_buffer("codebooks", codebooks)
            self.register_buffer("code_counts", torch.zeros(n_levels, codebook_size))  # moving averages
            self.register_buffer("code_sums", torch.zeros_like(codebooks))
        self.n_levels = n_levels
        self.codebook_size = codebook_size
        self.level_metrics = [*level_metrics, *[level_metrics[-1]] * (n_levels - len(level_metrics))]
        self.commitment_weight = commitment_weight
        self.loss_reduction = loss_reduction
        self.gradients = gradients
        self.codebook_update, self.codebook_decay = update

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> "ResidualQuantizer":
        """Builds a quantizer from yaml keys: the arguments, and the attributes of `GradientFlow`, `CodebookUpdate`."""
        return built(cls, keys, gradients=built(GradientFlow, keys), update=built(CodebookUpdate, keys))

    @property
    def ema_state(self) -> tuple:
        """Buffers that `ema_update` changes; empty with codebook_update 'gradient'."""
        return (self.codebooks, self.code_counts, self.code_sums) if self.codebook_update == "ema" else ()

    def forward(self, z: Tensor) -> Quantized:
        """Quantizes vectors; gradients reach them by `gradient_estimator`.

        Args:
            z (Tensor): encoded vectors, shape: [N, D].

        Returns:
            Quantized: vectors [N, D] of value z_hat, codes [N, n_levels] int64, losses [N] summed over levels.
        """
        vectors, codes = self.quantize(z)
        return Quantized(vectors, codes, self.losses(z, codes))

    def quantize(self, z: Tensor) -> tuple:
        """Vectors [N, D] of value z_hat that pass gradients on to z, and codes [N, n_levels], int64."""
        codes = self.encode(z)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.gradients.codebook_gradient):
            z_hat = self.decode(codes)
        return GRADIENT_ESTIMATORS[self.gradients.gradient_estimator].apply(z, z_hat), codes

    def losses(self, z: Tensor, codes: Tensor) -> Tensor:
        """Codebook and commitment losses summed over levels, also for a part of the vectors that were quantized.

        With codebook_update 'ema' there is no codebook loss.

        Args:
            z (Tensor): encoded vectors, shape: [N, D].
            codes (Tensor): their codes, shape: [N, n_levels].

        Returns:
            Tensor: one loss per vector, shape: [N].
        """
        residual, losses = z, 0
        for codebook, code in zip(self.codebooks, codes.unbind(dim=-1)):
            vector = functional.embedding(code, codebook)  # [N, D]
            losses = losses + self.commitment_weight * squared_error(residual, vector.detach(), self.loss_reduction)
            if self.codebook_update == "gradient":
                losses = losses + squared_error(residual.detach(), vector, self.loss_reduction)
            residual = residual - (vector.detach() if self.gradients.residual_gradient == "detached" else vector)
        return losses

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """Codes of encoded vectors z [N, D], int64, shape: [N, n_levels]."""
        return residual_codes(z, self.codebooks, self.level_metrics)

    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the codes' vectors, z_hat of Algorithm 1.

        Args:
            codes (Tensor): codes, int64, shape: [N, n_levels].

        Returns:
            Tensor: z_hat, shape: [N, D].
        """
        return residual_sum(self.codebooks, codes)

    @torch.no_grad()
    def initialise(self, z: Tensor, codebook_init: str, seed: int) -> None:
        """Sets the first codebook of each level, from the residuals of the levels before it.

        Args:
            z (Tensor): encoded vectors of the whole catalogue, shape: [N, D].
            codebook_init (str): a name in `CODEBOOK_INITS`.
            seed (int): the same seed gives the same codebooks; torch's global state is neither read nor changed.

        Raises:
            ValueError: `codebook_init` is unknown.
        """
        check_option("codebook_init", codebook_init, CODEBOOK_INITS)
        generator = torch.Generator().manual_seed(seed)
        residual, codebooks = z, []
        for metric in self.level_metrics:
            first = CODEBOOK_INITS[codebook_init](residual.cpu(), self.codebook_size, generator).to(z)
            residual = residual - first[nearest(residual, first, metric)]
            codebooks.append(first)
        self._set_codebooks(z, torch.stack(codebooks))

    @torch.no_grad()
    def fit(self, z: Tensor, seed: int) -> None:
        """Fits all codebooks to vectors that no longer move, by k-means level by level.

        Args:
            z (Tensor): encoded vectors of the whole catalogue; at most FIT_ITEMS of them, drawn by the seed, are read.
                Shape: [N, D].
            seed (int): the same seed and number of threads give the same codebooks.
        """
        if len(z) > FIT_ITEMS:
            z = z[torch.randperm(len(z), generator=torch.Generator().manual_seed(seed))[:FIT_ITEMS].to(z.device)]
        codebooks = level_by_level(z, self.codebook_size, self.level_metrics, KMEANS_ITERATIONS, seed)
        self._set_codebooks(z, codebooks.to(z))

    def _set_codebooks(self, z, codebooks):
        """Sets codebooks, and the moving averages behind them as if the vectors z [N, D] had just been assigned."""
        self.codebooks.detach().copy_(codebooks)
        if self.codebook_update == "ema":
            for counts, code in zip(self.code_counts, self.encode(z).unbind(dim=-1)):
                counts.copy_(torch.bincount(code, minlength=self.codebook_size).clamp(min=1))
            self.code_sums.copy_(self.codebooks * self.code_counts[..., None])

    @torch.no_grad()
    def ema_update(self, z: Tensor, codes: Tensor) -> None:
        """Moves each codebook towards the means of the residuals that chose its codes, for codebook_update 'ema'.

        Args:
            z (Tensor): encoded vectors, shape: [N, D].
            codes (Tensor): their codes, shape: [N, n_levels].
        """
        residual = z.clone()
        for codebook, counts, sums, code in zip(self.codebooks, self.code_counts, self.code_sums, codes.T.contiguous()):
            vectors = functional.embedding(code, codebook)  # [N, D], before the codebook moves
            chosen = torch.bincount(code, minlength=len(codebook)).to(counts.dtype)  # [K]
            counts.lerp_(chosen, 1 - self.codebook_decay)
            sums.lerp_(torch.zeros_like(sums).index_add_(0, code, residual), 1 - self.codebook_decay)
            codebook.copy_(torch.where(chosen[:, None] > 0, sums / counts[:, None], codebook))  # unused codes stay
            residual -= vectors

    @torch.no_grad()
    def move_dead_codes(self, z: Tensor, used: Tensor, generator: torch.Generator) -> None:
        """Puts each unused code onto a random residual of its level.

        Args:
            z (Tensor): encoded vectors, whose residuals are drawn, shape: [N, D].
            used (Tensor): whether a code was chosen since the last call, bool, shape: [n_levels, K].
            generator (torch.Generator): source of the draw, on the CPU.
        """
        residual = z
        for codebook, metric, alive in zip(self.codebooks.detach(), self.level_metrics, used):
            codebook[~alive] = draw_rows(residual, int((~alive).sum()), generator)
            residual = residual - codebook[nearest(residual, codebook, metric)]
        if self.codebook_update == "ema":
            self.code_counts[~used] = 1
            self.code_sums[~used] = self.codebooks[~used]


def _check_gradients(gradients):
    check_option("residual_gradient", gradients.residual_gradient, RESIDUAL_GRADIENTS)
    check_option("gradient_estimator", gradients.gradient_estimator, GRADIENT_ESTIMATORS)
    if gradients.gradient_estimator == "rotation" and gradients.codebook_gradient:
        raise ValueError("gradient_estimator=rotation moves z alone: use codebook_gradient=False, or straight_through")


def _check_ema(decay, gradients):
    if not 0 <= decay < 1:
        raise ValueError(f"codebook_decay={decay} is not a decay rate: give 0 or more, below 1")
    if gradients.codebook_gradient or gradients.residual_gradient != "detached":
        raise ValueError(
            "codebook_update=ema takes no gradients to the codebooks: use codebook_gradient=False and "
            "residual_gradient=detached, or codebook_update=gradient"
        )


def kmeans_codebook(residual: Tensor, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Centres of Euclidean k-means, whatever the level's metric, shape: [K, D].

    With fewer distinct residuals than codes, the remaining codes lie close to drawn residuals.
    """
    points = residual.double().numpy()
    n_clusters = min(codebook_size, len(np.unique(points, axis=0)))
    random_state = int(torch.randint(2**31, (), generator=generator))
    centres = KMeans(n_clusters, n_init=1, random_state=random_state).fit(points).cluster_centers_
    return fill_codebook(torch.from_numpy(centres).to(residual.dtype), residual, codebook_size, generator)


def sample_codebook(residual: Tensor, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Residuals of random items, each item once; the remaining codes lie close to drawn residuals, shape: [K, D]."""
    drawn = draw_rows(residual, min(codebook_size, len(residual)), generator)
    return fill_codebook(drawn, residual, codebook_size, generator)


def normal_codebook(residual: Tensor, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Gaussian noise with the residuals' standard deviation, shape: [K, D]."""
    return residual.std(unbiased=False) * torch.randn(codebook_size, residual.shape[-1], generator=generator)


CODEBOOK_INITS = {"kmeans": kmeans_codebook, "sample": sample_codebook, "normal": normal_codebook}


def fill_codebook(first: Tensor, residual: Tensor, codebook_size: int, generator: torch.Generator) -> Tensor:
    """Extends `first` to K rows with drawn residuals, shifted by a hundredth of their spread so that they differ."""
    rest = draw_rows(residual, codebook_size - len(first), generator)
    noise = torch.randn(rest.shape, generator=generator) * residual.std(unbiased=False) / 100
    return torch.cat([first, rest + noise])


def draw_rows(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random rows of x, none twice until all are drawn, shape: [count, D]."""
    order = torch.randperm(len(x), generator=generator)
    return x[order[torch.arange(count) % len(x)].to(x.device)]

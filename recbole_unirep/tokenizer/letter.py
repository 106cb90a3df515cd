"""LETTER: an RQ-VAE whose codes also reflect collaborative signals, and are spread evenly.

Reference:
    Wenjie Wang et al. "Learnable Item Tokenization for Generative Recommendation" (LETTER), CIKM 2024,
        arXiv:2405.07314, equations 3 to 5. Written from the paper; comments say where we fill what it leaves open.

Shapes: N items, B items of a step, D code_dim, K codebook_size, L levels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.tokenizer.autoencoder_fit import AutoencoderFit
from recbole_unirep.tokenizer.balancedrqkmeans import balanced_assignment
from recbole_unirep.tokenizer.perceptron import Perceptron
from recbole_unirep.tokenizer.quantizer import ResidualQuantizer
from recbole_unirep.tokenizer.rqvae import RQVAE

CLUSTER_ITERATIONS = 10  # iterations of the constrained k-means over a level's codes; chosen by this package
FIXED_KEYS = {
    "level_metrics": ["euclidean"],
    "residual_gradient": "detached",
    "codebook_gradient": False,
    "gradient_estimator": "straight_through",
    "codebook_update": "gradient",
    "codebook_decay": 0.0,
    "loss_reduction": "mean",
    "fit_dead_code_steps": 0,
}


class LETTER(RQVAE):
    """RQ-VAE with two regularizers: quantized vectors match collaborative ones, and codes are spread evenly.

    A vector is [text ; collaborative]. Only `fit` reads the collaborative part: codes come from the text, so that new
    items get codes too. Levels search by Euclidean distance, and gradients move the codebooks.

    Args:
        encoder, quantizer, decoder, fit_settings: see `RQVAE`; they know the text part alone.
        collaborative_dim (int): number of collaborative dimensions, the last ones of a vector; must equal code_dim,
            since equation 4 multiplies both.
        collaborative_weight (float): alpha of equation 3; zero vectors (items without interactions) are left out.
        diversity_weight (float): beta of equation 3.
        code_clusters (int): groups of equal size that the codes of a level are clustered into, again at each
            epoch (equation 5); at least two codes per group.

    Raises:
        ValueError: an option contradicts another.
    """

    is_trained = False  # `fit` needs the collaborative vectors; inside a recommender its codes are frozen
    is_collaborative = True

    def __init__(
        self,
        *,
        encoder: Perceptron,
        quantizer: ResidualQuantizer,
        decoder: Perceptron,
        collaborative_dim: int,
        collaborative_weight: float,
        diversity_weight: float,
        code_clusters: int,
        fit_settings: AutoencoderFit,
    ):
        super().__init__(
            encoder=encoder,
            quantizer=quantizer,
            decoder=decoder,
            codebook_init="kmeans",
            text_scaling="standard",
            fit_settings=fit_settings,
        )
        if collaborative_dim != self.code_dim:
            raise ValueError(
                f"collaborative_dim={collaborative_dim} and code_dim={self.code_dim} differ, but LETTER multiplies "
                f"both vectors: make them equal"
            )
        if not 0 < code_clusters <= self.codebook_size // 2:
            raise ValueError(
                f"code_clusters={code_clusters} of codebook_size={self.codebook_size} codes leaves some alone in their "
                f"cluster: give at most half as many"
            )
        self.collaborative_dim = collaborative_dim
        self.collaborative_weight, self.diversity_weight = collaborative_weight, diversity_weight
        self.code_clusters = code_clusters
        self.register_buffer("is_fitted", torch.zeros((), dtype=torch.bool))

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> "LETTER":
        """Builds a tokenizer from yaml keys and text_dim, which counts both parts of a vector.

        Raises:
            ValueError: the collaborative part leaves no dimension to the text, or an option contradicts another.
        """
        width, collaborative_dim = keys["text_dim"], keys["collaborative_dim"]
        if not 0 < collaborative_dim < width:
            raise ValueError(
                f"vectors have {width} dimensions, collaborative_dim={collaborative_dim} leaves none for the text: "
                f"concatenate text and collaborative vectors, text first"
            )
        return super().from_keys({**keys, **FIXED_KEYS, "text_dim": width - collaborative_dim})

    def fit(self, x: Tensor) -> "LETTER":
        self.is_fitted.fill_(len(x) > 0)
        return super().fit(x)

    def decode(self, codes: Tensor) -> Tensor:
        """Text embeddings that codes [N, L] approximate, and zeros as collaborative part, shape: [N, text_dim]."""
        return functional.pad(super().decode(codes), (0, self.collaborative_dim))

    def begin_epoch(self, generator):
        """Puts the codes of each level into clusters, from their present vectors, shape: [L, K]."""
        clusters = [equal_clusters(book, self.code_clusters, generator) for book in self.quantizer.codebooks.detach()]
        self._clusters = torch.stack(clusters)

    def regularization(self, x, vectors, codes, generator):
        loss = self.collaborative_weight * collaborative_loss(vectors, x[:, self.text_dim :].to(vectors.dtype))
        for book, code, cluster in zip(self.quantizer.codebooks, codes.unbind(dim=-1), self._clusters):
            loss = loss + self.diversity_weight * diversity_loss(book, code, cluster, generator)
        return loss

    def _read_text(self, x):
        width = self.text_dim + self.collaborative_dim
        if x.shape[-1] != width:
            raise ValueError(
                f"vectors have {x.shape[-1]} dimensions, the tokenizer was made for text_dim {width} with "
                f"{self.collaborative_dim} collaborative ones: concatenate text and collaborative vectors"
            )
        if not self.is_fitted:
            raise ValueError("LETTER has seen no vectors yet: call fit first")
        return super()._read_text(x[..., : self.text_dim])


def collaborative_loss(vectors: Tensor, collaborative: Tensor) -> Tensor:
    """Equation 4: contrasts each item's quantized vector with the collaborative vectors of the batch.

    Args:
        vectors (Tensor): quantized, shape: [B, D].
        collaborative (Tensor): zeros for an item without interactions, shape: [B, D].

    Returns:
        Tensor: mean over the items that have a collaborative vector, 0 if none has, shape: [].
    """
    has_one = collaborative.any(dim=-1)
    vectors, collaborative = vectors[has_one], collaborative[has_one]
    if not len(vectors):
        return vectors.sum()
    own = torch.arange(len(vectors), device=vectors.device)
    return functional.cross_entropy(vectors @ collaborative.T, own)


def diversity_loss(codebook: Tensor, code: Tensor, cluster: Tensor, generator: torch.Generator) -> Tensor:
    """Equation 5: pulls an item's code towards another code of its cluster, and away from all others.

    Args:
        codebook (Tensor): of a level, shape: [K, D].
        code (Tensor): the items' codes, int64, shape: [B].
        cluster (Tensor): cluster of each code, at least two in each, int64, shape: [K].
        generator (torch.Generator): draws the other code, on the CPU.

    Returns:
        Tensor: mean over the items, shape: [].
    """
    own = torch.arange(len(codebook), device=code.device) == code[:, None]  # [B, K]
    is_other = (cluster[code][:, None] == cluster) & ~own
    other = torch.multinomial(is_other.float().cpu(), 1, generator=generator)[:, 0].to(code.device)
    scores = (codebook[code] @ codebook.T).masked_fill(own, -torch.inf)
    return functional.cross_entropy(scores, other)


@torch.no_grad()
def equal_clusters(codebook: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Clusters of equal size, by the constrained k-means of OneRec's Algorithm 1; the paper names no method.

    Args:
        codebook (Tensor): codes, shape: [K, D].
        n_clusters (int): at most K.
        generator (torch.Generator): draws the initial centres, on the CPU.

    Returns:
        Tensor: cluster of each code, int64, shape: [K].
    """
    centres = codebook[torch.randperm(len(codebook), generator=generator)[:n_clusters].to(codebook.device)]
    for _ in range(CLUSTER_ITERATIONS):
        cluster, centres = balanced_assignment(codebook, centres)
    return cluster

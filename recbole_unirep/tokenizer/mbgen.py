"""MBGen: a VQ-VAE level, a k-means level on its residuals, and a seeded random level.

Reference:
    Zihan Liu, Yupeng Hou, Julian McAuley. "Multi-Behavior Generative Recommendation" (MBGen), CIKM 2024,
        arXiv:2405.16871.

The random level is a hash of the vector, so that an item has the same code wherever it is encoded.
Shapes: N items, K codebook_size, D code_dim.
"""

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.tokenizer.base import SemanticTokenizer, built
from recbole_unirep.tokenizer.clustering import kmeans
from recbole_unirep.tokenizer.distance import nearest
from recbole_unirep.tokenizer.rqvae import RQVAE

FIRST_LEVEL_KEYS = (
    "text_dim",
    "codebook_size",
    "code_dim",
    "encoder_sizes",
    "commitment_weight",
    "codebook_update",
    "codebook_decay",
    "fit_epochs",
    "fit_batch_size",
    "fit_learning_rate",
    "fit_seed",
)


class MBGen(SemanticTokenizer):
    """Three levels of three kinds.

    Args:
        first (RQVAE): the first level, an RQ-VAE of one level.
        kmeans_iterations (int): Lloyd's iterations of the second level.
        fit_seed (int): of the second and the third level.
    """

    n_levels = 3

    def __init__(self, *, first: RQVAE, kmeans_iterations: int, fit_seed: int):
        super().__init__()
        self.first = first
        self.codebook_size, self.code_dim = first.codebook_size, first.code_dim
        self.register_buffer("residual_codebook", torch.zeros(self.codebook_size, self.code_dim))
        self.register_buffer("is_fitted", torch.zeros((), dtype=torch.bool))
        self.kmeans_iterations, self.fit_seed = kmeans_iterations, fit_seed

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> "MBGen":
        """Builds a tokenizer from yaml keys and text_dim; the first level's other keys are in RQVAE.yaml."""
        given = {key: keys[key] for key in FIRST_LEVEL_KEYS}
        first = RQVAE.from_defaults(**given, n_levels=1, level_metrics=["euclidean"], fit_dead_code_steps=0)
        return built(cls, keys, first=first)

    def fit(self, x: Tensor) -> "MBGen":
        self.first.fit(x)
        with torch.no_grad():
            latent = self.first.latent(x)
            residual = latent - self.first.quantizer.decode(self.first.quantizer.encode(latent))
            self.residual_codebook.copy_(kmeans(residual, self.codebook_size, self.kmeans_iterations, self.fit_seed))
        self.is_fitted.fill_(True)
        return self

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        if not self.is_fitted:
            raise ValueError("MBGen has seen no vectors yet: call fit first")
        latent = self.first.latent(x)
        first = self.first.quantizer.encode(latent)  # [N, 1]
        second = nearest(latent - self.first.quantizer.decode(first), self.residual_codebook, "euclidean")
        return torch.stack([first[:, 0], second, self._random_code(x)], dim=-1)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        text = self.first
        return text.decoder(self._vectors(codes)) * text.text_deviation + text.text_mean

    @torch.no_grad()
    def approximations(self, x: Tensor, codes: Tensor) -> tuple:
        both = self._vectors(codes)
        return self.first.latent(x), [self.first.quantizer.decode(codes[:, :1]), both, both]

    def _vectors(self, codes):
        """Sum of the vectors of the first two codes, shape: [N, D]; a random code has no vector."""
        return self.first.quantizer.decode(codes[:, :1]) + functional.embedding(codes[:, 1], self.residual_codebook)

    def _random_code(self, x):
        rows = x.detach().to("cpu", torch.float32).contiguous().numpy()
        codes = [crc32(row.tobytes(), self.fit_seed) % self.codebook_size for row in rows]
        return torch.tensor(codes, dtype=torch.int64, device=x.device)

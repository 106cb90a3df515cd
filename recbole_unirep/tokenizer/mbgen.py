"""MBGen: a VQ-VAE level, a k-means level on its residuals, and a seeded random level.

Reference:
    Zihan Liu, Yupeng Hou, Julian McAuley. "Multi-Behavior Generative Recommendation" (MBGen), CIKM 2024,
        arXiv:2405.16871.

The random level is a hash of the vector, so that an item has the same one wherever it is encoded.
Shapes: N items, K codebook_size, D code_dim.
"""

from zlib import crc32

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.tokenizer.base import Losses, Quantized, SemanticTokenizer
from recbole_unirep.tokenizer.clustering import kmeans
from recbole_unirep.tokenizer.distance import nearest
from recbole_unirep.tokenizer.rqvae import RQVAE


class MBGen(SemanticTokenizer):
    """Three levels of three kinds.

    Args:
        text_dim (int): dimensions of an item text embedding.
        codebook_size (int): codes of each level.
        kmeans_iterations (int): Lloyd's iterations of the second level.
        code_dim, encoder_sizes, commitment_weight, codebook_update, codebook_decay, fit_epochs, fit_batch_size,
            fit_learning_rate, fit_seed: of the first level, see `RQVAE`.
    """

    is_trained = False
    n_levels = 3

    def __init__(
        self,
        *,
        text_dim: int,
        codebook_size: int,
        code_dim: int,
        encoder_sizes: list,
        commitment_weight: float,
        codebook_update: str,
        codebook_decay: float,
        kmeans_iterations: int,
        fit_epochs: int,
        fit_batch_size: int,
        fit_learning_rate: float,
        fit_seed: int,
    ):
        super().__init__()
        self.first = RQVAE.from_defaults(
            text_dim=text_dim,
            n_levels=1,
            codebook_size=codebook_size,
            code_dim=code_dim,
            encoder_sizes=encoder_sizes,
            level_metrics=["euclidean"],
            commitment_weight=commitment_weight,
            codebook_update=codebook_update,
            codebook_decay=codebook_decay,
            fit_epochs=fit_epochs,
            fit_batch_size=fit_batch_size,
            fit_learning_rate=fit_learning_rate,
            fit_dead_code_steps=0,
            fit_seed=fit_seed,
        )
        self.register_buffer("residual_codebook", torch.zeros(codebook_size, code_dim))
        self.register_buffer("is_fitted", torch.zeros((), dtype=torch.bool))
        self.codebook_size, self.code_dim = codebook_size, code_dim
        self.kmeans_iterations, self.fit_seed = kmeans_iterations, fit_seed

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
    def forward(self, x: Tensor) -> Quantized:
        codes = self.encode(x)
        nothing = torch.zeros(len(x), device=codes.device)
        return Quantized(self._vectors(codes), codes, Losses(nothing, nothing))

    @torch.no_grad()
    def approximations(self, x: Tensor, codes: Tensor) -> tuple:
        both = self._vectors(codes)
        return self.first.latent(x), [self.first.quantizer.decode(codes[:, :1]), both, both]

    def _vectors(self, codes):
        """What the first two codes stand for, shape: [N, D]; the random one stands for nothing."""
        return self.first.quantizer.decode(codes[:, :1]) + functional.embedding(codes[:, 1], self.residual_codebook)

    def _random_code(self, x):
        rows = x.detach().to("cpu", torch.float32).contiguous().numpy()
        codes = [crc32(row.tobytes(), self.fit_seed) % self.codebook_size for row in rows]
        return torch.tensor(codes, dtype=torch.int64, device=x.device)

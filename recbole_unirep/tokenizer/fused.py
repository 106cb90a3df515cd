"""Fused: residual k-means of concatenated text and collaborative vectors.

Reference:
    Wenjie Wang et al. "Learnable Item Tokenization for Generative Recommendation" (LETTER), CIKM 2024,
        arXiv:2405.07314 (why codes should reflect collaborative signals); here the vectors are concatenated before they
        are quantized.

Shapes: N items, K codebook_size.
"""

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.tokenizer.residual import residual_codes
from recbole_unirep.tokenizer.rqkmeans import RQKMeans


class Fused(RQKMeans):
    """RQKMeans of [text ; collaborative], each part normalized and weighted.

    An item without a collaborative vector (zeros: it has no interactions yet) is encoded by its text alone.

    Args:
        n_levels (int): codes in a semantic ID.
        codebook_size (int): clusters of each level.
        collaborative_dim (int): number of collaborative dimensions, the last ones of a vector.
        collaborative_share (float): fraction of the squared length that the collaborative part has, 0 to 1; the text
            has the rest.
        kmeans_iterations (int): Lloyd's iterations per level.
        fit_items, fit_seed: see `FittedTokenizer`.

    Raises:
        ValueError: `collaborative_share` is not in 0 to 1.
    """

    is_collaborative = True

    def __init__(
        self,
        *,
        n_levels: int,
        codebook_size: int,
        collaborative_dim: int,
        collaborative_share: float,
        kmeans_iterations: int,
        fit_items: int,
        fit_seed: int,
    ):
        if not 0 <= collaborative_share <= 1:
            raise ValueError(f"collaborative_share={collaborative_share} is not a fraction: give 0 to 1")
        super().__init__(
            n_levels=n_levels,
            codebook_size=codebook_size,
            kmeans_iterations=kmeans_iterations,
            refinement_rounds=0,  # new items are encoded by the text part, for which nothing would be refined
            fit_items=fit_items,
            fit_seed=fit_seed,
        )
        self.collaborative_dim, self.collaborative_share = collaborative_dim, collaborative_share

    def join(self, x: Tensor) -> Tensor:
        """Both parts normalized and weighted, shape: [N, text_dim + collaborative_dim]; `decode` gives such vectors."""
        text, collaborative = self._parts(x)
        text = functional.normalize(text, dim=-1) * (1 - self.collaborative_share) ** 0.5
        collaborative = functional.normalize(collaborative, dim=-1) * self.collaborative_share**0.5
        return torch.cat([text, collaborative], dim=-1)

    def _fit(self, x: Tensor) -> None:
        if x.shape[1] <= self.collaborative_dim:
            raise ValueError(
                f"vectors have {x.shape[1]} dimensions, collaborative_dim={self.collaborative_dim} leaves none for the "
                f"text: concatenate text and collaborative vectors, text first"
            )
        super()._fit(self.join(x))

    def _encode(self, x):
        joined = self.join(x)
        codes = super()._encode(joined)
        is_new = ~self._parts(joined)[1].any(dim=-1)
        if is_new.any():
            text, books = self._parts(joined[is_new])[0], self._parts(self.codebooks)[0]
            codes[is_new] = residual_codes(text, books, self.level_metrics)
        return codes

    def _quantized_space(self, x):
        return self.join(x)

    def _parts(self, x):
        """Text and collaborative part of vectors [N, text_dim + collaborative_dim]."""
        width = x.shape[-1] - self.collaborative_dim
        return x[..., :width], x[..., width:]

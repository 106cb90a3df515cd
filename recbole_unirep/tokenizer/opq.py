"""OPQ: product quantization after a learned rotation.

Reference:
    Tiezheng Ge, Kaiming He, Qifa Ke, Jian Sun. "Optimized Product Quantization for Approximate Nearest Neighbor
        Search", CVPR 2013.
    Yupeng Hou et al. "Generating Long Semantic IDs in Parallel for Recommendation" (RPG), arXiv:2506.05781.
"""

import torch
from torch import Tensor

from recbole_unirep.tokenizer.clustering import rotation
from recbole_unirep.tokenizer.pq import PQ, check_parts


class OPQ(PQ):
    """PQ of rotated vectors; the rotation minimises the error of all parts together.

    Args:
        opq_iterations (int): how often quantizer and rotation are updated in turn.
        n_levels, codebook_size, kmeans_iterations, fit_items, fit_seed: see `PQ`.
    """

    def __init__(
        self,
        *,
        n_levels: int,
        codebook_size: int,
        kmeans_iterations: int,
        opq_iterations: int,
        fit_items: int,
        fit_seed: int,
    ):
        super().__init__(
            n_levels=n_levels,
            codebook_size=codebook_size,
            kmeans_iterations=kmeans_iterations,
            fit_items=fit_items,
            fit_seed=fit_seed,
        )
        self.opq_iterations = opq_iterations
        self.register_buffer("rotation", torch.empty(0, 0))

    def _fit(self, x: Tensor) -> None:
        check_parts(self.n_levels, x.shape[1])
        learned = rotation(x, self.n_levels, self.codebook_size, self.opq_iterations)
        self.rotation = learned.to(self.codebooks.device)
        super()._fit(x @ learned.T)

    def _encode(self, x):
        return super()._encode(x @ self.rotation.T)

    def approximations(self, x: Tensor, codes: Tensor) -> tuple:
        self._check_width(x)
        return super().approximations(self._read(x) @ self.rotation.T, codes)

    def last_level(self, x: Tensor, codes: Tensor) -> tuple:
        return super().last_level(self._read(x) @ self.rotation.T, codes)

    def _decode(self, codes):
        return super()._decode(codes) @ self.rotation

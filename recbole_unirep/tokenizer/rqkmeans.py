"""RQKMeans: residual quantization by k-means, level by level, without a network.

Reference:
    Deng et al. "OneRec: Unifying Retrieve and Rank with Generative Recommender and Iterative Preference Alignment",
        arXiv:2502.18965 (its unbalanced form); Ju et al. "Generative Recommendation with Semantic IDs: A
        Practitioner's Handbook" (GRID's RK-Means), arXiv:2507.22224.
"""

import torch
from torch import Tensor

from recbole_unirep.tokenizer.clustering import kmeans
from recbole_unirep.tokenizer.distance import nearest
from recbole_unirep.tokenizer.fitted import ResidualCodes


class RQKMeans(ResidualCodes):
    """Each level's codebook is a k-means of the residuals that the levels before it leave.

    Args:
        n_levels (int): codes in a semantic ID.
        codebook_size (int): clusters of each level.
        kmeans_iterations (int): Lloyd's iterations of a level.
        fit_items, fit_seed: see `FittedTokenizer`.
    """

    def __init__(self, *, n_levels: int, codebook_size: int, kmeans_iterations: int, fit_items: int, fit_seed: int):
        super().__init__(
            n_levels=n_levels,
            codebook_size=codebook_size,
            level_metrics=["euclidean"] * n_levels,
            fit_items=fit_items,
            fit_seed=fit_seed,
        )
        self.kmeans_iterations = kmeans_iterations

    def _fit(self, x: Tensor) -> None:
        residual, codebooks = x, []
        for level in range(self.n_levels):
            codebook = kmeans(residual, self.codebook_size, self.kmeans_iterations, self.fit_seed + level)
            residual = residual - codebook[nearest(residual, codebook, "euclidean")]
            codebooks.append(codebook)
        self.codebooks = torch.stack(codebooks).to(self.codebooks.device)

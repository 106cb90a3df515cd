"""RQKMeans: residual quantization by k-means, level by level, without a network.

Reference:
    Deng et al. "OneRec: Unifying Retrieve and Rank with Generative Recommender and Iterative Preference Alignment",
        arXiv:2502.18965 (its unbalanced form); Ju et al. "Generative Recommendation with Semantic IDs: A
        Practitioner's Handbook" (GRID's RK-Means), arXiv:2507.22224.

After the last level all codebooks are refined together: each vector becomes the mean of what the other levels leave
over of its items, and the items are encoded again. On Amazon Beauty, four levels of 256 codes then reach a lower
distortion than faiss' ResidualQuantizer does even with beam search (results/tokenizer_benchmarks.md).

Shapes: N items, K codebook_size, L n_levels, D dimensions.
"""

import torch
from torch import Tensor

from recbole_unirep.tokenizer.clustering import kmeans
from recbole_unirep.tokenizer.distance import nearest
from recbole_unirep.tokenizer.fitted import ResidualCodes
from recbole_unirep.tokenizer.residual import residual_codes, residual_sum


class RQKMeans(ResidualCodes):
    """Each level's codebook is a k-means of the residuals of the levels before it; then all are refined.

    Args:
        n_levels (int): codes in a semantic ID.
        codebook_size (int): clusters of each level.
        kmeans_iterations (int): Lloyd's iterations of a level.
        refinement_rounds (int): joint updates of all codebooks; 0: none. The best codebooks are kept.
        fit_items, fit_seed: see `FittedTokenizer`.
    """

    def __init__(
        self,
        *,
        n_levels: int,
        codebook_size: int,
        kmeans_iterations: int,
        refinement_rounds: int,
        fit_items: int,
        fit_seed: int,
    ):
        super().__init__(
            n_levels=n_levels,
            codebook_size=codebook_size,
            level_metrics=["euclidean"] * n_levels,
            fit_items=fit_items,
            fit_seed=fit_seed,
        )
        self.kmeans_iterations, self.refinement_rounds = kmeans_iterations, refinement_rounds

    def _fit(self, x: Tensor) -> None:
        residual, codebooks = x, []
        for level in range(self.n_levels):
            seed = self.fit_seed + level
            codebook = kmeans(residual, self.codebook_size, self.kmeans_iterations, seed, also_progressive=True)
            residual = residual - codebook[nearest(residual, codebook, "euclidean")]
            codebooks.append(codebook)
        codebooks = refined(x, torch.stack(codebooks), self.refinement_rounds)
        self.codebooks = codebooks.to(self.codebooks.device)


def refined(x: Tensor, codebooks: Tensor, rounds: int) -> Tensor:
    """Updates all codebooks together, to lower the error of the vectors' codes.

    Args:
        x (Tensor): shape: [N, D].
        codebooks (Tensor): shape: [L, K, D].
        rounds (int): number of updates.

    Returns:
        Tensor: codebooks of the round with the lowest error, the given ones if no round is better, shape: [L, K, D].
    """
    metrics = ["euclidean"] * len(codebooks)
    best, least = codebooks, torch.inf
    for last in range(rounds + 1):
        codes = residual_codes(x, codebooks, metrics)
        known = residual_sum(codebooks, codes)  # [N, D]
        left = (x - known).square().sum(dtype=torch.float64)
        if left < least:
            best, least = codebooks, left
        if last == rounds:
            return best
        codebooks = codebooks.clone()
        for codebook, code in zip(codebooks, codes.unbind(dim=-1)):
            own = codebook[code]
            sums = torch.zeros_like(codebook).index_add_(0, code, x - known + own)
            count = torch.bincount(code, minlength=len(codebook))[:, None]
            codebook.copy_(torch.where(count > 0, sums / count.clamp(min=1), codebook))
            known = known - own + codebook[code]

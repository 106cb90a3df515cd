"""RQKMeans: residual quantization by k-means, level by level, without a network.

Reference:
    Deng et al. "OneRec: Unifying Retrieve and Rank with Generative Recommender and Iterative Preference Alignment",
        arXiv:2502.18965 (its unbalanced form); Ju et al. "Generative Recommendation with Semantic IDs: A
        Practitioner's Handbook" (GRID's RK-Means), arXiv:2507.22224.

After the last level all codebooks are refined together (`residual_fit.refined`). On Amazon Beauty, four levels of 256
codes then reach a lower distortion than faiss' ResidualQuantizer does even with beam search
(results/tokenizer_benchmarks.md).

Shapes: N items, K codebook_size, L n_levels, D dimensions.
"""

from torch import Tensor

from recbole_unirep.tokenizer.fitted import ResidualCodes
from recbole_unirep.tokenizer.residual_fit import level_by_level, refined


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
        metrics = self.level_metrics
        first = level_by_level(x, self.codebook_size, metrics, self.kmeans_iterations, self.fit_seed, True)
        self.codebooks = refined(x, first.to(x.device), metrics, self.refinement_rounds).to(self.codebooks.device)

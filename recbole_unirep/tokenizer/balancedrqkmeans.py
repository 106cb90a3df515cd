"""BalancedRQKMeans: residual k-means with clusters of equal size.

Reference:
    Deng et al. "OneRec: Unifying Retrieve and Rank with Generative Recommender and Iterative Preference Alignment",
        arXiv:2502.18965, Algorithm 1.

The algorithm gives each of K clusters N / K items; if K does not divide N, the first clusters get one more.
Shapes: N items, K codebook_size.
"""

import torch
from torch import Tensor

from recbole_unirep.tokenizer.fitted import ResidualCodes


class BalancedRQKMeans(ResidualCodes):
    """Algorithm 1 on the vectors, then on the residuals of each level.

    `encode` assigns each vector its nearest codes; `encode_catalogue` assigns balanced codes, and needs all items at
    once.

    Args:
        n_levels (int): codes in a semantic ID.
        codebook_size (int): clusters of each level.
        kmeans_iterations (int): maximum iterations per level; stops early once no item changes cluster.
        fit_seed (int): seed of the initial centres.
    """

    def __init__(self, *, n_levels: int, codebook_size: int, kmeans_iterations: int, fit_seed: int):
        super().__init__(
            n_levels=n_levels,
            codebook_size=codebook_size,
            level_metrics=["euclidean"] * n_levels,
            fit_items=0,  # clusters are balanced over all items
            fit_seed=fit_seed,
        )
        self.kmeans_iterations = kmeans_iterations

    @torch.no_grad()
    def encode_catalogue(self, x: Tensor) -> Tensor:
        """Balanced codes of all items: each code of a level gets equally many items, shape: [N, n_levels]."""
        self._check_width(x)
        residual, codes = self._read(x), []
        for codebook in self.codebooks:
            code, _ = balanced_assignment(residual, codebook)
            residual = residual - codebook[code]
            codes.append(code)
        return torch.stack(codes, dim=-1)

    def _fit(self, x: Tensor) -> None:
        generator = torch.Generator().manual_seed(self.fit_seed)
        residual, codebooks = x, []
        for _ in range(self.n_levels):
            rows = torch.randperm(len(x), generator=generator)[torch.arange(self.codebook_size) % len(x)]
            codebook, code = residual[rows], None
            for _ in range(self.kmeans_iterations):
                previous = code
                code, codebook = balanced_assignment(residual, codebook)
                if previous is not None and torch.equal(previous, code):
                    break
            code, _ = balanced_assignment(residual, codebook)
            residual = residual - codebook[code]
            codebooks.append(codebook)
        self.codebooks = torch.stack(codebooks).to(self.codebooks.device)


def balanced_assignment(x: Tensor, centres: Tensor) -> tuple:
    """One iteration of Algorithm 1: each cluster in turn takes the nearest of the remaining items.

    Args:
        x (Tensor): vectors of the items, shape: [N, D].
        centres (Tensor): centres of the clusters, shape: [K, D].

    Returns:
        tuple[Tensor, Tensor]: the cluster of each item, int64, shape: [N]; the cluster means, shape: [K, D]; an empty
        cluster keeps its centre.
    """
    n_items, n_clusters = len(x), len(centres)
    size, n_larger = divmod(n_items, n_clusters)
    left = torch.arange(n_items, device=x.device)
    cluster, means = torch.empty_like(left), centres.clone()
    for k in range(n_clusters):
        take = size + (k < n_larger)
        if not take:
            break
        distance = (x[left] - centres[k]).square().sum(dim=-1)  # [U]
        order = distance.argsort(stable=True)
        taken = left[order[:take]]
        cluster[taken] = k
        means[k] = x[taken].mean(dim=0)
        left = left[order[take:].sort().values]
    return cluster, means

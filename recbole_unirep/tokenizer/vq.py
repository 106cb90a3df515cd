"""VQ: a single codebook, found by k-means; the simplest semantic ID.

Reference:
    Robert M. Gray. "Vector Quantization", IEEE ASSP Magazine 1(2), 1984.
"""

from recbole_unirep.tokenizer.rqkmeans import RQKMeans


class VQ(RQKMeans):
    """k-means of the vectors: an ID of one level, shared by all items of a cluster.

    Args:
        codebook_size (int): clusters.
        kmeans_iterations (int): Lloyd's iterations.
        fit_items, fit_seed: see `FittedTokenizer`.
    """

    def __init__(self, *, codebook_size: int, kmeans_iterations: int, fit_items: int, fit_seed: int):
        super().__init__(
            n_levels=1,
            codebook_size=codebook_size,
            kmeans_iterations=kmeans_iterations,
            refinement_rounds=0,  # nothing to refine in a single codebook
            fit_items=fit_items,
            fit_seed=fit_seed,
        )

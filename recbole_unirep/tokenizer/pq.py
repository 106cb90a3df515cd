"""PQ: product quantization, which clusters the parts of a vector separately; its levels have no order.

Reference:
    Hervé Jégou, Matthijs Douze, Cordelia Schmid. "Product Quantization for Nearest Neighbor Search", TPAMI 33(1), 2011.
    Yupeng Hou, Zhankui He, Julian McAuley, Wayne Xin Zhao. "Learning Vector-Quantized Item Representation for
        Transferable Sequential Recommenders", arXiv:2210.12316.

Shapes: N items, K codebook_size.
"""

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.tokenizer.clustering import kmeans
from recbole_unirep.tokenizer.distance import cached_parts, nearest
from recbole_unirep.tokenizer.fitted import FittedTokenizer


class PQ(FittedTokenizer):
    """Each level quantizes its own part of the vector, of equal width, by k-means.

    Args:
        n_levels (int): number of parts; must divide the size of the vectors.
        codebook_size (int): clusters per part.
        kmeans_iterations (int): Lloyd's iterations per part.
        fit_items, fit_seed: see `FittedTokenizer`.
    """

    def __init__(self, *, n_levels: int, codebook_size: int, kmeans_iterations: int, fit_items: int, fit_seed: int):
        super().__init__(fit_items=fit_items, fit_seed=fit_seed)
        self.n_levels, self.codebook_size, self.kmeans_iterations = n_levels, codebook_size, kmeans_iterations
        self.register_buffer("codebooks", torch.empty(n_levels, codebook_size, 0))
        self.register_buffer("mean", torch.empty(0))  # of the vectors that were fitted, shape: [text_dim]

    def _fit(self, x: Tensor) -> None:
        check_parts(self.n_levels, x.shape[1])
        self.mean = x.mean(dim=0).to(self.codebooks.device)
        seeds = range(self.fit_seed, self.fit_seed + self.n_levels)
        parts = x.tensor_split(self.n_levels, dim=1)
        codebooks = [kmeans(part, self.codebook_size, self.kmeans_iterations, seed) for part, seed in zip(parts, seeds)]
        self.codebooks = torch.stack(codebooks).to(self.codebooks.device)

    def _encode(self, x):
        return torch.cat([self._codes(rows) for rows in cached_parts(x)])

    def _codes(self, rows):
        parts = rows.tensor_split(self.n_levels, dim=1)
        return torch.stack([nearest(part, book, "euclidean") for part, book in zip(parts, self.codebooks)], dim=-1)

    def approximations(self, x: Tensor, codes: Tensor) -> tuple:
        self._check_width(x)
        return self._read(x), self._growing(codes)

    def last_level(self, x: Tensor, codes: Tensor) -> tuple:
        """Last parts of the vectors [N, D] and their codebook [K, D]; earlier codes do not describe them."""
        return self._read(x).tensor_split(self.n_levels, dim=1)[-1], self.codebooks[-1]

    def _growing(self, codes):
        """The mean vector, whose parts are replaced by their codes' vectors, level by level."""
        known = self.mean.repeat(len(codes), 1)
        for part, codebook, code in zip(known.tensor_split(self.n_levels, dim=1), self.codebooks, codes.unbind(dim=-1)):
            part.copy_(functional.embedding(code, codebook))
            yield known

    def _decode(self, codes):
        levels = zip(self.codebooks, codes.unbind(dim=-1))
        return torch.cat([functional.embedding(code, codebook) for codebook, code in levels], dim=-1)


def check_parts(n_levels: int, width: int) -> None:
    """Raises ValueError unless vectors of that width split into parts of equal width."""
    if width % n_levels:
        fitting = [n for n in range(1, width + 1) if width % n == 0]
        near = sorted(fitting, key=lambda n: abs(n - n_levels))[:3]
        raise ValueError(
            f"n_levels={n_levels} does not divide the {width} dimensions of the vectors: choose one that does, such as "
            f"{', '.join(map(str, sorted(near)))}"
        )

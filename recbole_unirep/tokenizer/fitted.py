"""Base classes of tokenizers whose codebooks are fitted once and then frozen.

Encoding works block by block and fitting reads fit_items vectors, so that memory does not grow with the number of
vectors, which can lie in a memory-mapped file. With fit_items 0 fitting reads all vectors.

Shapes: N items, K codebook_size.
"""

from itertools import accumulate

import torch
from torch import Tensor

from recbole_unirep.tokenizer.base import ROWS_AT_ONCE, SemanticTokenizer
from recbole_unirep.tokenizer.residual import residual_codes, residual_steps, residual_sum


class FittedTokenizer(SemanticTokenizer):
    """A tokenizer of vectors whose codebooks are buffers, empty until `fit`.

    A subclass sets its buffers in `_fit`; `_encode` and `_decode` give codes and vectors of one block.

    Args:
        fit_items (int): maximum number of vectors that `fit` reads, sampled by fit_seed; 0: all.
        fit_seed (int): seed of every random draw.
    """

    def __init__(self, *, fit_items: int, fit_seed: int):
        super().__init__()
        self.fit_items, self.fit_seed = fit_items, fit_seed
        self.register_buffer("n_dimensions", torch.zeros((), dtype=torch.int64))

    @property
    def code_dim(self) -> int:
        """Size of the vectors that the tokenizer was fitted on; 0 before `fit`."""
        return int(self.n_dimensions)

    @torch.no_grad()
    def fit(self, x: Tensor) -> "FittedTokenizer":
        if len(x) == 0:
            raise ValueError(f"{type(self).__name__} needs at least one vector, got none")
        sample = x
        if self.fit_items and len(x) > self.fit_items:
            generator = torch.Generator().manual_seed(self.fit_seed)
            sample = x[torch.randperm(len(x), generator=generator)[: self.fit_items].sort().values]
        self.n_dimensions.fill_(x.shape[1])
        self._fit(sample.float())
        return self

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        self._check_width(x)
        if len(x) == 0:
            return torch.empty(0, self.n_levels, dtype=torch.int64, device=self.n_dimensions.device)
        return torch.cat([self._encode(self._read(part)) for part in x.split(ROWS_AT_ONCE)])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        self._check_width(None)
        return self._decode(codes)

    def _read(self, part: Tensor) -> Tensor:
        return part.to(self.n_dimensions.device, torch.float32)

    def _check_width(self, x):
        if not self.code_dim:
            raise ValueError(f"{type(self).__name__} has seen no vectors yet: call fit first")
        if x is not None and x.shape[-1] != self.code_dim:
            raise ValueError(
                f"vectors have {x.shape[-1]} dimensions, the tokenizer was made for {self.code_dim}: use the vectors "
                f"of one text encoder"
            )

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        for name, buffer in self._buffers.items():
            stored = state_dict.get(prefix + name)
            if stored is not None and buffer.shape != stored.shape:  # not fitted yet, or on other vectors
                self._buffers[name] = torch.empty_like(stored, device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *arguments)


class ResidualCodes(FittedTokenizer):
    """Each level quantizes the residual of the levels before it.

    Args:
        n_levels (int): codes in a semantic ID.
        codebook_size (int): vectors each level may choose from.
        level_metrics (list of str): how each level finds its nearest vector, shape: [n_levels].
        fit_items, fit_seed: see `FittedTokenizer`.
    """

    def __init__(self, *, n_levels: int, codebook_size: int, level_metrics: list, fit_items: int, fit_seed: int):
        super().__init__(fit_items=fit_items, fit_seed=fit_seed)
        self.n_levels, self.codebook_size, self.level_metrics = n_levels, codebook_size, level_metrics
        self.register_buffer("codebooks", torch.empty(n_levels, codebook_size, 0))

    def _encode(self, x):
        return residual_codes(x, self.codebooks, self.level_metrics)

    def _decode(self, codes):
        return residual_sum(self.codebooks, codes)

    def approximations(self, x: Tensor, codes: Tensor) -> tuple:
        self._check_width(x)
        return self._quantized_space(self._read(x)), accumulate(residual_steps(self.codebooks, codes))

    def last_level(self, x: Tensor, codes: Tensor) -> tuple:
        """Residuals that the last level quantizes [N, D] and its codebook [K, D]."""
        vectors = self._quantized_space(self._read(x))
        return vectors - sum(residual_steps(self.codebooks[:-1], codes)), self.codebooks[-1]

    def _quantized_space(self, x):
        """The vectors that are quantized, made from x; a subclass may transform x."""
        return x

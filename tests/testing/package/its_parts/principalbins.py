"""PrincipalBins: each level quantizes one principal component of the vectors."""

import torch

from recbole_unirep.tokenizer.fitted import FittedTokenizer


class PrincipalBins(FittedTokenizer):
    """Levels are principal components, strongest first; their codebooks are quantiles."""

    def __init__(self, *, n_levels, codebook_size, fit_items, fit_seed):
        super().__init__(fit_items=fit_items, fit_seed=fit_seed)
        self.n_levels, self.codebook_size = n_levels, codebook_size
        for name in ("mean", "components", "centres"):
            self.register_buffer(name, torch.empty(0))

    def _fit(self, x):
        self.mean = x.mean(dim=0)  # [D]
        self.components = torch.linalg.svd(x - self.mean, full_matrices=False).Vh[: self.n_levels]  # [L, D]
        shares = (torch.arange(self.codebook_size) + 0.5) / self.codebook_size
        self.centres = ((x - self.mean) @ self.components.T).quantile(shares, dim=0).T  # [L, K]

    def _encode(self, x):
        values = (x - self.mean) @ self.components.T  # [N, L]
        return (values[..., None] - self.centres).abs().argmin(dim=-1)

    def _decode(self, codes):
        return self.mean + self.centres.gather(1, codes.T).T @ self.components

    def approximations(self, x, codes):
        steps = self.centres.gather(1, codes.T)[..., None] * self.components[:, None]  # [L, N, D]
        return self._read(x), self.mean + steps.cumsum(dim=0)

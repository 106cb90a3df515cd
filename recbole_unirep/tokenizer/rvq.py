"""RVQ: residual quantization whose codebooks are trained by steps, without encoder and decoder.

Reference:
    Ju et al. "Generative Recommendation with Semantic IDs: A Practitioner's Handbook" (GRID's R-VQ), arXiv:2507.22224.
    Neil Zeghidour et al. "SoundStream: An End-to-End Neural Audio Codec", arXiv:2107.03312, section III.C.

Written from the papers. Shapes: N items, K codebook_size.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recbole_unirep.tokenizer.base import built
from recbole_unirep.tokenizer.fitted import ResidualCodes
from recbole_unirep.tokenizer.quantizer import ResidualQuantizer

FIXED_KEYS = {
    "commitment_weight": 0.0,  # there is no encoder to pull
    "residual_gradient": "detached",
    "codebook_gradient": False,
    "gradient_estimator": "straight_through",
    "loss_reduction": "sum",
}


class RVQ(ResidualCodes):
    """A ResidualQuantizer of the vectors themselves: all its levels are trained together, by batches.

    Args:
        make_quantizer (callable): code_dim to a ResidualQuantizer; the vectors' width is known to `fit` alone.
        codebook_init (str): first values of the codebooks, 'kmeans', 'sample' or 'normal'.
        fit_epochs (int): passes over the vectors.
        fit_batch_size (int): vectors per step.
        fit_learning_rate (float): Adam's, for codebook_update 'gradient'.
        fit_items, fit_seed: see `FittedTokenizer`.
    """

    def __init__(
        self,
        *,
        make_quantizer: Callable[[int], ResidualQuantizer],
        codebook_init: str,
        fit_epochs: int,
        fit_batch_size: int,
        fit_learning_rate: float,
        fit_items: int,
        fit_seed: int,
    ):
        quantizer = make_quantizer(1)  # checks the options
        super().__init__(
            n_levels=quantizer.n_levels,
            codebook_size=quantizer.codebook_size,
            level_metrics=quantizer.level_metrics,
            fit_items=fit_items,
            fit_seed=fit_seed,
        )
        self.make_quantizer, self.codebook_init = make_quantizer, codebook_init
        self.fit_epochs, self.fit_batch_size, self.fit_learning_rate = fit_epochs, fit_batch_size, fit_learning_rate

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]) -> "RVQ":
        """Builds a tokenizer from yaml keys."""
        return built(cls, keys, make_quantizer=partial(_quantizer, {**keys, **FIXED_KEYS}))

    def _fit(self, x: Tensor) -> None:
        with torch.random.fork_rng(devices=[]):  # its first values are overwritten at once
            quantizer = self.make_quantizer(x.shape[1])
        quantizer.initialise(x, self.codebook_init, self.fit_seed)
        step = self._ema_step if quantizer.ema_state else self._descent(quantizer)
        generator = torch.Generator().manual_seed(self.fit_seed)
        for _ in range(self.fit_epochs):
            for rows in torch.randperm(len(x), generator=generator).split(self.fit_batch_size):
                step(quantizer, x[rows])
        self.codebooks = quantizer.codebooks.detach().to(self.codebooks.device)

    @staticmethod
    def _ema_step(quantizer, part):
        quantizer.ema_update(part, quantizer.encode(part))

    def _descent(self, quantizer):
        """A function that takes one step of Adam down the codebook loss."""
        optimizer = torch.optim.Adam(quantizer.parameters(), lr=self.fit_learning_rate)

        @torch.enable_grad()
        def step(quantizer, part):
            optimizer.zero_grad()
            quantizer(part).losses.mean().backward()
            optimizer.step()

        return step


def _quantizer(keys, code_dim):
    return ResidualQuantizer.from_keys({**keys, "code_dim": code_dim})

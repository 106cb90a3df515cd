"""Training an RQ-VAE alone, before a recommender reads its codes."""

from typing import NamedTuple

import torch
from torch import Tensor


class AutoencoderFit(NamedTuple):
    """How an RQ-VAE is trained alone.

    Attributes:
        fit_epochs (int): passes over the items.
        fit_batch_size (int): items per step.
        fit_learning_rate (float): Adam's learning rate.
        fit_dead_code_steps (int): a code that no item chose for this many steps is moved onto a random residual; 0
            moves none.
        fit_seed (int): the same seed gives the same codes.
    """

    fit_epochs: int
    fit_batch_size: int
    fit_learning_rate: float
    fit_dead_code_steps: int
    fit_seed: int


def train_autoencoder(tokenizer, x: Tensor, settings: AutoencoderFit, generator: torch.Generator) -> None:
    """Trains encoder, quantizer and decoder by their losses, from the values that they have.

    Args:
        tokenizer (RQVAE): is changed.
        x (Tensor): text embeddings of the items that have text, shape: [N, text_dim].
        settings (AutoencoderFit): epochs, batch size, ...
        generator (torch.Generator): source of all draws, on the CPU.
    """
    quantizer, n_steps = tokenizer.quantizer, 0
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=settings.fit_learning_rate)
    is_used = torch.zeros_like(quantizer.codebooks[..., 0], dtype=torch.bool)  # [n_levels, K]
    for _ in range(settings.fit_epochs):
        tokenizer.begin_epoch(generator)
        for rows in torch.randperm(len(x), generator=generator).split(settings.fit_batch_size):
            text = x[rows.to(x.device)]
            latent = tokenizer.latent(text)
            vectors, codes, quantization = quantizer(latent)
            loss = (quantization + tokenizer.reconstruction_loss(text, vectors)).mean()
            optimizer.zero_grad()
            (loss + tokenizer.regularization(text, vectors, codes, generator)).backward()
            optimizer.step()
            if quantizer.ema_state:
                quantizer.ema_update(latent, codes)
            is_used.scatter_(1, codes.T, True)
            n_steps += 1
            if settings.fit_dead_code_steps and n_steps % settings.fit_dead_code_steps == 0:
                quantizer.move_dead_codes(latent.detach(), is_used, generator)
                is_used.zero_()
    optimizer.zero_grad()

"""Promises of every tokenizer that is trained jointly with a recommender (`tokenizer.base.TrainedTokenizer`)."""

import torch

from recbole_unirep.testing.expectations import expect, expect_equal
from recbole_unirep.testing.tokenizer_case import texts
from recbole_unirep.tokenizer.base import TrainedTokenizer


def it_is_a_trained_tokenizer(case):
    """A class with is_trained is a TrainedTokenizer."""
    expect(issubclass(case.tokenizer, TrainedTokenizer), f"{case.name}: is_trained is set on no TrainedTokenizer")


def scaled_text_has_the_text_mean_at_zero(case):
    """`scale_text` maps `text_mean` to zeros."""
    tokenizer = initialised(case)
    scaled = tokenizer.scale_text(tokenizer.text_mean[None])
    expect(not scaled.any(), f"{case.name}: scale_text maps text_mean to {scaled.tolist()}, not to zeros")


def quantizer_gives_the_codes_of_encode(case):
    """`quantize` gives vectors [N, code_dim] and the codes of `encode`; its vectors pass gradients to the encoder."""
    text, tokenizer = texts(), initialised(case)
    vectors, codes = tokenizer.quantizer.quantize(tokenizer.encoder(tokenizer.scale_text(text)))
    shape = (len(text), tokenizer.code_dim)
    expect(vectors.shape == shape, f"{case.name}: quantize gives vectors {list(vectors.shape)}, not {list(shape)}")
    expect_equal(codes, tokenizer.encode(text), f"{case.name}: quantize gives other codes than encode")
    gradients = torch.autograd.grad(vectors.sum(), list(tokenizer.encoder.parameters()), allow_unused=True)
    is_reached = any(gradient is not None and bool(gradient.any()) for gradient in gradients)
    expect(is_reached, f"{case.name}: quantized vectors pass no gradient to the encoder")


def losses_are_one_number_per_vector(case):
    """The quantizer's losses and `reconstruction_loss` have shape [N]."""
    text, tokenizer = texts(), initialised(case)
    latent = tokenizer.encoder(tokenizer.scale_text(text))
    vectors, codes = tokenizer.quantizer.quantize(latent)
    losses = tokenizer.quantizer.losses(latent, codes), tokenizer.reconstruction_loss(text, vectors)
    shapes = [list(loss.shape) for loss in losses]
    expect(shapes == [[len(text)]] * 2, f"{case.name}: losses have shapes {shapes}, not one number per vector")


def codebooks_are_trained_by_losses_or_by_ema(case):
    """`codebooks` are [n_levels, codebook_size, code_dim]; they need a gradient exactly if `ema_state` is empty."""
    tokenizer = initialised(case)
    quantizer, shape = tokenizer.quantizer, (tokenizer.n_levels, tokenizer.codebook_size, tokenizer.code_dim)
    found = list(quantizer.codebooks.shape)
    expect(found == list(shape), f"{case.name}: codebooks have shape {found}, not {list(shape)}")
    n_metrics = len(quantizer.level_metrics)
    expect(n_metrics == tokenizer.n_levels, f"{case.name}: level_metrics has {n_metrics} entries, not n_levels")
    has_ema = bool(quantizer.ema_state)
    expect(
        has_ema != quantizer.codebooks.requires_grad,
        f"{case.name}: codebooks are trained by losses and by ema_update, or by neither",
    )


def without_quantizer_an_autoencoder_is_left(case):
    """`without_quantizer` returns the tokenizer itself, with encoder and reconstruction loss but no quantizer."""
    text, tokenizer = texts(), case.make()
    expect(tokenizer.without_quantizer() is tokenizer, f"{case.name}: without_quantizer returns another object")
    expect(tokenizer.quantizer is None, f"{case.name}: without_quantizer keeps the quantizer")
    tokenizer.initialise(text, seed=0)
    loss = tokenizer.reconstruction_loss(text, tokenizer.encoder(tokenizer.scale_text(text)))
    expect(loss.shape == (len(text),), f"{case.name}: reconstruction_loss has shape {list(loss.shape)}")


def initialised(case):
    """Returns a tokenizer in the state it has before joint training."""
    tokenizer = case.make()
    tokenizer.initialise(texts(), seed=0)
    return tokenizer


TRAINED_PROMISES = [
    it_is_a_trained_tokenizer,
    scaled_text_has_the_text_mean_at_zero,
    quantizer_gives_the_codes_of_encode,
    losses_are_one_number_per_vector,
    codebooks_are_trained_by_losses_or_by_ema,
    without_quantizer_an_autoencoder_is_left,
]

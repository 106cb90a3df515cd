"""Checks that raise AssertionError with a given sentence if a promise is broken."""

from contextlib import contextmanager

import torch


def expect(is_kept, sentence):
    """Raises AssertionError with the sentence unless the promise is kept; works under ``python -O`` too."""
    if not is_kept:
        raise AssertionError(sentence)


def expect_equal(found, wanted, sentence):
    """Raises AssertionError unless two tensors are exactly equal."""
    expect(found.shape == wanted.shape and torch.equal(found, wanted), sentence)


def expect_close(found, wanted, sentence):
    """Raises AssertionError unless two tensors agree up to float32 rounding."""
    expect(
        found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-4, atol=1e-5, equal_nan=True),
        f"{sentence}; shapes are {list(found.shape)} and {list(wanted.shape)}"
        + (f", they differ by up to {(found - wanted).abs().max():.2g}" if found.shape == wanted.shape else ""),
    )


@contextmanager
def expect_error(sentence, *words):
    """Raises AssertionError unless the block raises a ValueError whose message contains all the words."""
    try:
        yield
    except Exception as error:  # any other type breaks the promise
        expect(isinstance(error, ValueError), f"{sentence}: {type(error).__name__} is raised, not ValueError: {error}")
        missing = [word for word in words if word not in str(error)]
        expect(not missing, f"{sentence}: the message '{error}' does not contain {', '.join(map(repr, missing))}")
    else:
        raise AssertionError(f"{sentence}: no ValueError is raised")

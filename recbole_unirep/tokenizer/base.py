"""What every tokenizer of vectors promises: fit, encode, decode, forward.

Shapes: N items, D code_dim.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recbole_unirep.settings.parts import part_file, read_keys

ROWS_AT_ONCE = 2**15  # vectors that are worked on together


class Losses(NamedTuple):
    """Losses of a tokenizer, one number per vector, shape: [N] each."""

    quantization: Tensor
    reconstruction: Tensor


class Quantized(NamedTuple):
    """Vectors after quantization, shape: [N, D]; their codes, shape: [N, n_levels]; their losses per vector."""

    vectors: Tensor
    codes: Tensor
    losses: Any


class SemanticTokenizer(nn.Module, ABC):
    """Turns item text embeddings into codes, coarse to fine.

    Constructors take keyword arguments only, without defaults; but for `text_dim` they are the keys of
    `properties/tokenizer/<class name>.yaml`. `state_dict()` holds all that a fitted tokenizer knows.
    """

    n_levels: int
    codebook_size: int
    code_dim: int
    is_trained = True  # by the losses of a recommender; False where fit finds all
    is_collaborative = False  # whether vectors are [text ; collaborative]

    @property
    def codebook_sizes(self) -> list:
        """Codes that each level may choose from."""
        return [self.codebook_size] * self.n_levels

    @classmethod
    def from_defaults(cls, **overrides: Any) -> "SemanticTokenizer":
        """Tokenizer with the values of its shipped yaml.

        Args:
            **overrides: `text_dim`, and the yaml keys that should differ.

        Returns:
            SemanticTokenizer: not yet fitted.
        """
        return cls(**{**shipped_defaults(cls.__name__), **overrides})

    @abstractmethod
    def fit(self, x: Tensor) -> "SemanticTokenizer":
        """Learns the codebooks; a second fit forgets the first, the same seed gives the same codes.

        Args:
            x (Tensor): text embeddings of the items that have text, shape: [N, text_dim].

        Returns:
            SemanticTokenizer: itself.
        """

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Codes of each vector, coarse to fine; changes nothing.

        Args:
            x (Tensor): text embeddings, shape: [N, text_dim].

        Returns:
            Tensor: codes in 0..codebook_size-1, levels that an ID of variable length does not use hold -1, int64,
                shape: [N, n_levels].
        """

    def encode_catalogue(self, x: Tensor) -> Tensor:
        """Codes of a whole catalogue, where a method may see to it that they are spread; else those of `encode`.

        Args:
            x (Tensor): text embeddings of all items, shape: [N, text_dim].

        Returns:
            Tensor: int64, shape: [N, n_levels].
        """
        return self.encode(x)

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Vectors in the input space.

        Args:
            codes (Tensor): codes, int64, shape: [N, n_levels].

        Returns:
            Tensor: the text embeddings that the codes stand for, shape: [N, text_dim].

        Raises:
            ValueError: the method has no way back.
        """

    @abstractmethod
    def approximations(self, x: Tensor, codes: Tensor) -> tuple:
        """What is quantized, and what is known of it after each level.

        Args:
            x (Tensor): text embeddings, shape: [N, text_dim].
            codes (Tensor): their codes, shape: [N, n_levels].

        Returns:
            tuple[Tensor, iterable of Tensor]: vectors in the space of the codebooks, shape: [N, D]; and what the first
            1, 2, ..., n_levels codes stand for there, one after the other, shape: [N, D] each.
        """

    @torch.no_grad()
    def distortion(self, x: Tensor, codes: Tensor) -> list:
        """Mean squared error after each level in proportion to the variance of what is quantized, one float a level.

        Args:
            x (Tensor): text embeddings, shape: [N, text_dim].
            codes (Tensor): their codes, shape: [N, n_levels].
        """
        n, total, square, errors = len(x), 0.0, 0.0, [0.0] * self.n_levels
        for part, its_codes in zip(x.split(ROWS_AT_ONCE), codes.split(ROWS_AT_ONCE)):
            vectors, known = self.approximations(part, its_codes)
            total, square = total + vectors.double().sum(dim=0), square + vectors.double().square().sum()
            for level, approximation in enumerate(known):
                errors[level] += (vectors - approximation).double().square().sum().item()
        variance = max((square - total.square().sum() / n).item(), torch.finfo(torch.float32).tiny)
        return [error / variance for error in errors]

    @abstractmethod
    def forward(self, x: Tensor) -> Quantized:
        """Quantized vectors through which a recommendation loss can reach the tokenizer.

        Args:
            x (Tensor): text embeddings, shape: [N, text_dim].

        Returns:
            Quantized: vectors [N, D], codes [N, n_levels] and `Losses`.
        """


def shipped_defaults(name: str) -> dict:
    """Values of the shipped `properties/tokenizer/<name>.yaml`, or of the yaml that another package ships."""
    return read_keys(part_file("tokenizer", name))


def check_option(key: str, value: Any, allowed) -> None:
    """Raises ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{key} is {value!r}: choose one of {', '.join(allowed)}")

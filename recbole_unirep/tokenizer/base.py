"""Contracts of the tokenizers: what every tokenizer of vectors offers, and what one that a recommender trains adds.

Shapes: N items, D code_dim, K codebook_size.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from inspect import signature
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from recbole_unirep.settings.parts import part_file, read_keys

ROWS_AT_ONCE = 2**15  # vectors per block


class Quantized(NamedTuple):
    """Vectors after quantization, shape: [N, D]; their codes, shape: [N, n_levels]; one loss per vector, shape: [N]."""

    vectors: Tensor
    codes: Tensor
    losses: Tensor


class BuiltFromKeys:
    """A class that is built from the keys of `properties/tokenizer/<class name>.yaml`.

    Constructors take keyword arguments only, without defaults. An argument is a yaml key, or a part that `from_keys`
    builds from several of them.
    """

    @classmethod
    def from_keys(cls, keys: Mapping[str, Any]):
        """Builds a tokenizer; a subclass whose constructor takes parts overrides this and builds them.

        Args:
            keys (mapping): all keys of the yaml, and `text_dim` for a tokenizer that has an encoder.

        Returns:
            SemanticTokenizer or AssignedTokenizer: not fitted yet.

        Raises:
            KeyError: a key is missing.
            ValueError: an option is out of its range.
        """
        return built(cls, keys)

    @classmethod
    def from_defaults(cls, **overrides: Any):
        """Builds a tokenizer with the values of its shipped yaml.

        Args:
            **overrides: `text_dim`, and yaml keys with other values than the shipped ones.

        Raises:
            TypeError: the yaml has no such key.
        """
        defaults = shipped_defaults(cls.__name__)
        unknown = overrides.keys() - defaults.keys() - {"text_dim"}
        if unknown:
            raise TypeError(f"{cls.__name__} has no key {min(unknown)}: its keys are {', '.join(defaults)}")
        return cls.from_keys({**defaults, **overrides})


class SemanticTokenizer(BuiltFromKeys, nn.Module, ABC):
    """Turns item text embeddings into codes, coarse to fine.

    `state_dict()` holds everything that a fitted tokenizer knows.
    """

    n_levels: int
    codebook_size: int
    code_dim: int
    is_trained = False  # True: a recommender trains it along, see `TrainedTokenizer`
    is_collaborative = False  # True: it reads [text ; collaborative] vectors

    @property
    def codebook_sizes(self) -> list:
        """Codes that each level may choose from."""
        return [self.codebook_size] * self.n_levels

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
            Tensor: codes in 0..codebook_size-1; unused levels of a variable-length ID hold -1, int64, shape:
            [N, n_levels].
        """

    def encode_catalogue(self, x: Tensor) -> Tensor:
        """Codes of a whole catalogue, as `encode` gives them unless a tokenizer balances codes over all items.

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
            Tensor: text embeddings that the codes approximate, shape: [N, text_dim].

        Raises:
            ValueError: the method cannot decode.
        """

    @abstractmethod
    def approximations(self, x: Tensor, codes: Tensor) -> tuple:
        """The quantized vectors, and their approximation after each level.

        Args:
            x (Tensor): text embeddings, shape: [N, text_dim].
            codes (Tensor): their codes, shape: [N, n_levels].

        Returns:
            tuple[Tensor, iterable of Tensor]: vectors in the space of the codebooks, shape: [N, D]; and their
            approximations by the first 1, 2, ..., n_levels codes, shape: [N, D] each.
        """

    @torch.no_grad()
    def distortion(self, x: Tensor, codes: Tensor) -> list:
        """Mean squared error after each level, divided by the variance of the quantized vectors; one float per level.

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


class TrainedQuantizer(Protocol):
    """What a recommender asks of the quantizer of a `TrainedTokenizer`.

    Attributes:
        codebooks (Tensor): a parameter if a loss trains them, a buffer if `ema_update` does, shape: [n_levels, K, D].
        level_metrics (list of str): how each level finds its nearest vector, shape: [n_levels].
        ema_state (tuple of Tensor): the buffers that `ema_update` changes, empty if a loss trains the codebooks.
    """

    codebooks: Tensor
    level_metrics: list
    ema_state: tuple

    def quantize(self, z: Tensor) -> tuple:
        """Quantized vectors [N, D] that pass gradients on to z [N, D], and codes [N, n_levels], int64."""

    def losses(self, z: Tensor, codes: Tensor) -> Tensor:
        """Quantization loss of each vector, shape: [N]."""

    def ema_update(self, z: Tensor, codes: Tensor) -> None:
        """Moves the codebooks towards what chose them; called after a training step where `ema_state` is not empty."""

    def move_dead_codes(self, z: Tensor, used: Tensor, generator: torch.Generator) -> None:
        """Moves codes that are not `used` [n_levels, K] onto residuals of z [N, D]."""


class TrainedTokenizer(SemanticTokenizer):
    """A tokenizer that a recommender trains along, through its losses; UniRep uses what stands here and no more.

    A step of UniRep is: scale the text, encode it to latent vectors, quantize those, read the quantized vectors as
    semantic embeddings, and add the quantizer's and the reconstruction's losses to its own.

    Attributes:
        encoder (nn.Module): scaled text [N, text_dim] to latent vectors [N, D].
        quantizer (TrainedQuantizer or None): latent vectors to codes; None after `without_quantizer`.
        text_mean (Tensor): the text embedding that `scale_text` maps to zeros, in place of missing texts, shape:
            [text_dim].
    """

    is_trained = True

    encoder: nn.Module
    quantizer: TrainedQuantizer | None
    text_mean: Tensor

    @property
    @abstractmethod
    def text_statistics(self) -> Iterable:
        """Tensors that `scale_text` depends on: scaled text is computed again when one of them changes."""

    @abstractmethod
    def initialise(self, x: Tensor, seed: int) -> None:
        """Sets text statistics and first codebooks before a recommender is trained.

        Args:
            x (Tensor): text embeddings of the items that have text, shape: [N, text_dim].
            seed (int): the same seed gives the same codebooks.

        Raises:
            ValueError: there is no item, or x has another number of dimensions than text_dim.
        """

    def fit_codes(self, x: Tensor, seed: int) -> None:
        """Fits the codebooks to the current encoder, for a recommender that trains on latent vectors.

        Unless a tokenizer overrides it, the codebooks are initialised again.

        Args:
            x (Tensor): text embeddings of the items that have text, shape: [N, text_dim].
            seed (int): the same seed gives the same codebooks.
        """
        self.initialise(x, seed)

    @abstractmethod
    def scale_text(self, x: Tensor) -> Tensor:
        """Text embeddings x [N, text_dim] as the encoder reads them, shape: [N, text_dim]."""

    @abstractmethod
    def reconstruction_loss(self, x: Tensor, vectors: Tensor) -> Tensor:
        """How far the decoded vectors [N, D] lie from the text embeddings x [N, text_dim], shape: [N]."""

    def without_quantizer(self) -> "TrainedTokenizer":
        """Drops the quantizer, for models that read latent vectors as they are.

        What is left has an encoder and a reconstruction loss, but no codes.

        Returns:
            TrainedTokenizer: itself.
        """
        self.quantizer = None
        return self


def built(cls, keys: Mapping[str, Any], **parts: Any):
    """An object whose constructor's arguments are yaml keys, apart from the `parts` that are given.

    Args:
        cls (type): its class.
        keys (mapping): at least the keys that its constructor names; it may hold more.
        **parts: arguments that are no yaml keys.
    """
    names = (name for name in signature(cls).parameters if name not in parts)
    return cls(**{name: keys[name] for name in names}, **parts)


def shipped_defaults(name: str) -> dict:
    """Values of the shipped `properties/tokenizer/<name>.yaml`, or of the yaml that another package ships."""
    return read_keys(part_file("tokenizer", name))


def check_option(key: str, value: Any, allowed) -> None:
    """Raises ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{key} is {value!r}: choose one of {', '.join(allowed)}")

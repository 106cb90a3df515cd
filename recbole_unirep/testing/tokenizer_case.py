"""A tokenizer to check, with small sizes, and the vectors for the checks."""

from typing import Any, NamedTuple

import torch

from recbole_unirep.testing.tiny_dataset import class_of
from recbole_unirep.tokenizer import tokenizer_class
from recbole_unirep.tokenizer.base import shipped_defaults

TEXT_DIM = 12
SIZES = {  # small sizes keep the checks fast; a tokenizer takes the keys it has
    "codebook_size": 8,
    "code_dim": 4,
    "encoder_sizes": [8],
    "collaborative_dim": 4,
    "code_clusters": 2,
    "opq_iterations": 3,
    "fit_epochs": 2,
    "fit_batch_size": 20,
}


class TokenizerCase(NamedTuple):
    """A tokenizer to check.

    Attributes:
        tokenizer (type): its class.
        settings (dict): config keys that override its yaml.
    """

    tokenizer: type
    settings: dict

    @property
    def name(self) -> str:
        """Name of the tokenizer."""
        return self.tokenizer.__name__

    def make(self) -> Any:
        """Builds a tokenizer, not fitted yet."""
        return self.tokenizer.from_defaults(text_dim=TEXT_DIM, **self.settings)


def tokenizer_case(tokenizer, **settings) -> TokenizerCase:
    """Returns the argument of each promise; arguments as in `check_tokenizer`."""
    found = class_of(tokenizer, tokenizer_class)
    small = {key: SIZES[key] for key in shipped_defaults(found.__name__) if key in SIZES}
    return TokenizerCase(found, {**small, **settings})


def texts():
    """Vectors to tokenize, shape: [50, TEXT_DIM]."""
    return torch.randn(50, TEXT_DIM, generator=torch.Generator().manual_seed(3))

"""A tokenizer to be checked, in small sizes, and the vectors it is checked on."""

from inspect import signature
from typing import Any, NamedTuple

import torch

from recbole_unirep.testing.tiny_dataset import class_of
from recbole_unirep.tokenizer import tokenizer_class
from recbole_unirep.tokenizer.base import shipped_defaults

TEXT_DIM = 12
SIZES = {  # of keys that several tokenizers have, so that a check is quick
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
    """A tokenizer to be checked.

    Attributes:
        tokenizer (type): its class.
        settings (dict): keys of its yaml that differ.
    """

    tokenizer: type
    settings: dict

    @property
    def name(self) -> str:
        """Name of the tokenizer."""
        return self.tokenizer.__name__

    def make(self) -> Any:
        """A new tokenizer that was not fitted yet."""
        has_width = "text_dim" in signature(self.tokenizer).parameters
        return self.tokenizer.from_defaults(**self.settings, **({"text_dim": TEXT_DIM} if has_width else {}))


def tokenizer_case(tokenizer, **settings) -> TokenizerCase:
    """What `check_tokenizer` hands to each promise, arguments as there."""
    found = class_of(tokenizer, tokenizer_class)
    small = {key: SIZES[key] for key in shipped_defaults(found.__name__) if key in SIZES}
    return TokenizerCase(found, {**small, **settings})


def texts():
    """Vectors to be tokenized, shape: [50, TEXT_DIM]."""
    return torch.randn(50, TEXT_DIM, generator=torch.Generator().manual_seed(3))

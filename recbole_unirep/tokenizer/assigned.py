"""What tokenizers share that read no vectors: codes from an item's token, or from its columns.

Shapes: N items.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recbole_unirep.tokenizer.base import shipped_defaults


class Items(NamedTuple):
    """Items as their dataset names and describes them.

    Attributes:
        tokens (sequence of str): item tokens, shape: [N].
        columns (mapping of str to sequence): columns of the `.item` file by name, each a str or, in columns of lists, a
            list of str an item, "" or [] where there is none, shape: [N] each.
    """

    tokens: Sequence[str]
    columns: Mapping[str, Sequence[Any]]

    def __len__(self):
        return len(self.tokens)

    def part(self, rows: Sequence[int]) -> "Items":
        """Some of the items, in the order of their row numbers given."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Items([self.tokens[row] for row in rows], columns)


class AssignedTokenizer(nn.Module, ABC):
    """Gives codes to items by their tokens or columns; the contract of SemanticTokenizer, less vectors.

    Constructors take the keys of `properties/tokenizer/<class name>.yaml`, by name alone. `state_dict()` holds all that
    a fitted tokenizer knows: what is no tensor stands as JSON in a buffer of bytes.
    """

    is_trained = False
    n_levels: int
    codebook_size: int

    def __init__(self):
        super().__init__()
        self.register_buffer("knowledge", torch.zeros(0, dtype=torch.uint8))

    @property
    def codebook_sizes(self) -> list:
        """Codes that each level may choose from."""
        return [self.codebook_size] * self.n_levels

    @classmethod
    def from_defaults(cls, **overrides: Any) -> "AssignedTokenizer":
        """Tokenizer with the values of its shipped yaml, but for `overrides`; not yet fitted."""
        return cls(**{**shipped_defaults(cls.__name__), **overrides})

    def fit(self, items: Items) -> "AssignedTokenizer":
        """Learns what the items have in common; a second fit forgets the first.

        Args:
            items (Items): the catalogue.

        Returns:
            AssignedTokenizer: itself.

        Raises:
            ValueError: there is no item, or a column that it reads is missing.
        """
        if not len(items):
            raise ValueError(f"{type(self).__name__} needs one item at least, got none")
        self._know(self._learned(items))
        return self

    def encode(self, items: Items) -> Tensor:
        """Codes of items, those that fit saw and others; changes nothing.

        Args:
            items (Items): with the columns that fit read.

        Returns:
            Tensor: int64, unused levels hold -1, shape: [N, n_levels].

        Raises:
            ValueError: it was not fitted, a column is missing, or an item can't be encoded.
        """
        if not len(self.knowledge):
            raise ValueError(f"{type(self).__name__} has seen no items yet: call fit first")
        return torch.from_numpy(self._codes(items)).to(self.knowledge.device)

    def encode_catalogue(self, items: Items) -> Tensor:
        """Codes of a whole catalogue: those of `encode`."""
        return self.encode(items)

    def decode(self, codes: Tensor) -> Tensor:
        """Raises ValueError: there are no vectors behind these codes."""
        raise ValueError(f"{type(self).__name__} reads no vectors: there is no way back from its codes to any")

    @abstractmethod
    def _learned(self, items):
        """What fit finds, made of what JSON knows."""

    @abstractmethod
    def _codes(self, items):
        """Codes of items, int64 array, shape: [N, n_levels]."""

    def _known(self):
        return json.loads(self.knowledge.cpu().numpy().tobytes())

    def _know(self, learned):
        text = json.dumps(learned, ensure_ascii=False, separators=(",", ":")).encode()
        self.knowledge = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy()).to(self.knowledge.device)

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        stored = state_dict.get(f"{prefix}knowledge")
        if stored is not None:
            self.knowledge = torch.empty_like(stored, device=self.knowledge.device)
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def column(items: Items, name: str) -> Sequence[Any]:
    """One column of the items.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in items.columns:
        raise ValueError(f"there is no column {name}: the .item file has {', '.join(items.columns) or 'none'}")
    return items.columns[name]


def token_hashes(tokens: Sequence[str], key: object) -> np.ndarray:
    """A number of each token that nothing but token and key decide, uint64, shape: [N]."""
    key = str(key).encode()
    digests = b"".join(blake2b(token.encode(), digest_size=8, key=key).digest() for token in tokens)
    return np.frombuffer(digests, dtype="<u8")

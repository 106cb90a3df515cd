"""What tokenizers without vectors share: codes come from an item's token or its columns.

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

from recbole_unirep.tokenizer.base import BuiltFromKeys


class Items(NamedTuple):
    """Items of a dataset: their tokens and columns.

    Attributes:
        tokens (sequence of str): item tokens, shape: [N].
        columns (mapping of str to sequence): columns of the `.item` file by name. A cell is a str, or a list of str in
            a column of lists; "" or [] where an item has no value, shape: [N] each.
    """

    tokens: Sequence[str]
    columns: Mapping[str, Sequence[Any]]

    def __len__(self):
        return len(self.tokens)

    def part(self, rows: Sequence[int]) -> "Items":
        """The items of the given rows, in that order."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Items([self.tokens[row] for row in rows], columns)


class AssignedTokenizer(BuiltFromKeys, nn.Module, ABC):
    """Gives codes to items by their tokens or columns; the contract of SemanticTokenizer without vectors.

    `state_dict()` holds everything that a fitted tokenizer knows, as JSON in a buffer of bytes.
    """

    is_trained = False
    is_collaborative = False
    n_levels: int
    codebook_size: int

    def __init__(self):
        super().__init__()
        self.register_buffer("knowledge", torch.zeros(0, dtype=torch.uint8))

    @property
    def codebook_sizes(self) -> list:
        """Codes that each level may choose from."""
        return [self.codebook_size] * self.n_levels

    def fit(self, items: Items) -> "AssignedTokenizer":
        """Learns what `encode` needs; a second fit forgets the first.

        Args:
            items (Items): the catalogue.

        Returns:
            AssignedTokenizer: itself.

        Raises:
            ValueError: there is no item, or a column is missing.
        """
        if not len(items):
            raise ValueError(f"{type(self).__name__} needs at least one item, got none")
        self._know(self._learned(items))
        return self

    def encode(self, items: Items) -> Tensor:
        """Codes of items, also of items that `fit` has not seen; changes nothing.

        Args:
            items (Items): with the columns that `fit` has read.

        Returns:
            Tensor: int64, unused levels hold -1, shape: [N, n_levels].

        Raises:
            ValueError: it is not fitted, a column is missing, or an item can't be encoded.
        """
        if not len(self.knowledge):
            raise ValueError(f"{type(self).__name__} has seen no items yet: call fit first")
        return torch.from_numpy(self._codes(items)).to(self.knowledge.device)

    def encode_catalogue(self, items: Items) -> Tensor:
        """Codes of a whole catalogue, as `encode` gives them."""
        return self.encode(items)

    def decode(self, codes: Tensor) -> Tensor:
        """Raises ValueError: these codes approximate no vectors."""
        raise ValueError(f"{type(self).__name__} reads no vectors: its codes can't be decoded")

    @abstractmethod
    def _learned(self, items):
        """What `fit` finds, as values that JSON can hold."""

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
    """A number per token that depends on token and key alone, uint64, shape: [N]."""
    key = str(key).encode()
    digests = b"".join(blake2b(token.encode(), digest_size=8, key=key).digest() for token in tokens)
    return np.frombuffer(digests, dtype="<u8")

"""recbole_unirep.semantic_ids.ids: items to semantic IDs and back, in memory and on disk.

Shapes: N items, L levels.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from recbole_unirep.files.checksums import check_checksum, with_checksum
from recbole_unirep.files.whole import whole_folder

RECORD, CODES = "bundle.json", "semantic_ids.safetensors"


def _code_type(codebook_sizes):
    """Returns the smallest signed integer type that holds every code, and -1."""
    largest = max(codebook_sizes, default=1) - 1
    return next(kind for kind in (np.int8, np.int16, np.int32) if largest <= np.iinfo(kind).max)


class SemanticIds:
    """Codes by item token, and items by their codes.

    Args:
        items (sequence of str): item tokens, all different, shape: [N].
        codes (ndarray): integers; level l in 0..codebook_sizes[l]-1, unused levels at the end of an ID hold -1, shape:
            [N, L].
        codebook_sizes (sequence of int): codes that each level may choose from, shape: [L].

    Raises:
        ValueError: shapes disagree, an item token occurs twice, or a code is outside its level.
    """

    def __init__(self, items: Sequence[str], codes: np.ndarray, codebook_sizes: Sequence[int]):
        codes = np.asarray(codes)
        self.items, self.codes = list(items), codes.astype(np.int64)
        self.codebook_sizes = [int(size) for size in codebook_sizes]
        if codes.shape != (len(self.items), len(self.codebook_sizes)) or not np.issubdtype(codes.dtype, np.integer):
            raise ValueError(
                f"codes are {codes.dtype} {codes.shape} for {len(self.items)} items and {len(self.codebook_sizes)} "
                f"levels: give integers [items, levels]"
            )
        self.row = {item: row for row, item in enumerate(self.items)}
        if len(self.row) < len(self.items):
            twice = next(item for row, item in enumerate(self.items) if self.row[item] != row)
            raise ValueError(f"item {twice!r} occurs twice among the items: give each once")
        is_outside = (self.codes < -1) | (self.codes >= np.array(self.codebook_sizes))
        if is_outside.any():
            row, level = (int(place) for place in np.argwhere(is_outside)[0])
            raise ValueError(
                f"item {self.items[row]!r} has code {self.codes[row, level]} at level {level + 1}, whose codebook_size "
                f"is {self.codebook_sizes[level]}: give the sizes that the codes were made with"
            )
        self._items_by_id = {}
        for item, code in zip(self.items, map(tuple, self.codes.tolist())):
            self._items_by_id.setdefault(code, []).append(item)

    def __len__(self):
        return len(self.items)

    @property
    def n_levels(self) -> int:
        """L."""
        return len(self.codebook_sizes)

    def id_of(self, item: str) -> tuple:
        """Codes of an item, L ints.

        Raises:
            KeyError: the item has no ID here.
        """
        if item not in self.row:
            raise KeyError(f"item {item!r} has no semantic ID here")
        return tuple(self.codes[self.row[item]].tolist())

    def items_of(self, semantic_id: Sequence[int]) -> list:
        """Items with this ID, or whose IDs begin with it if it has fewer levels, in the order of the catalogue."""
        prefix = tuple(int(code) for code in semantic_id)
        if len(prefix) == self.n_levels:
            return list(self._items_by_id.get(prefix, ()))
        rows = np.flatnonzero((self.codes[:, : len(prefix)] == np.array(prefix, dtype=np.int64)).all(axis=1))
        return [self.items[row] for row in rows]

    def collisions(self) -> list:
        """Items that share an ID with others, one list per ID, the largest first, then in catalogue order."""
        groups = [group for group in self._items_by_id.values() if len(group) > 1]
        return sorted((list(group) for group in groups), key=lambda group: (-len(group), self.row[group[0]]))

    def tokens(self) -> np.ndarray:
        """Codes made unique across levels, 0 pads, int64, shape: [N, L]."""
        return np.where(self.codes < 0, 0, self.codes + np.array(first_tokens(self.codebook_sizes)))

    def save(self, folder: Path, record: Mapping[str, Any], further: Mapping[str, bytes]) -> None:
        """Writes a bundle atomically.

        Args:
            folder (Path): does not exist yet.
            record (mapping): provenance of the IDs, as JSON values.
            further (mapping of str to bytes): further files by name, such as a tokenizer's weights.

        Raises:
            FileExistsError: the folder exists.
            OSError: the bundle can't be written.
        """
        folder = Path(folder)
        if folder.exists():
            raise FileExistsError(f"{folder} exists: remove it, or choose another --out")
        files = {CODES: save({"codes": self.codes.astype(_code_type(self.codebook_sizes))}), **further}
        record = {
            **record,
            "n_items": len(self),
            "codebook_sizes": self.codebook_sizes,
            "sha256": {name: sha256(content).hexdigest() for name, content in files.items()},
            "items": self.items,
        }
        with whole_folder(folder) as partial:
            for name, content in files.items():
                (partial / name).write_bytes(content)
            text = json.dumps(with_checksum(record), ensure_ascii=False, indent=1)
            (partial / RECORD).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "SemanticIds":
        """Reads the IDs of a bundle.

        Raises:
            FileNotFoundError: there is no bundle.
            ValueError: a file was changed.
        """
        record = read_record(folder)
        try:
            codes = load(read_file(folder, record, CODES))["codes"]
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{Path(folder) / CODES} holds no codes ({error}): make the bundle again") from error
        return cls(record["items"], codes, record["codebook_sizes"])


def first_tokens(codebook_sizes: Sequence[int]) -> list:
    """Token of each level's code 0; tokens are codes made unique across levels, and 0 pads, shape: [L]."""
    return [1 + sum(codebook_sizes[:level]) for level in range(len(codebook_sizes))]


def is_numbered(record: Mapping) -> bool:
    """Whether a bundle's last level numbers the items that share an ID (collisions 'append'), by its record."""
    return record.get("collisions", {}).get("policy") == "append"


def read_record(folder: Path) -> dict:
    """The record of a bundle.

    Raises:
        FileNotFoundError: there is no record.
        ValueError: the file is not the record of a bundle, or was changed.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not a bundle, {RECORD} is missing: make one with unirep tokenize")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not readable JSON ({error}): make the bundle again") from error
    if not isinstance(record, dict) or not {"items", "codebook_sizes", "sha256"} <= record.keys():
        raise ValueError(f"{path} is not the record of a bundle: make the bundle again")
    check_checksum(path, record)
    return record


def read_file(folder: Path, record: Mapping[str, Any], name: str) -> bytes:
    """A file of a bundle, checked against its record.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file was changed.
    """
    path = Path(folder) / name
    if name not in record["sha256"] or not path.is_file():
        raise FileNotFoundError(f"{path} is missing: make the bundle again")
    content = path.read_bytes()
    if sha256(content).hexdigest() != record["sha256"][name]:
        raise ValueError(
            f"{path} is not the file that was written (sha256 differs): restore it or make the bundle again"
        )
    return content

"""vector_files: item vectors on disk, `<dataset>.<name>.npy` with `<dataset>.<name>.json` next to it.

The JSON file lists the item tokens in row order (`items`). A pair written by this package says so (`made_by`) and
records what it was made from; any other pair is the user's own and is never overwritten.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_unirep.files.checksums import file_sha256
from recbole_unirep.files.whole import whole, write_text

MADE_BY = "recbole-unirep"


class VectorFiles(NamedTuple):
    """The two files of one set of item vectors.

    Attributes:
        matrix (Path): the `.npy`, float16 or float32, shape: [n_rows, text_dim].
        record (Path): the `.json`.
    """

    matrix: Path
    record: Path

    @classmethod
    def named(cls, folder: Path, dataset: str, name: str) -> "VectorFiles":
        """The pair of this dataset and name in a folder, whether it exists or not."""
        return cls(folder / f"{dataset}.{name}.npy", folder / f"{dataset}.{name}.json")

    def exist(self) -> bool:
        """Whether both files exist; False if the matrix of a pair that this package wrote is missing.

        Raises:
            FileNotFoundError: the matrix has no record, or a record of the user has no matrix.
        """
        has_matrix, has_record = self.matrix.is_file(), self.record.is_file()
        if has_matrix and has_record:
            return True
        # The JSON file is moved into place first, so a process killed in between leaves only our JSON file.
        if has_matrix or (has_record and not is_ours(self.read_record())):
            missing, found = (self.record, self.matrix) if has_matrix else (self.matrix, self.record)
            raise FileNotFoundError(
                f"{missing} is missing, but {found.name} exists: provide both files, or remove {found.name}"
            )
        return False

    def read_record(self) -> dict[str, Any]:
        """Reads the JSON file.

        Returns:
            dict: its keys and values.

        Raises:
            ValueError: it is not a JSON object.
        """
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{self.record} is not valid JSON ({error}): rewrite it, or remove both files") from error
        if not isinstance(record, dict):
            raise ValueError(f'{self.record} is not a JSON object: it must be {{"items": [...]}}')
        return record

    def read(self, items: Sequence[str], checked: bool = False) -> np.ndarray:
        """Reads the rows of the given items, which are found by their tokens.

        Args:
            items (sequence of str): item tokens.
            checked (bool): whether the caller has compared the matrix with the record's checksum.

        Returns:
            np.ndarray: float32, shape: [len(items), text_dim].

        Raises:
            ValueError: the matrix was changed, is not 2-D floats, doesn't have one row per listed item, lacks a given
                item, or holds NaN or infinity.
        """
        record = self.read_record()
        listed = record.get("items")
        if not isinstance(listed, list):
            raise ValueError(f'{self.record} has no "items": list the item tokens there, in row order')
        if not checked and "vectors_sha256" in record and not self.is_intact():
            raise ValueError(
                f"{self.matrix} was changed after it was written (its sha256 differs from the one in "
                f"{self.record.name}): restore it, or remove both files and encode again"
            )
        try:
            matrix = np.lib.format.open_memmap(self.matrix, mode="r")
        except ValueError as error:
            raise ValueError(
                f"{self.matrix} is not a readable .npy array ({error}): save it with numpy.save"
            ) from error
        if matrix.ndim != 2 or matrix.shape[1] == 0 or not np.issubdtype(matrix.dtype, np.floating):
            raise ValueError(
                f"{self.matrix} has dtype {matrix.dtype} and shape {matrix.shape}: "
                "expected a float array of shape [n_items, text_dim]"
            )
        row_of_item = {str(item): row for row, item in enumerate(listed)}
        if not len(matrix) == len(listed) == len(row_of_item):
            raise ValueError(
                f"{self.matrix.name} has {len(matrix)} rows, but {self.record.name} lists {len(listed)} items "
                f"({len(row_of_item)} distinct): the three numbers must be equal"
            )
        missing = [item for item in items if item not in row_of_item]
        if missing:
            raise ValueError(
                f"{self.record} lacks {len(missing)} of {len(items)} items ({shortened(missing)}): "
                "add their vectors, or choose another --text_encoder"
            )
        vectors = np.asarray(matrix[[row_of_item[item] for item in items]], dtype=np.float32)
        broken = [item for item, finite in zip(items, np.isfinite(vectors).all(axis=1)) if not finite]
        if broken:
            raise ValueError(
                f"{self.matrix} has NaN or infinity for {len(broken)} items ({shortened(broken)}): repair these vectors"
            )
        return vectors

    def write(self, vectors: np.ndarray, items: Sequence[str], provenance: Mapping[str, Any]) -> None:
        """Writes the two files.

        An interruption leaves an earlier pair unchanged, or its matrix with the new record: then `is_intact` is False.
        Without an earlier pair `exist` is False.

        Args:
            vectors (np.ndarray): in the type to store, shape: [len(items), text_dim].
            items (sequence of str): item tokens in row order.
            provenance (mapping): what the vectors were made from.

        Raises:
            OSError: a file can't be written.
        """
        with whole(self.matrix, shared=True) as partial:
            self.matrix.parent.mkdir(parents=True, exist_ok=True)
            with open(partial, "wb") as file:
                np.save(_Writer(file), vectors)
            record = {
                "made_by": MADE_BY,
                **provenance,
                "dimension": vectors.shape[1],
                "dtype": str(vectors.dtype),
                "vectors_sha256": file_sha256(partial),
                "items": list(items),
            }
            write_text(self.record, json.dumps(record, ensure_ascii=False), shared=True)

    def is_intact(self) -> bool:
        """Whether the matrix has the checksum in the record."""
        return file_sha256(self.matrix) == self.read_record().get("vectors_sha256")


def storage_folder(dataset_folder: Path, dataset: str) -> Path:
    """Default folder for vectors if text_dir is not set.

    Args:
        dataset_folder (Path): folder of the dataset.
        dataset (str): name of the dataset.

    Returns:
        Path: the dataset's folder if it is writable and not part of an installed package, otherwise a folder in the
            user's cache.
    """
    installed = {"site-packages", "dist-packages"} & set(dataset_folder.resolve().parts)
    # The mode is checked too, because root can write even to a folder that was made read-only on purpose.
    writable = os.access(dataset_folder, os.W_OK) and dataset_folder.stat().st_mode & 0o222
    if writable and not installed:
        return dataset_folder
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "recbole-unirep" / dataset


def difference(files: VectorFiles, wanted: dict[str, Any]) -> str | None:
    """Why stored vectors that this package wrote can't be reused.

    Args:
        files (VectorFiles): the stored pair.
        wanted (dict): entries that their record must hold.

    Returns:
        str or None: the first entry that differs; None if they can be reused.
    """
    record = files.read_record()
    for key, value in wanted.items():
        if record.get(key) != value:
            return key
    return None if files.is_intact() else "vectors_sha256"


def is_ours(record: Mapping[str, Any]) -> bool:
    """Whether this package wrote the vectors of this record."""
    return record.get("made_by") == MADE_BY


class _Writer:
    """Makes numpy call `write`, whose errors name the cause; errors of `tofile` only give byte counts."""

    def __init__(self, file):
        self.write = file.write


def names_beside(folders: Sequence[Path], dataset: str) -> list[str]:
    """Values of text_encoder for the vectors in these folders.

    The value is the encoder's name if this package wrote the pair, otherwise the pair's name.

    Args:
        folders (sequence of Path): folders to search.
        dataset (str): name of the dataset.

    Returns:
        list of str: the values, sorted, without duplicates.
    """
    names = set()
    for folder in folders:
        for matrix in folder.glob(f"{dataset}.*.npy"):
            name = matrix.name[len(dataset) + 1 : -len(".npy")]
            files = VectorFiles.named(folder, dataset, name)
            if files.record.is_file():
                record = files.read_record()
                names.add(record["encoder"] if is_ours(record) else name)
    return sorted(names)


def shortened(tokens: Sequence[str]) -> str:
    """The first three tokens, for a message."""
    return ", ".join(tokens[:3]) + (", ..." if len(tokens) > 3 else "")

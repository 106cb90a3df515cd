"""vector_files: item vectors on disk, `<dataset>.<name>.npy` with `<dataset>.<name>.json` beside it.

The json lists the item tokens in row order (`items`). A pair that we made says so (`made_by`) and records what it was
made of; any other pair is the user's own, read as it is and never overwritten.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

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
        """The pair of this dataset and name in a folder, there or not."""
        return cls(folder / f"{dataset}.{name}.npy", folder / f"{dataset}.{name}.json")

    def exist(self) -> bool:
        """Whether vectors lie here; what we left half written counts as none.

        Returns:
            bool: True where both files are there.

        Raises:
            FileNotFoundError: half of a pair that we did not make.
        """
        has_matrix, has_record = self.matrix.is_file(), self.record.is_file()
        if has_matrix and has_record:
            return True
        # We write the json first, so a run that was killed leaves a json of ours and nothing else.
        if has_matrix or (has_record and not is_ours(self.read_record())):
            missing, found = (self.record, self.matrix) if has_matrix else (self.matrix, self.record)
            raise FileNotFoundError(
                f"{missing} is missing, {found.name} lies there: bring both files, or remove the one"
            )
        return False

    def read_record(self) -> dict[str, Any]:
        """Reads the json.

        Returns:
            dict: its keys and values.

        Raises:
            ValueError: it is not a json object.
        """
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{self.record} is not readable json ({error}): write it anew, or remove both files"
            ) from error
        if not isinstance(record, dict):
            raise ValueError(f'{self.record} holds no json object: it must be {{"items": [...]}}')
        return record

    def read(self, items: Sequence[str], checked: bool = False) -> np.ndarray:
        """Rows of the wanted items, found by their tokens; further rows are left alone.

        Args:
            items (sequence of str): item tokens.
            checked (bool): whether the caller has compared the matrix with the checksum of the record.

        Returns:
            np.ndarray: float32, shape: [len(items), text_dim].

        Raises:
            ValueError: the matrix is not the one that was written, is not 2-D floats, doesn't have one row per listed
                item, lacks a wanted item or holds NaN or infinity.
        """
        record = self.read_record()
        listed = record.get("items")
        if not isinstance(listed, list):
            raise ValueError(f'{self.record} has no "items": list the item tokens there, in row order')
        if not checked and "vectors_sha256" in record and not self.is_intact():
            raise ValueError(
                f"{self.matrix} is not the file that was written (sha256 differs from {self.record.name}'s): restore "
                f"it, or remove both files and make them anew"
            )
        try:
            matrix = np.lib.format.open_memmap(self.matrix, mode="r")
        except ValueError as error:
            raise ValueError(f"{self.matrix} is no readable .npy array ({error}): save it with numpy.save") from error
        if matrix.ndim != 2 or matrix.shape[1] == 0 or not np.issubdtype(matrix.dtype, np.floating):
            raise ValueError(
                f"{self.matrix} holds {matrix.dtype} {matrix.shape}: it must be floats [n_items, text_dim]"
            )
        row_of_item = {str(item): row for row, item in enumerate(listed)}
        if not len(matrix) == len(listed) == len(row_of_item):
            raise ValueError(
                f"{self.matrix.name} has {len(matrix)} rows, {self.record.name} lists {len(listed)} items, "
                f"{len(row_of_item)} of them distinct: these three must agree"
            )
        missing = [item for item in items if item not in row_of_item]
        if missing:
            raise ValueError(
                f"{self.record} lacks {len(missing)} of {len(items)} items ({shortened(missing)}): "
                "add their vectors, or take another --text_encoder"
            )
        vectors = np.asarray(matrix[[row_of_item[item] for item in items]], dtype=np.float32)
        broken = [item for item, finite in zip(items, np.isfinite(vectors).all(axis=1)) if not finite]
        if broken:
            raise ValueError(
                f"{self.matrix} has NaN or infinity for {len(broken)} items ({shortened(broken)}): repair these vectors"
            )
        return vectors

    def write(self, vectors: np.ndarray, items: Sequence[str], provenance: Mapping[str, Any]) -> None:
        """Writes a pair of ours; whenever it is interrupted, `is_intact` tells.

        Args:
            vectors (np.ndarray): in the type to store, shape: [len(items), text_dim].
            items (sequence of str): item tokens in row order.
            provenance (mapping): what the vectors were made of.

        Raises:
            OSError: they can't be written.
        """
        partial = VectorFiles(*(path.with_name(f".{path.name}.{os.getpid()}.partial") for path in self))
        try:
            self.matrix.parent.mkdir(parents=True, exist_ok=True)
            with open(partial.matrix, "wb") as file:
                np.save(_Writer(file), vectors)
            record = {
                "made_by": MADE_BY,
                **provenance,
                "dimension": vectors.shape[1],
                "dtype": str(vectors.dtype),
                "vectors_sha256": file_sha256(partial.matrix),
                "items": list(items),
            }
            partial.record.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
            os.replace(partial.record, self.record)
            os.replace(partial.matrix, self.matrix)
        except OSError as error:
            raise type(error)(f"{self.matrix} can't be written ({error.strerror or error}): make room") from error
        finally:
            for path in partial:
                path.unlink(missing_ok=True)

    def is_intact(self) -> bool:
        """Whether the matrix is the one that our record speaks of."""
        return file_sha256(self.matrix) == self.read_record().get("vectors_sha256")


def storage_folder(dataset_folder: Path, dataset: str) -> Path:
    """Where vectors are stored unless text_dir says: beside the data, else in the user's cache.

    Args:
        dataset_folder (Path): folder of the dataset.
        dataset (str): its name.

    Returns:
        Path: the dataset's folder where it may be written and is no part of an installed package.
    """
    installed = {"site-packages", "dist-packages"} & set(dataset_folder.resolve().parts)
    # The mode is asked too, because root may write into a folder that was made read-only on purpose.
    writable = os.access(dataset_folder, os.W_OK) and dataset_folder.stat().st_mode & 0o222
    if writable and not installed:
        return dataset_folder
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "recbole-unirep" / dataset


def difference(files: VectorFiles, wanted: dict[str, Any]) -> Optional[str]:
    """What keeps stored vectors of ours from being used again.

    Args:
        files (VectorFiles): the stored pair.
        wanted (dict): what their record must hold.

    Returns:
        str, optional: the first key of the record that differs; None where they may be used.
    """
    record = files.read_record()
    for key, value in wanted.items():
        if record.get(key) != value:
            return key
    return None if files.is_intact() else "vectors_sha256"


def is_ours(record: Mapping[str, Any]) -> bool:
    """Whether we made the vectors of this record."""
    return record.get("made_by") == MADE_BY


class _Writer:
    """A file that numpy writes to by `write`, whose errors say why: `tofile` counts bytes alone."""

    def __init__(self, file):
        self.write = file.write


def names_beside(folders: Sequence[Path], dataset: str) -> list[str]:
    """What text_encoder takes of the vectors in these folders: the encoder of a pair of ours, else the pair's name.

    Args:
        folders (sequence of Path): where to look.
        dataset (str): dataset's name.

    Returns:
        list of str: sorted, each once.
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
    """The first three of some tokens, for a message."""
    return ", ".join(tokens[:3]) + (", ..." if len(tokens) > 3 else "")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

"""manifest: `NAME.manifest.json`, which records how a dataset was prepared and the checksums of its files."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dataset_prep.vector_files import MADE_BY
from recbole_unirep.files.checksums import file_sha256


def manifest_name(name: str) -> str:
    """Name of a dataset's manifest."""
    return f"{name}.manifest.json"


def unfinished_name(name: str) -> str:
    """Name of the marker file in a dataset's folder while its files are being replaced."""
    return f"{name}.unfinished"


def write_manifest(folder: Path, name: str, record: Mapping[str, Any]) -> None:
    """Writes the manifest of all files in a folder, without times and paths: the same input gives the same bytes.

    Args:
        folder (Path): the dataset's files.
        name (str): name of the dataset.
        record (mapping): what the files were made from.
    """
    try:
        ours = version(MADE_BY)
    except PackageNotFoundError:
        ours = "of a checkout"
    files = {file.name: file_sha256(file) for file in sorted(folder.iterdir())}
    whole = {"made_by": f"{MADE_BY} {ours}", **record, "files": files}
    text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    (folder / manifest_name(name)).write_text(text, encoding="utf-8", newline="\n")


def changed_files(folder: Path, name: str, ends: Sequence[str] = ("",)) -> list[str]:
    """Compares a dataset's files with its manifest.

    Args:
        folder (Path): the dataset's folder.
        name (str): name of the dataset.
        ends (sequence of str): only files whose names end in one of these are compared.

    Returns:
        list of str: one sentence per changed or missing file; empty without a manifest.
    """
    if (folder / unfinished_name(name)).exists():
        return ["unirep prepare was stopped while it replaced these files: run it again with --overwrite=True"]
    manifest = folder / manifest_name(name)
    if not manifest.is_file():
        return []
    try:
        files = dict(json.loads(manifest.read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError) as error:
        return [f"{manifest.name} can't be read ({error}): prepare the dataset again"]
    changed = []
    for file, checksum in sorted(files.items()):
        is_there = (folder / file).is_file()
        if str(file).endswith(tuple(ends)) and not (is_there and file_sha256(folder / file) == checksum):
            changed.append(
                f"{file} {'differs from' if is_there else 'is missing, it is in'} {manifest.name} (sha256): copy or "
                f"prepare the dataset again, or remove the manifest"
            )
    return changed

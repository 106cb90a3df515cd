"""manifest: what a prepared dataset was made of, `NAME.manifest.json`, and whether its files are still those."""

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dataset_prep.spilling import VERSION
from dataset_prep.vector_files import MADE_BY, file_sha256


def manifest_name(name: str) -> str:
    """Name of a dataset's manifest."""
    return f"{name}.manifest.json"


def write_manifest(folder: Path, name: str, record: Mapping[str, Any]) -> None:
    """Writes the manifest of all files of a folder; no times and no paths are in it, so that its bytes repeat.

    Args:
        folder (Path): the dataset's files.
        name (str): of the dataset.
        record (mapping): what they were made of.
    """
    try:
        ours = version(MADE_BY)
    except PackageNotFoundError:
        ours = "of a checkout"
    files = {file.name: file_sha256(file) for file in sorted(folder.iterdir())}
    whole = {"made_by": f"{MADE_BY} {ours}", "duckdb": VERSION, **record, "files": files}
    text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    (folder / manifest_name(name)).write_text(text, encoding="utf-8")


def changed_files(folder: Path, name: str) -> list[str]:
    """What differs from a dataset's manifest.

    Args:
        folder (Path): the dataset's.
        name (str): of the dataset.

    Returns:
        list of str: a sentence for each file; none where there is no manifest.
    """
    manifest = folder / manifest_name(name)
    if not manifest.is_file():
        return []
    try:
        files = dict(json.loads(manifest.read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError) as error:
        return [f"{manifest.name} can't be read ({error}): prepare the dataset anew"]
    return [
        f"{file} is {'not that of' if (folder / file).is_file() else 'missing, it stands in'} {manifest.name}: prepare "
        f"the dataset anew, or remove the manifest"
        for file, checksum in sorted(files.items())
        if not (folder / file).is_file() or file_sha256(folder / file) != checksum
    ]

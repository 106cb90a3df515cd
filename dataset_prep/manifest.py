"""manifest: what a prepared dataset was made of, `NAME.manifest.json`, and whether its files are still those."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dataset_prep.vector_files import MADE_BY, file_sha256


def manifest_name(name: str) -> str:
    """Name of a dataset's manifest."""
    return f"{name}.manifest.json"


def unfinished_name(name: str) -> str:
    """Name of the file that stands in a dataset's folder while its files are replaced."""
    return f"{name}.unfinished"


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
    whole = {"made_by": f"{MADE_BY} {ours}", **record, "files": files}
    text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
    (folder / manifest_name(name)).write_text(text, encoding="utf-8")


def changed_files(folder: Path, name: str, ends: Sequence[str] = ("",)) -> list[str]:
    """What differs from a dataset's manifest.

    Args:
        folder (Path): the dataset's.
        name (str): of the dataset.
        ends (sequence of str): ends of the names of the files that are looked at.

    Returns:
        list of str: a sentence for each file; none where there is no manifest.
    """
    if (folder / unfinished_name(name)).exists():
        return ["an unirep prepare was stopped while it replaced these files: run it again with --overwrite=True"]
    manifest = folder / manifest_name(name)
    if not manifest.is_file():
        return []
    try:
        files = dict(json.loads(manifest.read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError) as error:
        return [f"{manifest.name} can't be read ({error}): prepare the dataset anew"]
    changed = []
    for file, checksum in sorted(files.items()):
        is_there = (folder / file).is_file()
        if str(file).endswith(tuple(ends)) and not (is_there and file_sha256(folder / file) == checksum):
            changed.append(
                f"{file} is {'not that of' if is_there else 'missing, it stands in'} {manifest.name} (sha256): copy or "
                f"prepare the dataset anew, or remove the manifest"
            )
    return changed

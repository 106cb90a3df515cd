"""recbole_unirep.files.manifest: a folder of files with a manifest of their checksums."""

import json

from recbole_unirep.files.checksums import file_sha256, record_sha256, with_checksum

MANIFEST, FORMAT = "manifest.json", "recbole-unirep export 1"
CHECKSUM = "manifest_sha256"  # the manifest's own entry


def check_place(folder, overwrite):
    """Checks, before anything is computed, that an export may be written to a folder.

    Args:
        folder (Path): the folder.
        overwrite (bool): whether an export in it may be replaced.

    Raises:
        FileExistsError: the folder exists; with `overwrite`, it holds something other than an export.
        FileNotFoundError: its parent folder does not exist.
    """
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"out={folder}: there is no folder {folder.parent}: create it, or choose another --out")
    if not (folder.exists() or folder.is_symlink()):
        return
    if not overwrite:
        raise FileExistsError(f"{folder} exists: add --overwrite=True to replace it, or choose another --out")
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.is_symlink() or not (is_empty or _is_export(folder)):
        raise FileExistsError(f"{folder} is not an export, so it is not replaced: choose another --out")


def _is_export(folder):
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["format"].startswith("recbole-unirep export")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def write_manifest(folder, record):
    """Writes manifest.json: the record, and the checksum and size of every file below the folder.

    Args:
        folder (Path): holds all other files already.
        record (dict): plain JSON values.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in paths
    }
    record = with_checksum({"format": FORMAT, **record, "files": files}, CHECKSUM)
    (folder / MANIFEST).write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder):
    """Reads the manifest of an export and checks every file against it.

    Args:
        folder (Path): the export.

    Returns:
        dict: as `write_manifest` wrote it.

    Raises:
        FileNotFoundError: the manifest or a file is missing.
        ValueError: a file was changed, or the export has another format.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not an export, {MANIFEST} is missing: make one with unirep export RUN")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        written, found = record[CHECKSUM], record_sha256(record, CHECKSUM)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} can't be read ({type(error).__name__}): restore it, or export the run again"
        ) from error
    if written != found:
        raise ValueError(_altered(path))
    if record.get("format") != FORMAT:
        raise ValueError(f"{folder} has format {record.get('format')!r}, known is {FORMAT!r}: export the run again")
    for name, file in record["files"].items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: restore it, or export the run again")
        if path.stat().st_size != file["bytes"]:
            raise ValueError(f"{path} has {path.stat().st_size} bytes, {file['bytes']} were written: restore it")
        if file_sha256(path) != file["sha256"]:
            raise ValueError(_altered(path))
    return record


def _altered(path):
    return f"{path} is not the file that was written (sha256 differs): restore it, or export the run again"

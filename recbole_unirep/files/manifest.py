"""recbole_unirep.files.manifest: a folder of files with a manifest of their checksums, whole or not at all."""

import json
import os
import shutil
from contextlib import contextmanager
from hashlib import sha256

MANIFEST, FORMAT = "manifest.json", "recbole-unirep export 1"
PART = 2**20  # bytes that are read at a time


def check_place(folder, overwrite):
    """Finds out whether an export may be written there, before anything is computed.

    Args:
        folder (Path): the place.
        overwrite (bool): whether an export that lies there may be replaced.

    Raises:
        FileExistsError: something lies there; with `overwrite`, something other than an export.
        FileNotFoundError: the folder around it does not exist.
    """
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"out={folder}: there is no folder {folder.parent}: make it, or name another")
    if not (folder.exists() or folder.is_symlink()):
        return
    if not overwrite:
        raise FileExistsError(f"{folder} exists: add --overwrite=True to replace it, or choose another --out")
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.is_symlink() or not (is_empty or _is_export(folder)):
        raise FileExistsError(f"{folder} is no export of a run, so nothing replaces it: choose another --out")


def _is_export(folder):
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["format"].startswith("recbole-unirep export")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextmanager
def written_folder(folder):
    """A folder beside the place, moved there when the block has ended well, gone otherwise.

    Args:
        folder (Path): checked by `check_place`; what lies there is replaced.

    Yields:
        Path: to be filled.
    """
    partial, before = (folder.with_name(f".{folder.name}.{os.getpid()}.{what}") for what in ("partial", "before"))
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            os.replace(folder, before)
        try:
            os.replace(partial, folder)
        except BaseException:
            if before.exists() and not folder.exists():
                os.replace(before, folder)
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(before, ignore_errors=True)


def write_manifest(folder, record):
    """Writes manifest.json: the record, and checksum and size of every file below the folder.

    Args:
        folder (Path): all other files are in it.
        record (dict): what JSON knows.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {"sha256": _sum_of(path), "bytes": path.stat().st_size} for path in paths
    }
    record = {"format": FORMAT, **record, "files": files}
    record["manifest_sha256"] = _sum_of_record(record)
    (folder / MANIFEST).write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder):
    """The manifest of an export, all of whose files are those that were written.

    Args:
        folder (Path): of the export.

    Returns:
        dict: as `write_manifest` wrote it.

    Raises:
        FileNotFoundError: there is no manifest, or a file is missing.
        ValueError: a file is not the one that was written, or the export is of another format.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no export, {MANIFEST} is missing: make one by unirep export RUN")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        written, found = record["manifest_sha256"], _sum_of_record(record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} can't be read ({type(error).__name__}): restore it, or export the run anew"
        ) from error
    if written != found:
        raise ValueError(_altered(path))
    if record.get("format") != FORMAT:
        raise ValueError(f"{folder} has format {record.get('format')!r}, known is {FORMAT!r}: export the run anew")
    for name, file in record["files"].items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: restore it, or export the run anew")
        if path.stat().st_size != file["bytes"]:
            raise ValueError(f"{path} has {path.stat().st_size} bytes, {file['bytes']} were written: restore it")
        if _sum_of(path) != file["sha256"]:
            raise ValueError(_altered(path))
    return record


def _altered(path):
    return f"{path} is not the file that was written (sha256 differs): restore it, or export the run anew"


def _sum_of(path):
    digest = sha256()
    with open(path, "rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()


def _sum_of_record(record):
    rest = {key: value for key, value in record.items() if key != "manifest_sha256"}
    return sha256(json.dumps(rest, sort_keys=True).encode("utf-8")).hexdigest()

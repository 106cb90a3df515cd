"""recbole_unirep.files.whole: atomic writing of files and folders."""

import errno
import json
import os
import shutil
from contextlib import contextmanager, suppress

import yaml

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UnwrittenError(OSError):
    """A file or folder can't be written; the one-line message says why, what is at the path now, and what to do."""


@contextmanager
def whole(path, shared=False):
    """Yields a temporary path next to `path`, and renames it to `path` if the block succeeds.

    Args:
        path (pathlib.Path): final path of the file.
        shared (bool): whether several processes may write `path` at once. If so, the temporary name includes the
            process ID; otherwise it is fixed, so the next process overwrites what a killed one left.

    Yields:
        pathlib.Path: the temporary path to write to.

    Raises:
        UnwrittenError: the block raised an OSError, e.g. the disk is full. The temporary file is removed and `path` is
            unchanged.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial" if shared else f"{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        _raise_with_remedy(path, error)


@contextmanager
def whole_folder(folder, replace=False):
    """Yields an empty temporary folder next to `folder`, and renames it to `folder` if the block succeeds.

    Args:
        folder (pathlib.Path): final path of the folder.
        replace (bool): whether to replace an existing folder. It is moved aside first, and back if anything fails.

    Yields:
        pathlib.Path: the temporary folder to fill.

    Raises:
        FileExistsError: another command created `folder` while the block ran, and `replace` is False.
        UnwrittenError: the block raised an OSError, e.g. the disk is full. `folder` is unchanged.
    """
    partial, before = (folder.with_name(f".{folder.name}.{os.getpid()}.{part}") for part in ("partial", "before"))
    existed = folder.exists()
    try:
        partial.mkdir(parents=True)
        yield partial
        if replace and folder.exists():
            os.replace(folder, before)
        os.replace(partial, folder)
    except BaseException as error:
        if before.exists() and not folder.exists():
            os.replace(before, folder)
        if isinstance(error, OSError) and folder.exists() and not (existed or replace):
            raise FileExistsError(
                f"{folder} was created by another command meanwhile: remove it, or choose another folder"
            ) from error
        _raise_with_remedy(folder, error)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(before, ignore_errors=True)


def unwritten(path, error):
    """The error for a file or folder that can't be written.

    Args:
        path (pathlib.Path): the file or folder.
        error (OSError): the system's error.

    Returns:
        UnwrittenError: the error to raise, with a one-line message.
    """
    there = "the existing one is unchanged" if os.path.exists(path) else "nothing was written"
    if error.errno in NO_ROOM:
        remedy = "free disk space and run the command again"
    else:
        remedy = "check that its folder exists and is writable"
    return UnwrittenError(f"cannot write {path} ({error.strerror or error}), {there}: {remedy}")


def _raise_with_remedy(path, error):
    """Re-raises an error from the block: an OSError as UnwrittenError, any other unchanged."""
    # an UnwrittenError already names the file inside the folder
    if isinstance(error, OSError) and not isinstance(error, UnwrittenError):
        raise unwritten(path, error) from error
    raise error


def write_yaml(path, value):
    """Writes plain values as YAML, atomically."""
    write_text(path, yaml.safe_dump(value, sort_keys=True, allow_unicode=True))


def write_json(path, value):
    """Writes plain values as JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path, text, shared=False):
    """Writes text atomically, with the same bytes on every system; `shared` as in `whole`."""
    with whole(path, shared) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")

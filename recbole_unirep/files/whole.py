"""recbole_unirep.files.whole: files and folders that are written whole or not at all."""

import errno
import json
import os
import shutil
from contextlib import contextmanager, suppress

import yaml

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UnwrittenError(OSError):
    """A file or folder can't be written; its one line says why, what is in its place now and what to do."""


@contextmanager
def whole(path, shared=False):
    """Yields a file beside the path to write to, and moves it there when the block ends without an error.

    Args:
        path (pathlib.Path): where the file shall be.
        shared (bool): whether several processes may write this path at once. The partial file's name then holds the
            process ID; otherwise it is fixed, so that a file left by a killed process is overwritten by the next.

    Yields:
        pathlib.Path: the file to write.

    Raises:
        UnwrittenError: an OSError in the block, such as a full disk. The partial file is removed, and what was at the
            path before stays.
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
    """Yields an empty folder beside the path to fill, and moves it there when the block ends without an error.

    Args:
        folder (pathlib.Path): where the folder shall be.
        replace (bool): whether to replace a folder at the path. It is moved aside first, and back if anything fails.

    Yields:
        pathlib.Path: the folder to fill.

    Raises:
        FileExistsError: another process has made the folder in the meantime, and it may not be replaced.
        UnwrittenError: an OSError in the block, such as a full disk; nothing has changed at the path.
    """
    partial, before = (folder.with_name(f".{folder.name}.{os.getpid()}.{part}") for part in ("partial", "before"))
    try:
        partial.mkdir(parents=True)
        yield partial
        if replace and folder.exists():
            os.replace(folder, before)
        os.replace(partial, folder)
    except BaseException as error:
        if before.exists() and not folder.exists():
            os.replace(before, folder)
        if isinstance(error, OSError) and folder.exists() and not replace:
            raise FileExistsError(f"{folder} exists, another command made it: remove it or choose another") from error
        _raise_with_remedy(folder, error)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(before, ignore_errors=True)


def unwritten(path, error):
    """The error for a file or folder that can't be written.

    Args:
        path (pathlib.Path): the file or folder.
        error (OSError): what the system said.

    Returns:
        UnwrittenError: one line.
    """
    there = "the previous one is unchanged" if os.path.exists(path) else "nothing was written"
    remedy = "make room, then start it again" if error.errno in NO_ROOM else "check its folder"
    return UnwrittenError(f"{path} can't be written ({error.strerror or error}), {there}: {remedy}")


def _raise_with_remedy(path, error):
    """Raises an error of a block: an OSError of the system as UnwrittenError, any other as it is."""
    if isinstance(error, OSError) and not isinstance(error, UnwrittenError):  # which names a file inside already
        raise unwritten(path, error) from error
    raise error


def write_yaml(path, value):
    """Writes plain values as YAML, whole or not at all."""
    write_text(path, yaml.safe_dump(value, sort_keys=True, allow_unicode=True))


def write_json(path, value):
    """Writes plain values as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path, text, shared=False):
    """Writes a text with the same bytes on every system, whole or not at all; `shared` as in `whole`."""
    with whole(path, shared) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")

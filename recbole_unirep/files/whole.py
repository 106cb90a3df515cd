"""recbole_unirep.files.whole: files that are written whole or not at all, and records that carry their own checksum."""

import errno
import json
import os
from contextlib import contextmanager, suppress
from hashlib import sha256

import yaml

from recbole_unirep import parallel

CHECKSUM = "record_sha256"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole(path):
    """Gives a file beside the place to write to, and moves it there once the block is through.

    Args:
        path (pathlib.Path): the place.

    Yields:
        pathlib.Path: the file to write.

    Raises:
        OSError: it can't be written (the disk is full, ...); the half file is gone, and what stood there is as it was.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            raise unwritten(path, error) from error
        raise


def unwritten(path, error):
    """The error about a file or folder that can't be written.

    Args:
        path (pathlib.Path): the place.
        error (OSError): what the system said.

    Returns:
        OSError: one line, of the same kind.
    """
    there = "what stood there is as it was" if os.path.exists(path) else "nothing was written"
    remedy = "make room, then start it again" if error.errno in NO_ROOM else "look at its folder"
    return type(error)(f"{path} can't be written ({error.strerror or error}), {there}: {remedy}")


def with_checksum(record):
    """A record, plain values as JSON has them, with the checksum of all of it (dict)."""
    return {**record, CHECKSUM: _checksum(record)}


def check_checksum(path, record):
    """Raises ValueError where a record has a checksum that is not its own; those of earlier versions have none.

    Args:
        path (pathlib.Path): where it was read, for the message.
        record (dict): what was read.
    """
    if CHECKSUM in record and record[CHECKSUM] != _checksum(record):
        raise ValueError(f"{path} is not the file that was written (its sha256 differs): restore it or make it anew")


def _checksum(record):
    plain = json.loads(json.dumps({key: value for key, value in record.items() if key != CHECKSUM}))
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def write_yaml(path, value):
    """Writes plain values as YAML, whole or not at all."""
    write_text(path, yaml.safe_dump(value, sort_keys=True, allow_unicode=True))


def write_json(path, value):
    """Writes plain values as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path, text):
    """Writes a text, whole or not at all; of several processes the main one writes."""
    if not parallel.is_main():
        return
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")

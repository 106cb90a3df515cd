"""recbole_unirep.files.checksums: SHA-256 of files, and of JSON records that carry their own."""

import json
import math
from hashlib import sha256

CHECKSUM = "record_sha256"  # a record's own entry
BLOCK = 2**20  # bytes read at a time


def file_sha256(path):
    """SHA-256 of a file's bytes (str of hexadecimal digits)."""
    with open(path, "rb") as file:
        return stream_sha256(file)


def stream_sha256(file, n_bytes=math.inf):
    """SHA-256 of an open binary file, from its current position.

    Args:
        file (binary file): then positioned after those bytes.
        n_bytes (int): how many to read; all that are left by default.

    Returns:
        str: hexadecimal digits.
    """
    digest = sha256()
    while n_bytes and (block := file.read(min(BLOCK, n_bytes))):
        digest.update(block)
        n_bytes -= len(block)
    return digest.hexdigest()


def record_sha256(record, key=CHECKSUM):
    """SHA-256 of a record of plain JSON values (dict), without the entry `key`, which holds it."""
    plain = json.loads(json.dumps({name: value for name, value in record.items() if name != key}))
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def with_checksum(record, key=CHECKSUM):
    """A record of plain JSON values with its own checksum as the last entry (dict)."""
    return {**record, key: record_sha256(record, key)}


def check_checksum(path, record):
    """Compares a record with its own checksum; a record of an earlier version has none and passes.

    Args:
        path (pathlib.Path): where it was read, for the error.
        record (dict): what was read.

    Raises:
        ValueError: the record was changed.
    """
    if CHECKSUM in record and record[CHECKSUM] != record_sha256(record):
        raise ValueError(f"{path} is not the file that was written (its sha256 differs): restore it or create it again")

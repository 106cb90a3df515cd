"""recbole_unirep.files.sealed: zip files of torch and numpy whose comment is the SHA-256 of all before it.

torch compares no checksum of what it reads, numpy those of its parts alone. A sealed file is read by both as any other.
"""

import os
from hashlib import sha256

SEAL = b"sha256:"
END_OF_ZIP = b"PK\x05\x06"  # 22 bytes, the last two of them the length of the comment behind
END_BYTES, SEAL_BYTES = 22, len(SEAL) + 64


def seal(path):
    """Adds the checksum of all that stands before it.

    Args:
        path (pathlib.Path): a zip file without a comment, such as torch and numpy write.

    Raises:
        ValueError: it ends otherwise.
    """
    with open(path, "r+b") as file:
        file.seek(-END_BYTES, os.SEEK_END)
        end = file.read()
        if not end.startswith(END_OF_ZIP) or end[-2:] != b"\0\0":
            raise ValueError(f"{path} is no zip file without a comment")
        file.seek(-2, os.SEEK_END)
        file.write(SEAL_BYTES.to_bytes(2, "little"))
        file.write(SEAL + _digest(file, file.tell()))


def is_damaged(path):
    """Whether a zip file is not the one that was sealed; a bare one, of an earlier version, has nothing to compare.

    Args:
        path (pathlib.Path): any file; what is no zip file is left to its reader.
    """
    with open(path, "rb") as file:
        is_zip, size = file.read(2) == END_OF_ZIP[:2], file.seek(0, os.SEEK_END)
        file.seek(max(size - SEAL_BYTES, 0))
        last = file.read()
        if last.startswith(SEAL):
            return last[len(SEAL) :] != _digest(file, size - SEAL_BYTES)
        end = last[-END_BYTES:]
        return is_zip and not (end.startswith(END_OF_ZIP) and end.endswith(b"\0\0"))


def _digest(file, n_bytes):
    """SHA-256 of a file's first bytes, in hexadecimal digits; the file stands behind them afterwards."""
    file.seek(0)
    digest, left = sha256(), n_bytes
    while left and (block := file.read(min(left, 1 << 20))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest().encode()

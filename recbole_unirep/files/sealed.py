"""recbole_unirep.files.sealed: zip files of torch and numpy whose comment is the SHA-256 of everything before it.

torch checks no checksum when it loads a file, numpy only those of single members. Both read a sealed file like any
other zip file.
"""

import os

from recbole_unirep.files.checksums import stream_sha256

SEAL = b"sha256:"
END_OF_ZIP = b"PK\x05\x06"  # starts the last 22 bytes, of which the last two are the length of the comment
END_BYTES, SEAL_BYTES = 22, len(SEAL) + 64


def seal(path):
    """Appends the checksum of everything in the file.

    Args:
        path (pathlib.Path): a zip file without a comment, as torch and numpy write it.

    Raises:
        ValueError: the file has another end.
    """
    with open(path, "r+b") as file:
        file.seek(-END_BYTES, os.SEEK_END)
        end = file.read()
        if not end.startswith(END_OF_ZIP) or end[-2:] != b"\0\0":
            raise ValueError(f"{path} is not a zip file without a comment")
        file.seek(-2, os.SEEK_END)
        file.write(SEAL_BYTES.to_bytes(2, "little"))
        file.write(SEAL + _digest(file, file.tell()))


def is_damaged(path):
    """Whether a zip file differs from the one that was sealed.

    A zip file without a seal, from an earlier version, has nothing to compare and counts as whole.

    Args:
        path (pathlib.Path): any file; one that is not a zip file counts as whole, its reader reports errors.
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
    """SHA-256 of a file's first bytes as hexadecimal digits (bytes); the file is then positioned after them."""
    file.seek(0)
    return stream_sha256(file, n_bytes).encode()

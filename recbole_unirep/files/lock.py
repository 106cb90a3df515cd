"""recbole_unirep.files.lock: one process at a time works in a folder.

The lock is the operating system's (flock, or its Windows counterpart), so it ends with the process, however that dies.
Where a system or a network file system has none, filelock falls back to a soft lock: a file that names its process and
host, and that outlives a `kill -9`. The next command on the same host removes it if that process is gone. A soft lock
of another host stays; once it is older than SOFT_LOCK_HOURS, the error names the file to remove.
"""

import time
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

LOCK = "lock"  # the file's name in the locked folder
SECONDS = 0.2  # filelock removes a dead process's soft lock at the first attempt and may get its own at the second
SOFT_LOCK_HOURS = 24


@contextmanager
def locked(folder, key="out", busy=None, seconds=SECONDS):
    """Locks a folder, which is created if missing. The OS releases the lock if the process dies.

    Args:
        folder (Path): the folder.
        key (str): command-line option that named the folder, for the error.
        busy (str or None): the error instead, for a folder that no option names.
        seconds (float): how long to wait for another process.

    Raises:
        ValueError: another process holds the lock.
        OSError: the folder isn't writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        busy = busy or f"{key}={folder} is in use by another command: wait, or choose another --{key}"
        raise ValueError(busy + _old_soft_lock(lock)) from error
    try:
        yield
    finally:
        lock.release()


def _old_soft_lock(lock):
    """What the error adds about a soft lock that may have outlived its process; "" for any other lock."""
    if not isinstance(lock, SoftFileLock):
        return ""
    file = Path(lock.lock_file)
    try:
        hours = (time.time() - file.stat().st_mtime) / 3600
        process, host = (*file.read_text(encoding="utf-8", errors="replace").split(), "?", "?")[:2]
    except FileNotFoundError:  # released just now
        return ""
    if hours < SOFT_LOCK_HOURS:
        return ""
    return f". Process {process} on host {host} locked it {hours:.0f} hours ago: if it is gone, remove {file}"

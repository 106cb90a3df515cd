"""recbole_unirep.study.folder_lock: one process at a time works in a folder."""

import fcntl
from contextlib import contextmanager


@contextmanager
def locked(folder):
    """Makes the folder and keeps other processes out of it; a kill lets go.

    Args:
        folder (Path): need not exist.

    Raises:
        ValueError: another process works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"out={folder} is in use by another command: wait, or take another --out") from error
        yield

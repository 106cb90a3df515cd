"""recbole_unirep.files.lock: one process at a time works in a folder."""

import fcntl
from contextlib import contextmanager


@contextmanager
def locked(folder, key="out"):
    """Makes the folder and keeps other processes out of it; a kill lets go.

    Args:
        folder (Path): need not exist.
        key (str): the option that named it, for the message.

    Raises:
        ValueError: another process works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"{key}={folder} is in use by another command: wait, or take another --{key}") from error
        yield

"""work_folder: a hidden folder for unfinished files, and the step that turns finished files into a dataset.

A command that fails or is interrupted removes its work folder. After a `kill -9` the folder stays, and the next command
clears it.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole_unirep.files.lock import LOCK, locked

FINISHED = "finished"  # folder of the dataset's files in the work folder


@contextmanager
def work_folder(data_path: Path, name: str) -> Iterator[Path]:
    """Yields a locked folder that holds only the empty folder `finished`, and removes it afterwards.

    Args:
        data_path (Path): folder of all datasets; created if missing, and removed again if it stays empty.
        name (str): name of the dataset.

    Yields:
        Path: the folder.

    Raises:
        ValueError: another command is preparing this dataset.
    """
    missing = [folder for folder in (data_path, *data_path.parents) if not folder.exists()]
    folder = data_path / f".{name}.partial"
    busy = f"{name} is being prepared in {data_path} by another command: wait, or choose another --dataset"
    is_removed = True
    try:
        with locked(folder, busy=busy):
            try:
                _clear(folder)  # files of a command that was killed
                (folder / FINISHED).mkdir()
                yield folder
            finally:
                with suppress(OSError):  # the next command clears what can't be removed now
                    _clear(folder)
                is_removed = _remove(folder)
    finally:
        if not is_removed:  # Windows removes no open file, so not the lock before its release
            _remove(folder)
        for parent in missing:
            with suppress(OSError):  # it is not empty: the dataset is in it
                parent.rmdir()


def _clear(folder):
    """Removes everything but the lock."""
    for path in folder.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _remove(folder):
    """Removes a folder that holds only the lock; False if that is not possible."""
    try:
        (folder / LOCK).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return False
    return True


def publish(folder: Path, target: Path, manifest: str, unfinished: str) -> None:
    """Turns the finished files into a dataset, or replaces the dataset's files.

    A new dataset's folder appears atomically. In an existing folder the files are replaced one by one, the
    manifest last; other files in it stay.

    Args:
        folder (Path): the work folder.
        target (Path): the dataset's folder.
        manifest (str): name of the manifest, which lists the dataset's files.
        unfinished (str): name of the marker file that exists while files are being replaced.
    """
    finished = folder / FINISHED
    names = sorted(path.name for path in finished.iterdir())
    for name in names:
        with open(finished / name, "r+b") as file:  # Windows syncs only a file that is open for writing
            os.fsync(file.fileno())
    if not target.exists():
        os.rename(finished, target)
        return
    earlier = files_of(target / manifest)
    (target / unfinished).touch()
    (target / manifest).unlink(missing_ok=True)
    for name in earlier - set(names):
        (target / name).unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: name == manifest):
        os.replace(finished / name, target / name)
    (target / unfinished).unlink()


def files_of(manifest: Path) -> set[str]:
    """Names of the files that a manifest lists; empty if it can't be read."""
    try:
        return {Path(name).name for name in json.loads(manifest.read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()

"""work_folder: a folder for what is not finished, and the step by which finished files become a dataset.

An interrupted or failed command leaves nothing but the hidden work folder where it was killed outright, and the next
one clears that.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FINISHED = "finished"  # in the work folder: the dataset's files to be


@contextmanager
def work_folder(data_path: Path, name: str) -> Iterator[Path]:
    """An empty folder beside a dataset, with the folder `finished` in it; both are gone afterwards.

    Args:
        data_path (Path): where the datasets lie; made where missing, and removed again where it stays empty.
        name (str): the dataset's name.

    Yields:
        Path: the folder.

    Raises:
        ValueError: another command prepares this dataset.
    """
    made = [folder for folder in (data_path, *data_path.parents) if not folder.exists()]
    folder = data_path / f".{name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{name} is being prepared in {data_path} by another command: wait, or take another --dataset"
            ) from error
        try:
            for left in folder.iterdir():  # by a command that was killed
                if left.name != "lock":
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            (folder / FINISHED).mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            for parent in made:
                with suppress(OSError):  # not empty: the dataset is in it
                    parent.rmdir()


def publish(folder: Path, target: Path, manifest: str, unfinished: str) -> None:
    """Makes the finished files a dataset: all at once where its folder is new, the manifest last where it is there.

    Args:
        folder (Path): the work folder.
        target (Path): the dataset's folder.
        manifest (str): name of the file that says that the others are complete.
        unfinished (str): name of the file that stands there while files of before are replaced.
    """
    finished = folder / FINISHED
    names = sorted(path.name for path in finished.iterdir())
    for name in names:
        with open(finished / name, "rb") as file:
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
    """Names of the files that a manifest speaks of; none where it can't be read."""
    try:
        return {Path(name).name for name in json.loads(manifest.read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()

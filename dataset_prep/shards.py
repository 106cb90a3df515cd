"""shards: sentences encoded part by part, each part kept on disk until all are there, by one process or several.

A shard is named after its sentences and all that makes their vectors, so that a command after a kill, another worker or
another machine over the same folder finds it, and a changed text is encoded anew.
"""

import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
from tqdm import tqdm

logger = logging.getLogger()

SECONDS_BETWEEN_LINES = 30  # of progress, where no bar can be shown
DIGEST_BYTES = 32


class Shards:
    """The parts of a list of sentences, on disk.

    Args:
        folder (Path): where they lie; made with the first one.
        sentences (sequence of str): in order of their lengths; cut from the end, so that a full shard ends with the
            longest sentence that is left, as the batches of one call over all of them do.
        size (int): sentences of a shard.
        identity (mapping): what the vectors are made with, plain values.
    """

    def __init__(self, folder: Path, sentences: Sequence[str], size: int, identity: Mapping[str, Any]):
        self.folder, self.sentences, self.size = folder, sentences, size
        ends = list(range(len(sentences), 0, -size))
        self.ranges = [range(max(end - size, 0), end) for end in ends]  # the longest sentences first
        self.identity = json.dumps(identity, sort_keys=True)

    def __len__(self):
        return len(self.ranges)

    def texts(self, number: int) -> Sequence[str]:
        """Sentences of a shard."""
        part = self.ranges[number]
        return self.sentences[part.start : part.stop]

    def path(self, number: int) -> Path:
        """File of a shard."""
        key = hashlib.sha256(self.identity.encode())
        for text in self.texts(number):
            key.update(len(text).to_bytes(8, "little") + text.encode("utf-8", "surrogatepass"))
        return self.folder / f"{key.hexdigest()[:40]}.shard"

    def read(self, number: int) -> Optional[np.ndarray]:
        """Vectors of a shard, float32, shape: [len(texts), text_dim]; None where it is not there or damaged."""
        path = self.path(number)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            logger.warning(f"{path} is not the file that was written (sha256 differs): its texts are encoded anew")
            return None
        return np.load(io.BytesIO(body), allow_pickle=False)

    def write(self, number: int, vectors: np.ndarray) -> None:
        """Writes a shard, whole or not at all.

        Args:
            number (int): which one.
            vectors (np.ndarray): of its sentences, shape: [len(texts), text_dim].

        Raises:
            OSError: it can't be written.
        """
        body = io.BytesIO()
        np.save(body, np.asarray(vectors, dtype=np.float32))
        path = self.path(number)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(body.getvalue() + hashlib.sha256(body.getvalue()).digest())
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise type(error)(
                f"{path} can't be written ({error.strerror or error}): make room, the shards before it are kept"
            ) from error

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Those of some shards that are not there yet."""
        missing = [number for number in numbers if self.read(number) is None]
        if len(missing) < len(numbers):
            logger.info(f"{len(numbers) - len(missing)} of {len(numbers)} shards are in {self.folder} already")
        return missing

    def encode(
        self, call: Callable[[Sequence[str]], np.ndarray], at_once: int, missing: Sequence[int], show_progress: bool
    ) -> None:
        """Encodes shards and keeps them.

        Args:
            call (callable): sentences to vectors, called with those of `at_once` shards.
            at_once (int): shards of a call.
            missing (sequence of int): the shards to encode.
            show_progress (bool): whether progress is shown.
        """
        n_texts = sum(len(self.ranges[number]) for number in missing)
        bar = tqdm(total=n_texts, unit="sentence", disable=None if show_progress else True, leave=False)
        last, n_done = time.monotonic(), 0
        with bar:
            for first in range(0, len(missing), at_once):
                group = missing[first : first + at_once]
                vectors = call([text for number in group for text in self.texts(number)])
                for number in group:
                    own, vectors = np.split(vectors, [len(self.ranges[number])])
                    self.write(number, own)
                    n_done += len(own)
                    bar.update(len(own))
                if bar.disable and time.monotonic() - last > SECONDS_BETWEEN_LINES:
                    last = time.monotonic()
                    logger.info(f"{n_done:,} of {n_texts:,} sentences are encoded")

    def __iter__(self) -> Iterator[tuple[range, np.ndarray]]:
        """Each shard's places among the sentences and its vectors."""
        for number, part in enumerate(self.ranges):
            vectors = self.read(number)
            if vectors is None:
                raise ValueError(f"{self.path(number)} is gone or damaged: run the same command again")
            yield part, vectors

    def remove(self) -> None:
        """Removes all shards."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other commands from encoding the same vectors; the workers of one command do not ask.

        Raises:
            ValueError: another command encodes them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(f"{self.folder} is in use by another command that encodes the same: wait") from error
            yield

"""shards: encodes sentences part by part, in one process or several, and keeps each part on disk until all are done.

A shard's name is a hash of its sentences and of everything their vectors depend on. So the next command after an
interruption, another worker, or another machine that shares the folder finds it, and a changed text is encoded again.
"""

import hashlib
import io
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recbole_unirep.files.lock import locked
from recbole_unirep.files.whole import whole

logger = logging.getLogger()

SECONDS_BETWEEN_LINES = 30  # of progress, if no bar can be shown
DIGEST_BYTES = 32


class Shards:
    """The vectors of a list of sentences, in parts on disk.

    Args:
        folder (Path): of the shards; created with the first one.
        sentences (sequence of str): the shortest first. Shards are cut from the end: sentence-transformers batches
            from the longest sentence down, so the batches equal the batches of a single call.
        size (int): sentences per shard.
        identity (mapping): what the vectors depend on besides the sentences, plain values.
    """

    def __init__(self, folder: Path, sentences: Sequence[str], size: int, identity: Mapping[str, Any]):
        self.folder, self.sentences, self.size = folder, sentences, size
        ends = list(range(len(sentences), 0, -size))
        self.ranges = [range(max(end - size, 0), end) for end in ends]  # the longest sentences first
        self.identity = json.dumps(identity, sort_keys=True)

    def __len__(self):
        return len(self.ranges)

    def texts(self, number: int) -> Sequence[str]:
        """The sentences of a shard."""
        part = self.ranges[number]
        return self.sentences[part.start : part.stop]

    def path(self, number: int) -> Path:
        """The file of a shard."""
        key = hashlib.sha256(self.identity.encode())
        for text in self.texts(number):
            key.update(len(text).to_bytes(8, "little") + text.encode("utf-8", "surrogatepass"))
        return self.folder / f"{key.hexdigest()[:40]}.shard"

    def read(self, number: int) -> np.ndarray | None:
        """Vectors of a shard, float32, shape: [len(texts), text_dim]; None if it is missing or damaged."""
        path = self.path(number)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            logger.warning(f"{path} is not the file that was written (sha256 differs): its texts are encoded again")
            return None
        return np.load(io.BytesIO(body), allow_pickle=False)

    def write(self, number: int, vectors: np.ndarray) -> None:
        """Writes a shard atomically.

        Args:
            number (int): number of the shard.
            vectors (np.ndarray): of its sentences, shape: [len(texts), text_dim].

        Raises:
            OSError: it can't be written; earlier shards are kept.
        """
        body = io.BytesIO()
        np.save(body, np.asarray(vectors, dtype=np.float32))
        with whole(self.path(number), shared=True) as partial:
            self.folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(body.getvalue() + hashlib.sha256(body.getvalue()).digest())

    def missing(self, numbers: Sequence[int]) -> list[int]:
        """Those of the given shards that are not on disk."""
        missing = [number for number in numbers if self.read(number) is None]
        if len(missing) < len(numbers):
            logger.info(f"{len(numbers) - len(missing)} of {len(numbers)} shards are in {self.folder} already")
        return missing

    def encode(
        self, call: Callable[[Sequence[str]], np.ndarray], at_once: int, missing: Sequence[int], show_progress: bool
    ) -> None:
        """Encodes shards and writes them.

        Args:
            call (callable): encodes the sentences of up to `at_once` shards.
            at_once (int): shards per call.
            missing (sequence of int): numbers of the shards to encode.
            show_progress (bool): whether to show a progress bar.
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
                    logger.info(f"encoded {n_done:,} of {n_texts:,} sentences")

    def __iter__(self) -> Iterator[tuple[range, np.ndarray]]:
        """Yields the range of each shard's sentences and its vectors.

        Raises:
            ValueError: a shard is missing or damaged.
        """
        for number, part in enumerate(self.ranges):
            vectors = self.read(number)
            if vectors is None:
                raise ValueError(f"{self.path(number)} is missing or damaged: run the same command again")
            yield part, vectors

    def remove(self) -> None:
        """Removes all shards and their folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def locked(self) -> AbstractContextManager[None]:
        """Locks the folder against other commands; the workers of one command share it without the lock.

        Raises:
            ValueError: another command is encoding these sentences.
        """
        return locked(self.folder, busy=f"{self.folder} is in use by another command that encodes the same texts: wait")

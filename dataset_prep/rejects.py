"""rejects: counts the records that can't be used, logs the first few and writes all of them to a file."""

import json
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger()

SHOWN = 5  # logged per source
EARLY = 10_000  # records after which a file that is mostly broken, such as one of another format, is given up


class Rejects:
    """The broken records of all sources of a dataset.

    Args:
        file (Path): gets JSON lines of file, line, reason and text; removed at the end if nothing was broken.
        max_broken (float): largest allowed fraction of broken records per source.
    """

    def __init__(self, file: Path, max_broken: float) -> None:
        self.path, self.max_broken = file, max_broken
        self.file = open(file, "w", encoding="utf-8", newline="\n")  # noqa: SIM115 - closed by close
        self.n_broken, self.n_all = {}, 0
        self.first = {}

    def add(self, source: Path, number: int, reason: str, raw: Any) -> None:
        """Counts and writes a record that can't be used.

        Args:
            source (Path): the file it is from.
            number (int): its line there.
            reason (str): what is wrong with it.
            raw: its bytes, text or values.
        """
        if isinstance(raw, bytes):
            raw = raw.decode("utf-8", "backslashreplace")
        elif isinstance(raw, str):  # bytes that are not UTF-8 are surrogates here
            raw = raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        else:
            raw = repr(raw)
        self.n_broken[source] = self.n_broken.get(source, 0) + 1
        self.n_all += 1
        self.first.setdefault(source, f"line {number:,}: {reason}")
        if self.n_broken[source] <= SHOWN:
            logger.warning(f"{source.name}, line {number:,}: {reason}")
        record = {"file": source.name, "line": number, "reason": reason, "text": raw.rstrip("\r\n")}
        self.file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def check(self, source: Path, n_read: int, at_end: bool) -> None:
        """Raises an error if too many records of a source are broken.

        Args:
            source (Path): the file.
            n_read (int): its records so far.
            at_end (bool): whether these are all records; before the end up to half of them may be broken.

        Raises:
            ValueError: too many are broken.
        """
        n_broken = self.n_broken.get(source, 0)
        allowed = self.max_broken if at_end else max(self.max_broken, 0.5)
        if n_broken > allowed * n_read:
            raise ValueError(
                f"{source}: {n_broken:,} of {n_read:,} records are broken, max_broken={self.max_broken:g} allows "
                f"{self.max_broken:.2%} (the first: {self.first[source]}): repair the file, or give --max_broken=SHARE"
            )

    def close(self) -> None:
        """Closes the file, and removes it if it is empty."""
        self.file.close()
        if not self.n_all:
            self.path.unlink(missing_ok=True)

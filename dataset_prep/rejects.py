"""rejects: records that can't be used, counted, the first few shown, all of them kept in a file."""

import json
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger()

SHOWN = 5
EARLY = 10_000  # records after which a file that is of another kind is given up


class Rejects:
    """The broken records of all sources of a dataset.

    Args:
        file (Path): JSON lines of file, line, reason and text; removed again where nothing is broken.
        max_broken (float): the share of a source's records that may be broken.
    """

    def __init__(self, file: Path, max_broken: float) -> None:
        self.path, self.max_broken = file, max_broken
        self.file = open(file, "w", encoding="utf-8")  # noqa: SIM115 - closed by close
        self.n_broken, self.n_all = {}, 0
        self.first = {}

    def add(self, source: Path, number: int, reason: str, raw: Any) -> None:
        """Keeps a record that can't be used.

        Args:
            source (Path): its file.
            number (int): its line there.
            reason (str): what is wrong with it.
            raw: bytes, text or values of the record.
        """
        if isinstance(raw, bytes):
            raw = raw.decode("utf-8", "backslashreplace")
        elif isinstance(raw, str):  # bytes that are no UTF-8 stand there as surrogates
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
        """Gives up where too many records of a source are broken.

        Args:
            source (Path): the file.
            n_read (int): its records so far.
            at_end (bool): whether these are all; before, it takes half of them.

        Raises:
            ValueError: they are too many.
        """
        n_broken = self.n_broken.get(source, 0)
        allowed = self.max_broken if at_end else max(self.max_broken, 0.5)
        if n_broken > allowed * n_read:
            raise ValueError(
                f"{source}: {n_broken:,} of {n_read:,} records are broken, max_broken={self.max_broken:g} allows "
                f"{self.max_broken:.2%} (the first, {self.first[source]}): repair the file, or give --max_broken=SHARE"
            )

    def close(self) -> None:
        """Ends the file; without records there is none."""
        self.file.close()
        if not self.n_all:
            self.path.unlink(missing_ok=True)

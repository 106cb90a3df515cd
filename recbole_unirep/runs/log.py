"""recbole_unirep.runs.log: the log of one run, on the console and in its folder."""

import logging
import re
import sys
from logging.handlers import MemoryHandler

from recbole_unirep.runs.folder import LOG

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class RunLog:
    """Logs one run to the console and, once its folder exists, to log.txt, earlier lines included.

    Args:
        speaks (bool): whether this process logs; of several processes the main one does.
    """

    def __init__(self, speaks):
        self.level = logging.INFO if speaks else logging.CRITICAL

    def __enter__(self):
        self.root = logging.getLogger()
        self.level_before = self.root.level
        self.root.setLevel(self.level)
        console = logging.StreamHandler(sys.stdout)
        console.setFormatter(
            _PlainFormatter("%(message)s") if not sys.stdout.isatty() else logging.Formatter("%(message)s")
        )
        self.memory = MemoryHandler(capacity=1_000_000, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
        self.handlers = [console, self.memory]
        for handler in self.handlers:
            self.root.addHandler(handler)
        for name in ("sentence_transformers", "transformers", "httpx", "huggingface_hub"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return self

    def write_to(self, folder):
        """Writes all lines so far, and all that follow, to the folder's log.txt."""
        if self.level > logging.INFO:
            return
        file = _LogFile(folder / LOG, encoding="utf-8")
        file.setFormatter(_PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
        self.memory.setTarget(file)
        self.memory.flush()
        self.root.removeHandler(self.memory)
        self.root.addHandler(file)
        self.handlers.append(file)

    def __exit__(self, kind, error, trace):
        wrote = len(self.handlers) > 2
        if wrote and error is not None and not isinstance(error, KeyboardInterrupt):
            self.handlers[-1].emit(
                logging.LogRecord("run", logging.ERROR, __file__, 0, "stopped by an error", (), (kind, error, trace))
            )
        for handler in self.handlers:
            self.root.removeHandler(handler)
            handler.close()
        self.root.setLevel(self.level_before)


class _LogFile(logging.FileHandler):
    """Reports once that it can't be written; logging itself would print a traceback per line."""

    is_unwritten = False

    def handleError(self, record):
        if not self.is_unwritten:
            print(f"{self.baseFilename} can't be written ({sys.exc_info()[1]})", file=sys.stderr)
        self.is_unwritten = True


class _PlainFormatter(logging.Formatter):
    """Removes the colours that RecBole writes into its messages."""

    def format(self, record):
        return COLOUR.sub("", super().format(record))

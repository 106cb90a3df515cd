"""recbole_unirep.commands.dataset_files: functions that `unirep prepare` and `unirep validate` share."""

import logging
import sys
from contextlib import contextmanager

DATA_PATH = "dataset/"  # copied from RecBole, which these commands do not need


def separator_of(text):
    """Returns the separator character that an option names."""
    return "\t" if text in ("tab", "\\t") else text


@contextmanager
def log_to_stdout():
    """Sends log lines to standard output."""
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stdout)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)

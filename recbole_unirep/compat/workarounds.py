"""Workarounds for bugs of RecBole 1.2.1, each with its RecBole issue and the condition for dropping it.

RecBole, torch and numpy are imported inside the functions, because this module is imported before anything heavy.
"""

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import tempfile
import warnings
from pathlib import Path

from recbole_unirep.compat import pickle_guard

RECBOLE_VERSION = "1.2.1"


def require_recbole():
    """Check that the supported version of RecBole is installed.

    RecBole's metadata excludes Python 3.12 and later (its pin of ray), so pip does not install it there.

    Raises:
        ImportError: RecBole is missing or has another version.
    """
    how = f"pip install --no-deps recbole=={RECBOLE_VERSION}"
    if importlib.util.find_spec("recbole") is None:
        raise ImportError(f"RecBole is not installed (pip skips it on Python 3.12 and later): {how}")
    import recbole

    if recbole.__version__ != RECBOLE_VERSION:
        raise ImportError(f"RecBole {RECBOLE_VERSION} is needed, found {recbole.__version__}: {how}")


@functools.cache
def apply():
    """Apply every workaround that this installation needs, once per process."""
    require_recbole()
    add_numpy_names()
    download_in_one_process()
    pickle_guard.guard()
    fill_dok_matrix()
    detect_no_anomalies()
    silence_deprecations()


def add_numpy_names():
    """Restore the names dropped by numpy 2 that RecBole's Config and ray 2.6.3 (imported by its quick_start) use.

    https://github.com/RUCAIBox/RecBole/pull/2155 and https://github.com/RUCAIBox/RecBole/pull/2203.
    Drop when RecBole's Config.compatibility_settings is gone.
    """
    import numpy

    for old, new in {"float_": "float64", "complex_": "complex128", "unicode_": "str_", "bool8": "bool_"}.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy 1.24 to 1.26 warn when bool8 is accessed
            missing = not hasattr(numpy, old)
        if missing:
            setattr(numpy, old, getattr(numpy, new))


def download_in_one_process():
    """Let a single process download a dataset, into a folder that appears only when the download is complete.

    RecBole calls torch.distributed.barrier without a process group, and treats a half-filled folder as the dataset.
    https://github.com/RUCAIBox/RecBole/issues/1989 and https://github.com/RUCAIBox/RecBole/issues/2050.
    Drop when Dataset._download checks for a process group first.
    """
    from recbole.data.dataset.dataset import Dataset
    from torch import distributed

    download = Dataset._download
    if "barrier" not in download.__code__.co_names:
        return

    @functools.wraps(download)
    def download_alone(self):
        if distributed.is_available() and distributed.is_initialized():
            return download(self)
        folder, barrier = Path(self.dataset_path), getattr(distributed, "barrier", None)
        new = [parent for parent in folder.parents if not parent.exists()]
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(prefix=".download-", dir=folder.parent) as unfinished:
                self.dataset_path = os.path.join(unfinished, folder.name)
                distributed.barrier = lambda: None
                download(self)
                os.replace(self.dataset_path, folder)
        except BaseException:
            with contextlib.suppress(OSError):  # another process may have written there
                for parent in new:  # innermost first
                    parent.rmdir()
            raise
        finally:
            self.dataset_path, distributed.barrier = str(folder), barrier

    Dataset._download = download_alone


def fill_dok_matrix():
    """Restore scipy's dok_matrix._update, which RecBole's LightGCN, NGCF, GCMC, NCL and other models call.

    https://github.com/RUCAIBox/RecBole/issues/2034. Drop when these models use scipy's public API.
    """
    from scipy.sparse import dok_matrix

    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = lambda self, entries: self._dict.update(entries)


def detect_no_anomalies():
    """Turn off autograd's anomaly detection, which importing RecBole's SINE turns on for every model.

    It checks every gradient of every operation for NaN and makes a training step up to twice as slow. Found in
    recbole/model/sequential_recommender/sine.py; no RecBole issue is known. Drop when RecBole removes that line.
    """
    import torch

    before = torch.is_anomaly_enabled() and "recbole.model.sequential_recommender.sine" not in sys.modules
    importlib.import_module("recbole.model.sequential_recommender")
    torch.autograd.set_detect_anomaly(before)


def silence_deprecations():
    """Hide the FutureWarnings that RecBole's own code causes in every run (pandas' fillna, torch's GradScaler).

    They concern RecBole's authors, not the user. Drop when a run shows none without this filter.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")

"""recbole_unirep.scoring.ranks: the test rank of every user, kept in the run's folder, so that runs can be compared
user by user.
"""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_unirep import parallel
from recbole_unirep.files.sealed import is_damaged, seal
from recbole_unirep.files.whole import whole
from recbole_unirep.runs.folder import RANKS

DAMAGES = (ValueError, KeyError, EOFError, OSError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)


class KeptRanks(NamedTuple):
    """Test ranks of a run.

    Attributes:
        users (np.ndarray): user tokens in sorted order, a token once for each of its targets, shape: [n], str.
        ranks (dict[str, np.ndarray]): protocol to the rank of each user's target, 1 is best, shape: [n], int32.
    """

    users: np.ndarray
    ranks: dict


def write_ranks(path, user_tokens, ranks):
    """Writes ranks compressed, whole or not at all; of several processes the main one does.

    Args:
        path (pathlib.Path): the file.
        user_tokens (np.ndarray): token of each target's user, shape: [n].
        ranks (dict[str, Tensor]): protocol to ranks, shape: [n], int64.
    """
    if not parallel.is_main():
        return
    users = np.asarray(user_tokens).astype(str)
    order = np.argsort(users, kind="stable")
    arrays = {protocol: part.numpy().astype(np.int32)[order] for protocol, part in ranks.items()}
    with whole(path) as partial:
        with open(partial, "wb") as file:
            np.savez_compressed(file, users=users[order], **arrays)
        seal(partial)


def read_ranks(run):
    """Test ranks that a run left, by protocol; of runs on the same data and seed the users are the same, row by row.

    Args:
        run (str or Path): folder of a run.

    Returns:
        KeptRanks: nothing in the file can run code.

    Raises:
        FileNotFoundError: the run kept no ranks: it did not end, had no protocol of ours, or is of an older version.
        ValueError: the file is damaged, or holds other things.
    """
    path = Path(run) / RANKS
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no {RANKS}: let the run end, under a protocol other than recbole")
    if is_damaged(path):
        raise ValueError(f"{path} is not the file that was written (sha256 differs): {_remedy(run)}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ranks = {name: arrays[name] for name in arrays.files if name != "users"}
            return KeptRanks(arrays["users"], ranks)
    except DAMAGES as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not the file that was written ({reason}): {_remedy(run)}") from error


def _remedy(run):
    return f"restore it, or let run_recbole --resume={run} write it anew"

"""recbole_unirep.scoring.ranks: the test rank of every user, kept in the run's folder, so that runs can be compared
user by user.

RUN/ranks.npz                 user tokens, and the ranks of each protocol
STUDY/DATASET/users-HASH.npz  in a study, the tokens of all runs that ranked the same users
"""

import struct
import zipfile
import zlib
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_unirep import parallel
from recbole_unirep.files.sealed import is_damaged, seal
from recbole_unirep.files.whole import whole
from recbole_unirep.runs.folder import RANKS

USERS, USERS_HASH = "users", "users_sha256"  # in ranks.npz: the tokens, or the SHA-256 of those that runs share
SEEN_ABOVE = "seen_above"  # in a packed file, in place of full_unseen: full less full_unseen
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
    _write(path, **{USERS: users[order]}, **arrays)


def pack_ranks(run, protocols):
    """Packs the test ranks of a study's cell; `read_ranks` reads them as before, and a packed file stays as it is.

    The tokens, two thirds of the file, move to a file that all runs over the same users share. A rank has 16 bits, or
    32 where one is above 65,535. The ranks under full_unseen are kept as their distance from those under full, the
    number of seen items above the target: small numbers, which compress to a quarter of what the ranks do.

    Args:
        run (str or Path): STUDY/DATASET/ROW/seed-SEED, with its ranks.
        protocols (collection of str): those to keep; where the run has none of them, it keeps all.

    Raises:
        ValueError: the file is damaged, or holds other things.
        OSError: a file can't be written.
    """
    path = Path(run) / RANKS
    with _intact(path, run) as arrays:
        if USERS_HASH in arrays.files:
            return
    users, ranks = read_ranks(run)
    ranks = {protocol: part for protocol, part in ranks.items() if protocol in protocols} or ranks
    largest = max(part.max(initial=0) for part in ranks.values())
    dtype = np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32
    ranks = {protocol: part.astype(dtype) for protocol, part in ranks.items()}
    if {"full", "full_unseen"} <= ranks.keys():
        ranks[SEEN_ABOVE] = ranks["full"] - ranks.pop("full_unseen")  # modulo 2^16 or 2^32: exact below 0 too
    users = np.char.encode(users, "utf-8")
    digest = _digest(users)
    _write(_shared_users(run, digest), **{USERS: users})
    _write(path, **{USERS_HASH: np.array(digest)}, **ranks)


def read_ranks(run):
    """Test ranks that a run left, by protocol; of runs on the same data and seed the users are the same, row by row.

    Args:
        run (str or Path): folder of a run.

    Returns:
        KeptRanks: nothing in the file can run code.

    Raises:
        FileNotFoundError: the run kept no ranks: it did not end, had no protocol of ours, or is of an older version; or
            the file of users that it shares is missing.
        ValueError: a file is damaged, or holds other things.
    """
    path = Path(run) / RANKS
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no {RANKS}: let the run end, under a protocol other than recbole")
    with _intact(path, run) as arrays:
        digest = str(arrays[USERS_HASH]) if USERS_HASH in arrays.files else None
        users = arrays[USERS] if digest is None else None
        ranks = {name: arrays[name] for name in arrays.files if name not in (USERS, USERS_HASH)}
        if SEEN_ABOVE in ranks:
            ranks["full_unseen"] = ranks["full"] - ranks.pop(SEEN_ABOVE)
        ranks = {protocol: part.astype(np.int32) for protocol, part in ranks.items()}
    return KeptRanks(_read_shared_users(run, digest) if users is None else users, ranks)


def _read_shared_users(run, digest):
    path = _shared_users(run, digest)
    if not path.is_file():
        raise FileNotFoundError(f"{path}, the users of {Path(run) / RANKS}, does not exist: {_remedy(run)}")
    with _intact(path, run) as arrays:
        users = arrays[USERS]
        if _digest(users) != digest:
            raise ValueError("it holds other users")
        return np.char.decode(users, "utf-8")


def _shared_users(run, digest):
    return Path(run).resolve().parent.parent / f"users-{digest[:12]}.npz"


def _digest(users):
    return sha256(users.tobytes()).hexdigest()


def _write(path, **arrays):
    """Writes arrays compressed and sealed, whole or not at all."""
    with whole(path) as partial:
        with open(partial, "wb") as file:
            np.savez_compressed(file, **arrays)
        seal(partial)


@contextmanager
def _intact(path, run):
    """Opens a file of arrays; what is wrong with it, here or in the block, is one line that names it."""
    if is_damaged(path):
        raise ValueError(f"{path} is not the file that was written (sha256 differs): {_remedy(run)}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except DAMAGES as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not the file that was written ({reason}): {_remedy(run)}") from error


def _remedy(run):
    return f"restore it, or let run_recbole --resume={run} write it anew"

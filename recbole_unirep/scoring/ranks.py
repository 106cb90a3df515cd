"""recbole_unirep.scoring.ranks: the test rank of every user, stored in the run's folder, so that runs can be compared
user by user.

RUN/ranks.npz                 user tokens, and the ranks under each protocol
STUDY/DATASET/users-HASH.npz  in a study: the user tokens, shared by all runs that ranked the same users
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

USERS, USERS_HASH = "users", "users_sha256"  # in ranks.npz: the tokens, or the SHA-256 of the shared tokens
SEEN_ABOVE = "seen_above"  # in a packed file, instead of full_unseen: rank under full minus rank under full_unseen
DAMAGES = (ValueError, KeyError, EOFError, OSError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)


class KeptRanks(NamedTuple):
    """Test ranks of a run.

    Attributes:
        users (np.ndarray): user tokens in sorted order, one entry per target of a user, shape: [n], str.
        ranks (dict[str, np.ndarray]): protocol to the rank of each target, 1 is best, shape: [n], int32.
    """

    users: np.ndarray
    ranks: dict


def write_ranks(path, user_tokens, ranks):
    """Writes ranks atomically and compressed. With several processes, only the main one writes.

    Args:
        path (pathlib.Path): the file.
        user_tokens (np.ndarray): user token of each target, shape: [n].
        ranks (dict[str, Tensor]): protocol to ranks, shape: [n], int64.
    """
    if not parallel.is_main():
        return
    users = np.asarray(user_tokens).astype(str)
    order = np.argsort(users, kind="stable")
    arrays = {protocol: part.numpy().astype(np.int32)[order] for protocol, part in ranks.items()}
    _write(path, **{USERS: users[order]}, **arrays)


def pack_ranks(run, protocols):
    """Packs the test ranks of a study's cell. `read_ranks` reads them as before; a packed file is left unchanged.

    The user tokens, two thirds of the file, move to a file that all runs over the same users share. Ranks are stored
    in 16 bits, or in 32 if one of them is above 65,535. The ranks under full_unseen are stored as their difference from
    the ranks under full, which is the number of seen items above the target. These small numbers compress to a quarter
    of the size of the ranks.

    Args:
        run (str or Path): STUDY/DATASET/ROW/seed-SEED, with its ranks.
        protocols (collection of str): protocols to keep; if the run has none of them, all its protocols are kept.

    Raises:
        ValueError: the file is damaged, or is not a file of ranks.
        OSError: a file cannot be written.
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
    """Reads the test ranks of a run. Runs on the same data and seed have the same users in the same rows.

    Args:
        run (str or Path): folder of a run.

    Returns:
        KeptRanks: the ranks. Reading the file never runs code.

    Raises:
        FileNotFoundError: the run has no ranks (it did not finish, used protocol recbole only, or comes from an older
            version), or the shared file of user tokens is missing.
        ValueError: a file is damaged, or is not a file of ranks.
    """
    path = Path(run) / RANKS
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no {RANKS}: finish the run under a protocol other than recbole")
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
        raise FileNotFoundError(f"{path}, the users of {Path(run) / RANKS}, is missing: {_remedy(run)}")
    with _intact(path, run) as arrays:
        users = arrays[USERS]
        if _digest(users) != digest:
            raise ValueError("it holds different users")
        return np.char.decode(users, "utf-8")


def _shared_users(run, digest):
    return Path(run).resolve().parent.parent / f"users-{digest[:12]}.npz"


def _digest(users):
    return sha256(users.tobytes()).hexdigest()


def _write(path, **arrays):
    """Writes arrays atomically, compressed and with a checksum."""
    with whole(path) as partial:
        with open(partial, "wb") as file:
            np.savez_compressed(file, **arrays)
        seal(partial)


@contextmanager
def _intact(path, run):
    """Opens a file of arrays. Any damage, found here or inside the block, is a one-line ValueError naming the file."""
    if is_damaged(path):
        raise ValueError(f"{path} is not the file that was written (sha256 differs): {_remedy(run)}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except DAMAGES as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not the file that was written ({reason}): {_remedy(run)}") from error


def _remedy(run):
    return f"restore it, or run run_recbole --resume={run} to write it again"

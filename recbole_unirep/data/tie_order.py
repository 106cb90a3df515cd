"""recbole_unirep.data.tie_order: which of a user's simultaneous interactions comes first, and so which is held out.

Timestamps of many datasets are days. In file order their ties follow the file's second sort key (Amazon's item
numbers), which is a fact about the file; shuffled, they follow nothing.
"""

import hashlib

import numpy as np

from recbole_unirep.data.sequences import grouped_order

TIE_ORDERS = ("file", "shuffled")


def time_order(times, tie_order, keys):
    """Order of interactions by time.

    Args:
        times (np.ndarray): shape: [n], float64.
        tie_order (str): 'file' leaves simultaneous interactions as they stand, 'shuffled' orders them by key.
        keys (callable): gives the keys where they are needed, shape: [n].

    Returns:
        np.ndarray: row numbers, shape: [n], int64.

    Raises:
        ValueError: tie_order has another value.
    """
    if tie_order not in TIE_ORDERS:
        raise ValueError(f"tie_order={tie_order} is not known: choose {' or '.join(TIE_ORDERS)}")
    if tie_order == "file":
        return np.argsort(times, kind="stable")
    return np.lexsort((keys(), times))


def shuffling_keys(users, items, user_tokens, item_tokens, seed):
    """A random number for each interaction that depends on the seed and the two tokens alone.

    Not on row order, internal numbering or the other interactions: a user's order of two items at one time is the
    same in every subset of the data that holds both.

    Args:
        users (np.ndarray): user ids, shape: [n].
        items (np.ndarray): item ids, shape: [n].
        user_tokens (np.ndarray): token of each user id, shape: [n_users].
        item_tokens (np.ndarray): token of each item id, shape: [n_items].
        seed (int): another seed, another order.

    Returns:
        np.ndarray: shape: [n], uint64.
    """
    user_hashes, item_hashes = (_hashes(tokens, seed) for tokens in (user_tokens, item_tokens))
    return _mixed(user_hashes[users] + _mixed(item_hashes)[items])


def n_tied(users, times, n_users):
    """Number of interactions that share their time with another one of the same user.

    Args:
        users (np.ndarray): user ids of interactions in order of time, shape: [n].
        times (np.ndarray): in ascending order, shape: [n].
        n_users (int): number of user ids.
    """
    order = grouped_order(users, n_users)
    users, times = users[order], times[order]
    is_as_before = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    return int((np.append(is_as_before, False) | np.append(False, is_as_before)).sum())


def _hashes(tokens, seed):
    """64 bits of BLAKE2b of every token, shape: [n_tokens], uint64."""
    digests = (hashlib.blake2b(f"{seed}\0ties\0{token}".encode(), digest_size=8).digest() for token in tokens)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _mixed(bits):
    """One to one on 64 bits, each input bit changing about half of them.

    Reference:
        Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014 (SplitMix64's finalizer).
    """
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))

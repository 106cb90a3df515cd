"""recbole_unirep.data.tie_order: orders a user's simultaneous interactions, which decides which one is held out.

Many datasets have timestamps in days. In file order, ties are sorted by the file's second sort key, such as Amazon's
item numbers, and the test then also measures this key. Shuffled ties avoid this.
"""

import hashlib

import numpy as np

from recbole_unirep.data.sequences import grouped_order

TIE_ORDERS = ("file", "shuffled")


def time_order(times, tie_order, keys):
    """Sorts interactions by time.

    Args:
        times (np.ndarray): shape: [n], float64 or int64.
        tie_order (str): 'file' keeps the file's order of simultaneous interactions, 'shuffled' sorts them by key.
        keys (callable): returns the keys, shape: [n]; called for 'shuffled' only.

    Returns:
        np.ndarray: row numbers in time order, shape: [n], int64.

    Raises:
        ValueError: tie_order is unknown.
    """
    if tie_order not in TIE_ORDERS:
        raise ValueError(f"tie_order={tie_order} is not known: choose {' or '.join(TIE_ORDERS)}")
    if tie_order == "file":
        return np.argsort(times, kind="stable")
    return np.lexsort((keys(), times))


def shuffling_keys(users, items, user_tokens, item_tokens, seed):
    """Computes a pseudo-random number for each interaction from the seed and the tokens of user and item.

    Row order, internal ids and other interactions do not matter: a user's order of two simultaneous items is the same
    in every subset of the data that contains both.

    Args:
        users (np.ndarray): user ids, shape: [n].
        items (np.ndarray): item ids, shape: [n].
        user_tokens (np.ndarray): token of each user id, shape: [n_users].
        item_tokens (np.ndarray): token of each item id, shape: [n_items].
        seed (int): another seed gives another order.

    Returns:
        np.ndarray: the keys, shape: [n], uint64.
    """
    user_hashes, item_hashes = (_hashes(tokens, seed) for tokens in (user_tokens, item_tokens))
    return _mixed(user_hashes[users] + _mixed(item_hashes)[items])


def n_tied(users, times, n_users):
    """Counts interactions that have the same time as another one of their user.

    Args:
        users (np.ndarray): user ids of interactions in time order, shape: [n].
        times (np.ndarray): their times, ascending, shape: [n].
        n_users (int): number of user ids.
    """
    order = grouped_order(users, n_users)
    users, times = users[order], times[order]
    is_as_before = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    return int((np.append(is_as_before, False) | np.append(False, is_as_before)).sum())


def _hashes(tokens, seed):
    """Hashes every token to 64 bits by BLAKE2b, shape: [n_tokens], uint64."""
    digests = (hashlib.blake2b(f"{seed}\0ties\0{token}".encode(), digest_size=8).digest() for token in tokens)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _mixed(bits):
    """Mixes 64 bits by a bijection in which each input bit changes about half of the output bits.

    Reference:
        Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014 (SplitMix64's finalizer).
    """
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))

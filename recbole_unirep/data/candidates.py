"""recbole_unirep.data.candidates: the items that a target is ranked against, equal for all models and epochs.

RecBole draws new negatives at every evaluation (RecBole issue 2077). Here they depend only on the seed, the split and
the user's token.
"""

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

N_SAMPLED = 99  # negatives of protocol uni99 (Kang and McAuley, ICDM 2018; Zhou et al., CIKM 2020)


class Targets(NamedTuple):
    """Held-out interactions of one split, one row each.

    Attributes:
        users (Tensor): shape: [n], int64.
        items (Tensor): shape: [n], int64.
        positions (Tensor): number of the user's interactions before the target, shape: [n], int64.
    """

    users: Tensor
    items: Tensor
    positions: Tensor


def sampled_candidates(*, sequences, users, user_tokens, item_tokens, seed, split):
    """Draws 99 distinct items per user, uniformly from the items that the user never interacted with.

    Items are numbered by their sorted tokens and drawn by a Philox counter generator keyed by (seed, split, user
    token). Row order, internal ids and the process do not change the draw.

    Args:
        sequences (UserSequences): all interactions.
        users (Tensor): user ids, shape: [n].
        user_tokens (np.ndarray): shape: [n_users].
        item_tokens (np.ndarray): shape: [n_items].
        seed (int): `candidates_seed` of the run.
        split (str): 'valid' or 'test'.

    Returns:
        Tensor: item ids, shape: [n, 99], int64.

    Raises:
        ValueError: a user has fewer than 99 items to draw from.
    """
    sorted_items = 1 + np.argsort(item_tokens[1:].astype(str), kind="stable")
    candidates = np.empty((len(users), N_SAMPLED), dtype=np.int64)
    for row, user in enumerate(users.tolist()):
        own_items = set(sequences.of(user).tolist())
        if len(sorted_items) - len(own_items) < N_SAMPLED:
            raise ValueError(
                f"protocol uni99 needs {N_SAMPLED} items that user {user_tokens[user]} never interacted with, "
                f"found {len(sorted_items) - len(own_items)}: use protocol: full"
            )
        candidates[row] = _draw(sorted_items, own_items, _key(seed, split, user_tokens[user]))
    return torch.from_numpy(candidates)


def candidates_hash(users, candidates, user_tokens, item_tokens):
    """Hashes every user's token and candidate tokens by SHA-256, users sorted by token.

    Args:
        users (Tensor): shape: [n].
        candidates (Tensor): shape: [n, 99].
        user_tokens (np.ndarray): shape: [n_users].
        item_tokens (np.ndarray): shape: [n_items].

    Returns:
        str: 64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    tokens = user_tokens[users.numpy()].astype(str)
    for row in np.argsort(tokens, kind="stable"):
        digest.update(f"\n{tokens[row]}\t".encode())
        digest.update("\t".join(item_tokens[candidates[row].numpy()].astype(str)).encode())
    return digest.hexdigest()


def tie_priority(item_tokens, seed):
    """Orders the item tokens by a seed, to rank items of equal score alike for all models.

    Returns:
        Tensor: place of each item id, the lower place ranks first, shape: [n_items], int64.
    """
    sorted_items = 1 + np.argsort(item_tokens[1:].astype(str), kind="stable")
    shuffled = np.argsort(np.random.Philox(key=_key(seed, "ties", "")).random_raw(len(sorted_items)), kind="stable")
    priority = np.zeros(len(item_tokens), dtype=np.int64)
    priority[sorted_items[shuffled]] = 1 + np.arange(len(sorted_items))
    return torch.from_numpy(priority)


def earlier_items(sequences, targets):
    """Lists all interactions before each target, for protocol full_unseen.

    Args:
        sequences (UserSequences): all interactions.
        targets (Targets): n targets.

    Returns:
        tuple[Tensor, Tensor]: row number of the target and item id of each, shape: [n_earlier] each, int64.
    """
    n_earlier = targets.positions.numpy()
    rows = np.repeat(np.arange(len(n_earlier)), n_earlier)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(n_earlier) - n_earlier, n_earlier)
    items = sequences.items[sequences.offsets[targets.users.numpy()][rows] + within]
    return torch.from_numpy(rows), torch.from_numpy(items)


def _key(seed, split, token):
    """Returns a 128-bit key for a counter generator."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{split}\0{token}".encode(), digest_size=16).digest(), "little")


def _draw(sorted_items, own_items, key):
    """Draws 99 distinct items outside `own_items` by rejection; returns them in drawing order."""
    generator = np.random.Philox(key=key)
    chosen = {}
    while len(chosen) < N_SAMPLED:
        uniform = (generator.random_raw(2 * N_SAMPLED) >> np.uint64(11)) * 2.0**-53  # [0, 1), 53 bits
        for item in sorted_items[(uniform * len(sorted_items)).astype(np.int64)].tolist():
            if item not in own_items and len(chosen) < N_SAMPLED:
                chosen[item] = None
    return list(chosen)

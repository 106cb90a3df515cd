"""recbole_unirep.data.sequences: each user's items in time order, and the training rows cut from them.

RecBole makes one padded row per target. A causal model can learn from all targets of a user in one row: position t
reads items up to t and predicts item t + 1 (Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018).
"""

import hashlib
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

WINDOW = 3  # an item follows another one if it is at most this many places later in a user's sequence
REORDER_REACH = 2  # places that a reordered item moves at most
TARGETS_PER_STEP = 900  # about what 128 users of Amazon Beauty have
ROWS_PER_STEP = (32, 128)  # fewest and most rows of a step whose size follows from the data
USERS_AT_ONCE = 65_536  # users per part of the fingerprint, to bound the memory


class UserSequences(NamedTuple):
    """Items of every user in time order, as one flat array.

    Attributes:
        items (np.ndarray): item ids, shape: [n_interactions], int64.
        offsets (np.ndarray): user u's items are `items[offsets[u]:offsets[u + 1]]`, shape: [n_users + 1], int64.
        behaviours (np.ndarray or None): behaviour number of each interaction, from 1, shape: [n_interactions], int64;
            None if interactions have no behaviours.
    """

    items: np.ndarray
    offsets: np.ndarray
    behaviours: np.ndarray | None = None

    @classmethod
    def from_arrays(cls, users, items, n_users, behaviours=None):
        """Groups interactions in time order by user.

        Args:
            users (np.ndarray): user ids, shape: [n_interactions].
            items (np.ndarray): item ids, shape: [n_interactions].
            n_users (int): number of user ids, padding included.
            behaviours (np.ndarray or None): behaviour numbers, shape: [n_interactions].
        """
        order = grouped_order(users, n_users)
        offsets = np.zeros(n_users + 1, dtype=np.int64)
        np.cumsum(np.bincount(users, minlength=n_users), out=offsets[1:])
        return cls(items[order].astype(np.int64), offsets, None if behaviours is None else behaviours[order])

    def part(self, places, offsets):
        """Selects the interactions at `places`, grouped by `offsets`."""
        return UserSequences(self.items[places], offsets, None if self.behaviours is None else self.behaviours[places])

    def of(self, user):
        """Returns the items of one user in time order, shape: [n], int64."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def is_among_first(self, n_first):
        """True for each user's first `n_first` interactions, shape: [n_interactions], bool.

        Args:
            n_first (np.ndarray): number per user, shape: [n_users].
        """
        n_items = np.diff(self.offsets)
        place = np.arange(len(self.items)) - np.repeat(self.offsets[:-1], n_items)
        return place < np.repeat(n_first, n_items)

    def item_counts(self, n_first, n_items):
        """Counts each item among the users' first `n_first` interactions, shape: [n_items], int64."""
        return np.bincount(self.items[self.is_among_first(n_first)], minlength=n_items)

    def fingerprint(self, user_tokens, item_tokens):
        """Hashes the sorted item tokens, then every user's token and item tokens in order, users sorted, by SHA-256.

        Args:
            user_tokens (np.ndarray): token of each user id, shape: [n_users].
            item_tokens (np.ndarray): token of each item id, shape: [n_items].

        Returns:
            str: 64 hexadecimal digits, independent of row order and internal ids.
        """
        n_items = np.diff(self.offsets)
        users = ["\n" + str(token) + ("" if n else "\t") for token, n in zip(user_tokens, n_items)]
        users, items = np.array(users, dtype=object), np.array([f"\t{token}" for token in item_tokens], dtype=object)
        digest = hashlib.sha256("".join(sorted(items[1:]))[1:].encode())
        order = 1 + np.argsort(user_tokens[1:].astype(str))
        for part in np.split(order, range(USERS_AT_ONCE, len(order), USERS_AT_ONCE)):
            size = n_items[part]
            start = np.cumsum(size) - size
            place = np.arange(size.sum()) + np.repeat(self.offsets[part] - start, size)
            pieces = np.insert(items[self.items[place]], start, users[part])
            digest.update("".join(pieces).encode())
        return digest.hexdigest()


def grouped_order(groups, n_groups):
    """Computes `np.argsort(groups, kind="stable")` in linear time.

    Args:
        groups (np.ndarray): group of each row, 0 to n_groups - 1, shape: [n].
        n_groups (int): number of groups.

    Returns:
        np.ndarray: row numbers; rows of a group keep their order, shape: [n], int32 or int64.
    """
    rows = np.arange(len(groups), dtype=np.int32 if len(groups) < 2**31 else np.int64)
    is_there = np.ones(len(groups), dtype=bool)
    return sparse.csr_array((is_there, (groups, rows)), shape=(n_groups, len(groups))).indices


class RowBatch(NamedTuple):
    """Training rows of one step, padded to the longest of them.

    Attributes:
        users (Tensor): shape: [B], int64.
        inputs (Tensor): items, 0 pads on the right, shape: [B, L], int64.
        is_target (Tensor): True if the item after the position is a target, shape: [B, L], bool.
        targets (Tensor): the items after those positions, row by row, shape: [P], int64.
        negatives (Tensor): `Negatives.items`, shape: [P], [S] or, for losses without negatives, [0]; int64.
        log_weights (Tensor): `Negatives.log_weights`, shape: [S] or [0], float32.
        following (Tensor): the user's training items after the last input, the first of them its target, 0 pads, shape:
            [B, WINDOW], int64.
        behaviours (Tensor or None): behaviour numbers of the inputs, if interactions have behaviours, shape: [B, L],
            int64.
        target_behaviours (Tensor or None): behaviour numbers of the targets, shape: [P], int64.
    """

    users: Tensor
    inputs: Tensor
    is_target: Tensor
    targets: Tensor
    negatives: Tensor
    log_weights: Tensor
    following: Tensor
    behaviours: Tensor | None = None
    target_behaviours: Tensor | None = None

    def to(self, device):
        return RowBatch(*(part if part is None else part.to(device) for part in self))

    def whole_rows(self):
        """Appends the following items to each row's inputs, shape: [B, L + WINDOW], int64."""
        place = (self.inputs > 0).sum(dim=1)[:, None] + torch.arange(WINDOW, device=self.inputs.device)
        return nn.functional.pad(self.inputs, (0, WINDOW)).scatter(1, place, self.following)

    def share(self, rank, world_size):
        """Selects every `world_size`-th row, starting at row `rank`.

        Args:
            rank (int): number of a process.
            world_size (int): number of processes.

        Returns:
            Share: if the batch has fewer rows than processes, the remaining processes get its first row with weight 0.
        """
        if world_size == 1:
            return Share(self, 1.0)
        n_rows = len(self.users)
        is_mine = torch.arange(n_rows, device=self.users.device) % world_size == (rank if rank < n_rows else 0)
        targets = is_mine[self.is_target.nonzero()[:, 0]]  # [P]
        is_shared = len(self.log_weights) > 0 or len(self.negatives) == 0
        part = RowBatch(
            users=self.users[is_mine],
            inputs=self.inputs[is_mine],
            is_target=self.is_target[is_mine],
            targets=self.targets[targets],
            negatives=self.negatives if is_shared else self.negatives[targets],
            log_weights=self.log_weights,
            following=self.following[is_mine],
            behaviours=self.behaviours if self.behaviours is None else self.behaviours[is_mine],
            target_behaviours=self.target_behaviours if self.behaviours is None else self.target_behaviours[targets],
        )
        return Share(part, len(part.targets) / len(self.targets) if rank < n_rows else 0.0)


class Share(NamedTuple):
    """Rows of a batch for one process.

    Attributes:
        batch (RowBatch): the rows.
        weight (float): fraction of the batch's targets that are in these rows.
    """

    batch: RowBatch
    weight: float


class RowCut(NamedTuple):
    """How histories become training rows.

    Attributes:
        max_length (int): maximum number of positions per row.
        one_target (bool): one row per target.
        crop (float): fraction of the rows of an epoch that start at a random later item.
        reorder (float): fraction of the rows of a batch whose neighbouring items change places, by REORDER_REACH at
            most.
    """

    max_length: int
    one_target: bool = False
    crop: float = 0.0
    reorder: float = 0.0


class TrainingRows:
    """Batches of user sequences: one row per user with all its targets; longer histories become several rows.

    Every target of RecBole's augmentation is trained exactly once per epoch. A row that continues a history starts with
    max_length // 2 context items, which are inputs, but whose targets belong to the row before. Each epoch draws new
    cuts of long histories, so over the epochs a target occurs at many positions, with different numbers of items before
    it. With `cut.one_target` the rows equal RecBole's augmented rows: one target and up to max_length
    items before it.

    Args:
        sequences (UserSequences): all interactions.
        n_training (np.ndarray): number of each user's training items, shape: [n_users].
        cut (RowCut): how histories become rows.
        rows_per_batch (int or None): mean number of rows per step; all steps have about the same number of targets.
            None: as many rows as have TARGETS_PER_STEP targets, within ROWS_PER_STEP.
        negatives (NoNegatives, TargetNegatives or SharedNegatives): source of the negatives of a step.
        seed (int): determines, together with the epoch, cuts, order and negatives.
        n_items (int): number of item ids that training uses, padding included.
    """

    def __init__(self, *, sequences, n_training, cut, rows_per_batch, negatives, seed, n_items):
        self.sequences, self.n_training, self.cut, self.n_items = sequences, n_training, cut, n_items
        self.items = torch.from_numpy(sequences.items)
        self.behaviours = None if sequences.behaviours is None else torch.from_numpy(sequences.behaviours)
        self.end = torch.from_numpy(sequences.offsets[:-1] + n_training)  # of each user's training items
        self.negatives, self.seed = negatives, seed
        self.epoch = 0
        self.rows_per_batch = rows_per_batch or self._rows_for_targets()

    @property
    def epoch(self):
        """Number of the epoch, from 0; setting it cuts the rows of that epoch."""
        return self._epoch

    @epoch.setter
    def epoch(self, number):
        self._epoch = number
        draw = np.random.default_rng([self.seed, number])
        rows = _rows(self.sequences, self.n_training, self.cut, draw)
        self.user, self.start, self.length, self.context = rows
        if self.cut.crop:
            is_cropped = draw.random(len(self.user)) < self.cut.crop
            n_left_out = torch.from_numpy(is_cropped * draw.integers(0, self.length.numpy()))  # one input stays
            self.start, self.length = self.start + n_left_out, self.length - n_left_out
            self.context = (self.context - n_left_out).clamp(min=0)

    @property
    def n_targets(self):
        """Number of targets per epoch."""
        return int((self.length - self.context).sum())

    def _rows_for_targets(self):
        fewest, most = ROWS_PER_STEP
        return min(max(round(TARGETS_PER_STEP * len(self.user) / self.n_targets), fewest), most)

    def __len__(self):
        return -(-len(self.user) // self.rows_per_batch)

    def __iter__(self):
        """Yields the batches of one epoch; order and negatives depend only on the seed and `epoch`."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        for rows in self._batches(generator):
            yield self._gather(rows, generator)

    def _batches(self, generator):
        """Returns row numbers of each batch: shuffled, then sorted by length within pools, to reduce padding.

        The batches of a pool have about equal numbers of targets. The loss of a step is the mean over its targets: with
        equal numbers of rows, a target of a short history would weigh several times as much as one of a long history.
        """
        order = torch.randperm(len(self.user), generator=generator)
        batches = []
        for pool in order.split(16 * self.rows_per_batch):
            pool = pool[torch.argsort(self.length[pool], stable=True)]
            batches.extend(pool.tensor_split(self._cuts((self.length - self.context)[pool].numpy())))
        return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]

    def _cuts(self, n_targets):
        """Places that cut rows into non-empty batches with about equal numbers of targets."""
        n_batches = -(-len(n_targets) // self.rows_per_batch)
        place = np.arange(1, n_batches)
        cut = 1 + np.searchsorted(n_targets.cumsum(), n_targets.sum() * place / n_batches)
        latest = len(n_targets) - n_batches + place
        return (place + np.maximum.accumulate(np.minimum(cut, latest) - place).clip(min=0)).tolist()

    def _gather(self, rows, generator):
        length, context = self.length[rows, None], self.context[rows, None]  # [B, 1]
        position = torch.arange(int(length.max()))  # [L]
        place = self.start[rows, None] + torch.arange(len(position) + 1)  # [B, L + 1], the last one is a target alone
        if self.cut.reorder:
            place = place.gather(1, self._reordered(length, place.shape[1], generator))
        place = place.clamp(max=len(self.items) - 1)
        is_input = position < length
        is_target = is_input & (position >= context)
        place, next_place = place[:, :-1], place[:, 1:][is_target]  # [B, L], [P]
        inputs, targets = self.items[place] * is_input, self.items[next_place]
        users = self.user[rows]
        negatives = self.negatives.draw(users[:, None].expand_as(is_target)[is_target], generator)
        after = self.start[rows, None] + length + torch.arange(WINDOW)  # [B, WINDOW]
        following = self.items[after.clamp(max=len(self.items) - 1)] * (after < self.end[users, None])
        batch = RowBatch(users, inputs, is_target, targets, *negatives, following)
        if self.behaviours is None:
            return batch
        behaviours = self.behaviours[place] * is_input
        return batch._replace(behaviours=behaviours, target_behaviours=self.behaviours[next_place])

    def _reordered(self, length, width, generator):
        """Returns the order of the items of each row, the last target included, shape: [B, width]."""
        position = torch.arange(width)
        is_reordered = torch.rand(len(length), 1, generator=generator) < self.cut.reorder
        moved = (REORDER_REACH + 1) * torch.rand(len(length), width, generator=generator)
        return (position + torch.where(position <= length, moved * is_reordered, width)).argsort(dim=1)


def _rows(sequences, n_training, cut, draw):
    """Returns user, first input, number of inputs and number of context inputs of each row, shape: [n_rows], int64."""
    # Targets of a user's first row, and of each further row.
    first, step = (1, 1) if cut.one_target else (cut.max_length, cut.max_length - cut.max_length // 2)
    user = np.flatnonzero(n_training > 1)
    n_inputs = n_training[user] - 1
    first = first - np.where(n_inputs > first, draw.integers(0, step, len(user)), 0)  # of long histories
    n_rows = 1 + -(-np.maximum(n_inputs - first, 0) // step)
    row = np.arange(n_rows.sum()) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows)  # row number within the user
    user, n_inputs, first = (np.repeat(part, n_rows) for part in (user, n_inputs, first))
    end = first + row * step
    start = np.maximum(end - cut.max_length, 0)
    length = np.minimum(end, n_inputs) - start
    context = np.where(row > 0, end - step - start, 0)
    return tuple(torch.from_numpy(x) for x in (user, sequences.offsets[user] + start, length, context))

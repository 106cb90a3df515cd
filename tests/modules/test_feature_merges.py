"""ActionPiece's vocabulary: by hand, against recounting everything, and what segments must preserve."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch

from recbole_unirep.modules.feature_merges import FeatureMerges, learn_merges

# One user: {1, 3}, {2, 3}, {1, 3}. Inside: (1, 3) 2/2 twice, (2, 3) 2/2. Between neighbours, 1/4 each: (1, 2) twice,
# (1, 3) twice, (2, 3) twice, (3, 3) twice. Together: (1, 3) 2.5, (2, 3) 1.5, (1, 2) 0.5, (3, 3) 0.5.
CORPUS, OFFSETS = np.array([[1, 3], [2, 3], [1, 3]]), np.array([0, 0, 3])


def test_the_first_merges_by_hand():
    """(1, 3) is merged to 4: inside the first set, then between the second and the third: {4}, {2} [4] {3}.

    Then (2, 4) weighs 1 between the first two sets and 1 between the second and its slot, (3, 4) weighs 1.
    It becomes 5, which the emptied first set takes, and the emptied second one takes its slot's 4: {5} {4} {3}.
    """
    assert learn_merges(CORPUS, OFFSETS, 3, 1).tolist() == [[1, 3]]
    assert learn_merges(CORPUS, OFFSETS, 3, 2).tolist() == [[1, 3], [2, 4]]
    assert learn_merges(CORPUS, OFFSETS, 3, 3).tolist() == [[1, 3], [2, 4], [3, 4]]


def test_merges_stop_when_nothing_is_left():
    assert learn_merges(CORPUS, OFFSETS, 3, 99).tolist() == [[1, 3], [2, 4], [3, 4], [5, 6]]
    assert learn_merges(CORPUS[:0], np.array([0, 0]), 3, 5).shape == (0, 2)


def test_users_are_not_neighbours():
    sets = np.array([[1, 0], [2, 0], [1, 0], [3, 0]])
    assert learn_merges(sets, np.array([0, 2, 4]), 3, 9).tolist() == [[1, 2], [1, 3]]


def test_smaller_sets_weigh_by_their_own_size():
    """(1, 2) in a set of two weighs 1; (3, 4) weighs 2/3 in each of three sets of three."""
    sets = np.array([[1, 2, 0], *[[3, 4, 4 + user] for user in (1, 2, 3)]])
    assert learn_merges(sets, np.arange(5), 7, 1).tolist() == [[3, 4]]
    assert learn_merges(sets[:2], np.arange(3), 7, 1).tolist() == [[1, 2]]


class Recounted:
    """The same merges over rows of alternating sets and slots, counting everything again before each merge."""

    def __init__(self, users):
        self.users = [[part for items in user for part in (list(items), [])][:-1] for user in users]

    def weights(self):
        total = Counter()
        for nodes in self.users:
            for place in range(0, len(nodes), 2):
                here = nodes[place]
                for one in here:
                    for other in here:
                        if one < other:
                            total[one, other] += Fraction(2, len(here))
                if place + 1 < len(nodes):
                    slot, after = nodes[place + 1], nodes[place + 2]
                    for left, right in [(here, slot), (slot, after)] if slot else [(here, after)]:
                        for one in left:
                            for other in right:
                                total[min(one, other), max(one, other)] += Fraction(1, len(left) * len(right))
        return total

    def merge(self, pair, new):
        for nodes in self.users:
            place = 0
            while place < len(nodes):
                if not self._merge_once(nodes, place, pair, new):
                    place += 2

    def _merge_once(self, nodes, place, pair, new):
        one, other = pair
        here = nodes[place]
        if one != other and one in here and other in here:
            nodes[place] = [new] + [token for token in here if token not in pair]
            return True
        if place + 1 == len(nodes):
            return False
        slot, after = nodes[place + 1], nodes[place + 2]
        for a, b in (pair, pair[::-1]):
            if slot and slot[0] == a and (b in here or b in after):
                (here if b in here else after).remove(b)
            elif not slot and a in here and b in after:
                here.remove(a)
                after.remove(b)
            else:
                continue
            nodes[place + 1] = [new]
            self._tidy(nodes, place)
            self._tidy(nodes, place + 2)
            return True
        return False

    @staticmethod
    def _tidy(nodes, place):
        if place >= len(nodes) or nodes[place]:
            return
        for slot in (place - 1, place + 1):
            if 0 <= slot < len(nodes) and nodes[slot]:
                nodes[place], nodes[slot] = nodes[slot], []
                return
        del nodes[place - 1 : place + 1]


@pytest.mark.parametrize("seed", range(12))
def test_local_counts_equal_recounting_everything(seed):
    draw = np.random.default_rng(seed)
    n_tokens, n_most = 9, 4
    users = []
    for _ in range(6):
        n_items = draw.integers(0, 7)
        sizes = draw.integers(1, n_most + 1, n_items)
        users.append([sorted(draw.choice(np.arange(1, n_tokens + 1), size, replace=False).tolist()) for size in sizes])
    rows = [items + [0] * (n_most - len(items)) for user in users for items in user]
    offsets = np.cumsum([0, *map(len, users)])
    found = learn_merges(np.array(rows).reshape(-1, n_most), offsets, n_tokens, 40).tolist()

    slow, expected = Recounted(users), []
    while len(expected) < 40 and (weights := slow.weights()):
        most = max(weights.values())
        pair = min(pair for pair, weight in weights.items() if weight == most)
        slow.merge(pair, n_tokens + 1 + len(expected))
        expected.append([*pair])
    assert found == expected
    assert len(found) > 10


RULES = torch.tensor([[1, 3], [2, 4], [3, 4], [2, 5]])  # to 5, 6, 7, 8 of four tokens


@pytest.fixture
def merges():
    return FeatureMerges(RULES, 4)


def test_segments_by_hand(merges):
    rows = torch.tensor([[3, 1, 2, 4], [1, 2, 3, 4], [4, 3, 1, 2], [3, 4, 3, 4], [2, 0, 0, 0]])
    # 3 1 2 4: rule 0, then rule 1 before rule 3. 1 2 3 4: rule 2 alone. 4 3 1 2: rule 0, then rule 3.
    assert merges.segment(rows).tolist() == [[5, 6, 0], [1, 2, 7], [4, 8, 0], [7, 7, 0], [2, 0, 0]]


def test_sets_by_hand(merges):
    sets = torch.tensor([[1, 2, 3, 4], [2, 3, 4, 0], [0, 3, 0, 4], [4, 1, 0, 0], [1, 2, 3, 0]])
    # {1, 2, 3, 4}: 1 3 to 5, 2 4 to 6; {2, 3, 4}: 2 4 to 6; {1, 2, 3}: 1 3 to 5, 2 5 to 8
    assert merges.of_sets(sets).tolist() == [[6, 5, 0, 0], [6, 3, 0, 0], [7, 0, 0, 0], [4, 1, 0, 0], [8, 0, 0, 0]]


def test_loaded_rules_are_used(merges):
    other = FeatureMerges(RULES.flip(0), 4)
    other.load_state_dict(merges.state_dict())
    rows = torch.tensor([[3, 1, 2, 4], [1, 2, 3, 4], [4, 3, 1, 2]])
    assert torch.equal(other.segment(rows), merges.segment(rows))


def test_without_rules_nothing_changes():
    merges = FeatureMerges(torch.empty(0, 2, dtype=torch.int64), 4)
    rows = torch.tensor([[3, 1, 2], [4, 0, 0]])
    assert torch.equal(merges.segment(rows), rows)
    assert torch.equal(merges.of_sets(rows), rows)


def one_by_one(row, pairs, n_tokens):
    """Textbook BPE of one row."""
    rules = {frozenset((one, other)): rank for rank, (one, other) in enumerate(pairs)}
    while True:
        ranks = [rules.get(frozenset(pair), len(pairs)) for pair in zip(row[:-1], row[1:])]
        if min(ranks, default=len(pairs)) == len(pairs):
            return row
        place = ranks.index(min(ranks))
        row = row[:place] + [n_tokens + 1 + ranks[place]] + row[place + 2 :]


def features(token, pairs, n_tokens):
    if token <= n_tokens:
        return [token]
    return sorted(part for half in pairs[token - n_tokens - 1] for part in features(half, pairs, n_tokens))


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_segmented_together_as_alone_and_keep_their_features(seed):
    draw = np.random.default_rng(seed)
    sets = np.stack([draw.permutation(8)[:3] + 1 for _ in range(60)])
    pairs = learn_merges(sets, np.array([0, 20, 60]), 8, 40)
    merges, pairs = FeatureMerges(torch.from_numpy(pairs), 8), pairs.tolist()
    rows = [draw.integers(1, 9, draw.integers(1, 25)).tolist() for _ in range(30)]
    padded = torch.zeros(30, 24, dtype=torch.int64)
    for line, row in zip(padded, rows):
        line[: len(row)] = torch.tensor(row)
    found = [[token for token in row if token] for row in merges.segment(padded).tolist()]
    assert found == [one_by_one(row, pairs, 8) for row in rows]
    assert min(map(len, found)) < min(len(row) for row in rows if len(row) > 5)
    for row, given in zip(found, rows):
        assert sorted(part for token in row for part in features(token, pairs, 8)) == sorted(given)
    written = merges.of_sets(torch.from_numpy(sets))
    for row, given in zip(written.tolist(), sets.tolist()):
        assert sorted(part for token in row if token for part in features(token, pairs, 8)) == sorted(given)

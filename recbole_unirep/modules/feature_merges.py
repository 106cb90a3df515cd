"""ActionPiece's vocabulary: features that often occur together, within an item or in neighbours, become tokens.

Reference:
    Yupeng Hou et al. "ActionPiece: Contextually Tokenizing Action Sequences for Generative Recommendation", ICML 2025,
        arXiv:2502.13581, Algorithms 1 to 3.

A sequence consists of sets of tokens, one set per item. Between two adjacent sets is a slot, which receives the new
token when a token of each set is merged; a slot holds at most one token. A pair's weight is how often its tokens are
expected to be adjacent if each set is written in random order: 2 / n in a set of n, 1 / (n m) between sets of n and m.

Weights are integer multiples of a common unit, so that sums are exact. Of equally heavy pairs the one with the oldest
tokens is merged. A merge only changes the sets next to it, so that only their pairs are counted again. The paper leaves
open what happens to a set that loses its last token: here it takes the token of the slot before it, or else of the slot
after it.

Shapes: N sets, V most tokens of a set, M merges, B rows, S tokens of a row.
"""

import heapq
import math
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor, nn

NO_RULE = 2**31 - 1


def learn_merges(sets: np.ndarray, offsets: np.ndarray, n_tokens: int, n_merges: int) -> np.ndarray:
    """The merges of a corpus, heaviest first (Algorithm 1).

    Args:
        sets (np.ndarray): tokens of each interaction's item, 1 to n_tokens, distinct within a row; 0 where an item has
            fewer, but each has at least one; int64, shape: [N, V].
        offsets (np.ndarray): user u's items are `sets[offsets[u]:offsets[u + 1]]` in time order, shape: [n_users + 1].
        n_tokens (int): tokens before any merge.
        n_merges (int): merges to make; fewer if nothing is left to merge.

    Returns:
        np.ndarray: the two tokens of each merge, the smaller first; row m becomes token n_tokens + 1 + m, int64,
        shape: [M, 2].
    """
    corpus, pairs = _Corpus(sets, offsets, 1 + n_tokens + n_merges), []
    while len(pairs) < n_merges and (tokens := corpus.heaviest()):
        corpus.merge(tokens, n_tokens + 1 + len(pairs))
        pairs.append(tokens)
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


class _Corpus:
    """All sequences, the weight of each pair, and its places: the sets whose own or next tokens it joins.

    A pair is encoded as one number, larger token * base + smaller token.
    """

    def __init__(self, sets, offsets, base):
        self.sets = [[token for token in row if token] for row in sets.tolist()]
        self.slots = [0] * len(self.sets)  # the token between a set and the next, 0 if none
        self.next = [place + 1 for place in range(len(self.sets))]
        self.previous = [place - 1 for place in range(len(self.sets))]
        for first, end in zip(offsets[:-1].tolist(), offsets[1:].tolist()):
            if first < end:
                self.previous[first] = self.next[end - 1] = -1
        self.unit, self.base = math.lcm(*range(1, sets.shape[1] + 1)) ** 2, base
        self.weight, self.places = defaultdict(int), defaultdict(list)
        for place in range(len(self.sets)):
            for pair, weight in self._pairs(place).items():
                self.weight[pair] += weight
                self.places[pair].append(place)
        self.heap = [self._entry(pair) for pair in self.weight]
        heapq.heapify(self.heap)

    def _entry(self, pair):
        """Sorts heaviest first, then by smallest tokens."""
        larger, smaller = divmod(pair, self.base)
        return -self.weight[pair], smaller * self.base + larger

    def heaviest(self):
        """The two tokens of the heaviest pair, the smaller first, or None if there is none."""
        while self.heap:
            weight, tokens = heapq.heappop(self.heap)
            smaller, larger = divmod(tokens, self.base)
            pair = larger * self.base + smaller
            now = self.weight.get(pair, 0)
            if now == -weight:
                return smaller, larger
            if 0 < now < -weight:  # a pair that gained weight has another entry further up
                heapq.heappush(self.heap, self._entry(pair))
        return None

    def merge(self, tokens, new):
        """Replaces the two tokens by a new one wherever they meet, from the first place to the last (Algorithm 3)."""
        pair, change = tokens[1] * self.base + tokens[0], defaultdict(int)
        for place in sorted(set(self.places[pair])):
            while pair in (own := self._pairs(place)):
                before = {near: self._pairs(near) for near in (self.previous[place], self.next[place]) if near >= 0}
                before[place] = own
                self._merge_at(place, tokens, new)
                for near, earlier in before.items():
                    for other, weight in earlier.items():
                        change[other] -= weight
                    for other, weight in self._pairs(near).items():
                        change[other] += weight
                        if other not in earlier:
                            self.places[other].append(near)
        for other, weight in change.items():
            self.weight[other] += weight
            if not self.weight[other]:
                del self.weight[other], self.places[other]
            elif weight > 0:
                heapq.heappush(self.heap, self._entry(other))

    def _merge_at(self, place, tokens, new):
        (one, other), here, behind = tokens, self.sets[place], self.next[place]
        if one != other and one in here and other in here:
            self.sets[place] = [new, *(token for token in here if token not in tokens)]
            return
        after, slot = self.sets[behind], self.slots[place]
        if slot:
            partner = other if slot == one else one
            (here if partner in here else after).remove(partner)
        else:
            if one not in here or other not in after:
                one, other = other, one
            here.remove(one)
            after.remove(other)
        self.slots[place] = new
        self._fill(place)
        self._fill(behind)

    def _fill(self, place):
        """Gives an emptied set the token of an adjacent slot; if there is none, removes the set."""
        if self.sets[place]:
            return
        previous, following = self.previous[place], self.next[place]
        for slot in (previous, place):
            if slot >= 0 and self.slots[slot]:
                self.sets[place], self.slots[slot] = [self.slots[slot]], 0
                return
        self.next[previous] = following  # the set before it has just been filled
        if following >= 0:
            self.previous[following] = previous

    def _pairs(self, place):
        """Weights of the pairs of a set, its slot and the next set; none for a removed set."""
        unit, base, here, found = self.unit, self.base, self.sets[place], {}
        if not here:
            return found
        share = 2 * unit // len(here)
        for first, one in enumerate(here):
            for other in here[:first]:
                found[one * base + other if one > other else other * base + one] = share
        if self.next[place] < 0:
            return found
        after, slot = self.sets[self.next[place]], self.slots[place]
        for left, right in ((here, (slot,)), ((slot,), after)) if slot else ((here, after),):
            share = unit // (len(left) * len(right))
            for one in left:
                for other in right:
                    pair = one * base + other if one > other else other * base + one
                    found[pair] = found.get(pair, 0) + share
        return found


class FeatureMerges(nn.Module):
    """Applies merges as rules: rewrites sequences and single sets in the merged vocabulary.

    Args:
        pairs (Tensor): from `learn_merges`, int64, shape: [M, 2].
        n_tokens (int): tokens before any merge.
    """

    def __init__(self, pairs: Tensor, n_tokens: int):
        super().__init__()
        self.n_tokens, self.n_base = n_tokens + len(pairs), n_tokens
        key, rank = (pairs[:, 0] * (1 + self.n_tokens) + pairs[:, 1]).sort()
        self.register_buffer("pairs", pairs)
        self.register_buffer("key", key)
        self.register_buffer("rank_of_key", rank)

    def _rank(self, one, other):
        """Number of the merge of two tokens, NO_RULE if there is none or one is 0; same shapes."""
        if not len(self.key):
            return torch.full_like(one, NO_RULE)
        key = torch.minimum(one, other) * (1 + self.n_tokens) + torch.maximum(one, other)
        place = torch.searchsorted(self.key, key).clamp(max=len(self.key) - 1)
        return torch.where((self.key[place] == key) & (one > 0) & (other > 0), self.rank_of_key[place], NO_RULE)

    def segment(self, tokens: Tensor) -> Tensor:
        """Merges adjacent tokens of rows, the oldest rule first, at its leftmost place first (as in BPE).

        Args:
            tokens (Tensor): 0 pads on the right, int64, shape: [B, S].

        Returns:
            Tensor: 0 pads on the right, shape: [B, S'], S' <= S.
        """
        tokens = nn.functional.pad(tokens, (0, 1))
        rank = self._rank(tokens[:, :-1], tokens[:, 1:])  # [B, S]
        place = torch.arange(rank.shape[1], device=tokens.device)
        rows = torch.arange(len(tokens), device=tokens.device)  # rows with something to merge
        while len(rows):
            order = rank[rows] * len(place) + place
            best, at = order.min(dim=1)
            merged = best < NO_RULE * len(place)
            rows, at, new = rows[merged], at[merged], best[merged] // len(place) + 1 + self.n_base
            own, own_rank = tokens[rows], rank[rows]
            is_behind = place > at[:, None]
            own[:, :-1] = torch.where(is_behind, own[:, 1:], own[:, :-1])  # removes the pair's second token
            own_rank[:, :-1] = torch.where(is_behind[:, :-1], own_rank[:, 1:], own_rank[:, :-1])
            own_rank[:, -1] = NO_RULE
            own[:, -1] = 0
            line = torch.arange(len(rows), device=tokens.device)
            own[line, at] = new
            own_rank[line, at] = self._rank(new, own[line, at + 1])
            before = (at - 1).clamp(min=0)
            rank_before = self._rank(own[line, before], new)
            own_rank[line, before] = torch.where(at > 0, rank_before, own_rank[line, before])
            tokens[rows], rank[rows] = own, own_rank
        return tokens[:, : max(1, int((tokens > 0).sum(dim=1).max()))]

    def of_sets(self, tokens: Tensor) -> Tensor:
        """Merges tokens within single sets, the oldest rule first; new tokens come first, the others keep their order.

        Args:
            tokens (Tensor): 0 where a set has fewer, int64, shape: [N, V].

        Returns:
            Tensor: 0 pads on the right, shape: [N, V].
        """
        tokens = tokens.gather(1, (tokens == 0).int().argsort(dim=1, stable=True))
        n_most = tokens.shape[1]
        first, second = torch.triu_indices(n_most, n_most, offset=1, device=tokens.device)
        while len(first):
            rank, best = self._rank(tokens[:, first], tokens[:, second]).min(dim=1)
            rows = (rank < NO_RULE).nonzero()[:, 0]
            if not len(rows):
                break
            own, line = tokens[rows], torch.arange(len(rows), device=tokens.device)
            own[line, first[best[rows]]] = own[line, second[best[rows]]] = 0
            own = torch.cat([rank[rows, None] + 1 + self.n_base, own], dim=1)
            tokens[rows] = own.gather(1, (own == 0).int().argsort(dim=1, stable=True))[:, :n_most]
        return tokens

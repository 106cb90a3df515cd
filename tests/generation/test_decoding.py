"""Beam search and likelihoods, checked against every ID of a small catalogue."""

import pytest
import torch

from recbole_unirep.generation.beam_search import beam_search
from recbole_unirep.generation.likelihood import candidate_log_likelihoods, catalogue_log_likelihoods
from recbole_unirep.generation.trie import PrefixTrie, close_codes

N_USERS = 3


def catalogue(kind):
    """Closed codes of 60 items."""
    draw = torch.Generator().manual_seed(1)
    codes, sizes = torch.randint(6, (60, 3), generator=draw), [6, 6, 6]
    if kind == "variable length":
        length = torch.randint(1, 4, (60, 1), generator=draw)
        codes = codes.masked_fill(torch.arange(3) >= length, -1)
    if kind == "colliding":
        codes = codes % torch.tensor([3, 2, 2])
    return close_codes(codes, sizes)


def by_hand(decoder, closed, user):
    """Log-likelihood of every item's ID, shape: [N]."""
    n_real = (~closed.is_past_end).sum(dim=1).tolist()
    return torch.stack([decoder.log_likelihood(user, c, n) for c, n in zip(closed.codes.tolist(), n_real)])


@pytest.fixture(params=["one length", "variable length", "colliding"])
def case(request, decoder):
    closed = catalogue(request.param)
    model = decoder(N_USERS, closed.codebook_sizes)
    return model, closed, PrefixTrie(closed), torch.stack([by_hand(model, closed, user) for user in range(N_USERS)])


@pytest.mark.parametrize("n_at_once", [1, 7, 1000])
def test_catalogue_likelihoods_equal_those_of_each_item(case, n_at_once):
    model, _, trie, expected = case
    found = catalogue_log_likelihoods(model, trie, n_at_once)
    torch.testing.assert_close(found[:, trie.leaf], expected)


def test_a_prefix_is_decoded_once_for_all_ids_that_start_with_it(case):
    model, _, trie, _ = case
    catalogue_log_likelihoods(model, trie, 1000)
    assert model.steps == sum(len(level.code) for level in trie.levels[:-1])


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_candidates_get_the_likelihoods_of_their_ids_and_equal_ids_tie_exactly(case, noise):
    model, closed, trie, expected = case
    model.noise = noise
    items = torch.randint(60, (N_USERS, 40), generator=torch.Generator().manual_seed(2))
    found = candidate_log_likelihoods(model, closed.codes[items], closed.is_past_end[items])
    torch.testing.assert_close(found, expected.gather(1, items))
    is_same = trie.leaf[items][:, :, None] == trie.leaf[items][:, None]
    assert torch.equal(is_same, found[:, :, None] == found[:, None])


def test_with_enough_beams_the_search_is_exact(case):
    model, _, trie, expected = case
    n_beams = max(len(level.code) for level in trie.levels)
    leaf, score = beam_search(model, trie, n_beams)
    of_leaves = torch.full((N_USERS, trie.n_leaves), -torch.inf)
    of_leaves[:, trie.leaf] = expected
    best, order = of_leaves.sort(dim=1, descending=True)
    assert leaf.shape[1] >= trie.n_leaves
    assert torch.equal(leaf[:, : trie.n_leaves], order)
    torch.testing.assert_close(score[:, : trie.n_leaves], best)
    assert (score[:, trie.n_leaves :] == -torch.inf).all()


@pytest.mark.parametrize("n_beams", [1, 4, 10])
def test_few_beams_equal_a_search_by_hand(case, n_beams):
    """By hand: list all prefixes of a level, sort them and keep n_beams."""
    model, closed, trie, expected = case
    leaf, score = beam_search(model, trie, n_beams)
    n_real = (~closed.is_past_end).sum(dim=1).tolist()
    ids = {tuple(codes): n for codes, n in zip(closed.codes.tolist(), n_real)}
    for user in range(N_USERS):
        kept = {()}
        for length in (1, 2, 3):
            longer = {codes[:length] for codes in ids if codes[: length - 1] in kept}
            value = {p: _prefix(model, user, p, [n for codes, n in ids.items() if codes[:length] == p]) for p in longer}
            kept = set(sorted(longer, key=lambda p: -value[p])[:n_beams])
        found = [tuple(codes) for codes in trie.ids[leaf[user][score[user] > -torch.inf]].tolist()]
        assert set(found) == kept and len(found) == len(kept)
        torch.testing.assert_close(
            score[user][: len(found)], torch.stack([model.log_likelihood(user, codes, ids[codes]) for codes in found])
        )
        assert all(a >= b for a, b in zip(score[user], score[user][1:]))


def _prefix(model, user, prefix, lengths):
    """Log-probability of a prefix, without codes past the end of the IDs that start with it."""
    return model.log_likelihood(user, prefix, min(len(prefix), max(lengths))).item()


def test_every_beam_is_the_id_of_an_item(case):
    model, closed, trie, _ = case
    leaf, score = beam_search(model, trie, 5)
    known = {tuple(codes) for codes in closed.codes.tolist()}
    assert all(tuple(trie.ids[beam].tolist()) in known for beam in leaf[score > -torch.inf])
    for beams, scores in zip(leaf, score):
        valid = beams[scores > -torch.inf].tolist()
        assert len(set(valid)) == len(valid) > 0

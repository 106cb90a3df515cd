"""Pieces of IDs: n-grams by hand, SentencePieces that spell whole IDs, nothing learned from untrained items."""

import sys

import pytest
import torch

from recbole_unirep.semantic_ids.pieces import code_pieces, ngram_pieces, sentence_pieces

CODES = torch.tensor([[-1, -1, -1], [0, 2, 1], [0, 2, 0], [1, -1, -1], [1, 2, 1], [0, 2, 1]])
COUNTS = torch.tensor([0, 5, 1, 1, 0, 2])


def test_codes_are_pieces_of_their_level():
    tokens, n_pieces = code_pieces(CODES, [2, 3, 2])
    assert n_pieces == 7
    assert tokens.tolist() == [[0, 0, 0], [1, 5, 7], [1, 5, 6], [2, 0, 0], [2, 5, 7], [1, 5, 7]]


def test_n_grams_are_numbered_by_group_and_those_of_untrained_items_are_none():
    tokens, n_pieces = ngram_pieces(CODES, COUNTS, 2)
    assert n_pieces == 2 + 2  # (0 2), (1 -); 0, 1; only the untrained item has (1 2)
    assert tokens.tolist() == [[0, 0], [1, 4], [1, 3], [2, 0], [0, 4], [1, 4]]
    assert torch.equal(ngram_pieces(CODES, COUNTS, 1).tokens[1:4] > 0, CODES[1:4] >= 0)
    whole = ngram_pieces(CODES, COUNTS, 9)
    assert whole.tokens.shape == (6, 1)
    assert whole.n_pieces == 3


@pytest.fixture
def ids():
    """200 IDs of four codes, the last two of which are one of six pairs."""
    generator = torch.Generator().manual_seed(0)
    front = torch.randint(8, (200, 2), generator=generator)
    pairs = torch.randint(8, (6, 2), generator=generator)
    codes = torch.cat([front, pairs[torch.randint(6, (200,), generator=generator)]], dim=1)
    return torch.cat([torch.full((1, 4), -1), codes])


def test_sentence_pieces_join_frequent_neighbours_and_spell_every_id(ids):
    counts = torch.ones(201, dtype=torch.int64)
    counts[0] = 0
    tokens, n_pieces = sentence_pieces(ids, counts, n_pieces=60)
    again = sentence_pieces(ids, counts, n_pieces=60)
    assert torch.equal(tokens, again.tokens)
    assert not tokens[0].any()
    assert tokens.max() <= n_pieces <= 60
    length = (tokens > 0).sum(dim=1)[1:].double()
    assert length.min() >= 1
    assert length.mean() < 3.5  # the pairs are one piece
    spelled = {}
    for of_item, code in zip(tokens.tolist(), ids.tolist()):
        assert spelled.setdefault(tuple(of_item), code) == code


def test_sentence_pieces_learn_by_counts_and_from_trained_items_alone(ids):
    counts = torch.ones(201, dtype=torch.int64)
    counts[0] = 0
    counts[101:] = 0
    learned = sentence_pieces(ids, counts, n_pieces=60)
    changed = ids.clone()
    changed[101:] = ids[101:].flip(1)
    assert torch.equal(sentence_pieces(changed, counts, n_pieces=60).tokens[:101], learned.tokens[:101])
    counts[101:] = 1
    before = sentence_pieces(ids, counts, n_pieces=60).tokens
    counts[1:4] = 500
    after = sentence_pieces(ids, counts, n_pieces=60).tokens
    assert (after[1:4] > 0).sum() < (before[1:4] > 0).sum()  # longer pieces for frequent items


def test_too_few_pieces_or_no_library_are_one_clear_line(ids, monkeypatch):
    counts = (ids[:, 0] >= 0).long()
    with pytest.raises(ValueError, match=r"n_pieces=5 is less than the \d+ codes in use"):
        sentence_pieces(ids, counts, n_pieces=5)
    monkeypatch.setattr("sentencepiece.__version__", "0.2.3")
    with pytest.raises(ValueError, match=r"other pieces with sentencepiece 0.2.3: install an older one"):
        sentence_pieces(ids, counts, n_pieces=60)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ValueError, match=r"pip install 'recbole-unirep\[pieces\]'"):
        sentence_pieces(ids, counts, n_pieces=60)

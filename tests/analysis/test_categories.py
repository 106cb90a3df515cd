"""Counts and purity of categories per code, by hand."""

import numpy as np
import pytest
import torch

from recbole_unirep.analysis.categories import category_purity, common_categories, fullest_codes_by_category

# Six items: level 1 separates soap and brushes, level 2 does not; code 0 of level 2 is unused.
CODES = np.array([[2, 1], [2, 2], [2, 1], [2, 1], [0, 2], [0, 1]])
CATEGORIES = ["soap", "soap", "soap", "balm", "brush", "brush"]
KEYS = {"codebook_size": 3, "n_codes": 2, "n_categories": 3}


def counts(**changes):
    return fullest_codes_by_category(torch.from_numpy(CODES), CATEGORIES, **{**KEYS, **changes})


def test_counts_by_hand():
    found = counts()
    assert found.categories == ["soap", "brush", "balm"]
    assert found.totals.tolist() == [3, 2, 1]
    assert found.codes.tolist() == [[2, 0], [1, 2]]
    assert found.counts.tolist() == [[[3, 0, 1], [0, 2, 0]], [[2, 1, 1], [1, 1, 0]]]


def test_categories_beyond_the_most_common_are_merged():
    found = counts(n_categories=1)
    assert found.categories == ["soap", "other"]
    assert found.totals.tolist() == [3, 3]
    assert found.counts[0].tolist() == [[3, 1], [0, 2]]


def test_equally_common_categories_are_sorted():
    names, groups = common_categories(["b", "a", "c", "c"], 2)
    assert names == ["c", "a", "other"]
    assert groups.tolist() == [2, 1, 0, 0]
    assert common_categories(np.array([208, 58, 7, 7]), 2)[0] == [7, 58, "other"]


def test_a_codebook_with_fewer_codes_than_requested_is_shown_whole():
    assert counts(n_codes=9).codes.shape == (2, 3)


def test_purity_by_hand():
    # Level 1: code 2 has 3 soaps, code 0 has 2 brushes. Level 2: code 1 has 2 soaps, code 2 one soap and one brush.
    assert category_purity(CODES, CATEGORIES) == [5 / 6, 3 / 6]
    assert category_purity(np.zeros((6, 1), dtype=int), CATEGORIES) == [3 / 6]
    assert category_purity(np.arange(6)[:, None], CATEGORIES) == [1.0]


@pytest.mark.parametrize("measure", [category_purity, lambda *args: fullest_codes_by_category(*args, **KEYS)])
def test_codes_and_categories_of_different_numbers_of_items_are_an_error(measure):
    with pytest.raises(ValueError, match="got codes of 6 items and categories of 5"):
        measure(CODES, CATEGORIES[:5])


def test_short_ids_count_on_the_levels_they_use():
    codes, categories = np.array([[0, 1], [0, -1], [1, 0], [1, 1]]), ["a", "a", "b", "b"]
    assert category_purity(codes, categories) == [1.0, 2 / 3]
    counts = fullest_codes_by_category(codes, categories, codebook_size=[2, 3], n_codes=3, n_categories=2)
    assert counts.codes.tolist() == [[0, 1, -1], [1, 0, 2]]
    assert counts.counts[:, :, :].tolist() == [[[2, 0], [0, 2], [0, 0]], [[1, 1], [0, 1], [0, 0]]]

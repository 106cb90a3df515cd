"""Codes against categories, by hand."""

import numpy as np
import pytest
import torch

from recbole_unirep.analysis.categories import category_purity, common_categories, fullest_codes_by_category

# Six items: level 1 splits soap from brushes, level 2 does not; code 0 of level 2 is never used.
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


def test_categories_beyond_the_most_common_are_counted_together():
    found = counts(n_categories=1)
    assert found.categories == ["soap", "other"]
    assert found.totals.tolist() == [3, 3]
    assert found.counts[0].tolist() == [[3, 1], [0, 2]]


def test_of_equally_common_categories_the_lower_comes_first():
    names, groups = common_categories(["b", "a", "c", "c"], 2)
    assert names == ["c", "a", "other"]
    assert groups.tolist() == [2, 1, 0, 0]
    assert common_categories(np.array([208, 58, 7, 7]), 2)[0] == [7, 58, "other"]


def test_a_codebook_smaller_than_what_is_shown_is_shown_whole():
    assert counts(n_codes=9).codes.shape == (2, 3)


def test_purity_by_hand():
    # Level 1: 3 soaps of code 2, 2 brushes of code 0. Level 2: 2 soaps of code 1, 1 of either of code 2.
    assert category_purity(CODES, CATEGORIES) == [5 / 6, 3 / 6]
    assert category_purity(np.zeros((6, 1), dtype=int), CATEGORIES) == [3 / 6]
    assert category_purity(np.arange(6)[:, None], CATEGORIES) == [1.0]


@pytest.mark.parametrize("measure", [category_purity, lambda *args: fullest_codes_by_category(*args, **KEYS)])
def test_codes_and_categories_of_other_items_are_an_error(measure):
    with pytest.raises(ValueError, match="6 items have codes and 5 have categories"):
        measure(CODES, CATEGORIES[:5])


def test_ids_that_end_early_count_where_they_have_a_code():
    codes, categories = np.array([[0, 1], [0, -1], [1, 0], [1, 1]]), ["a", "a", "b", "b"]
    assert category_purity(codes, categories) == [1.0, 2 / 3]
    counts = fullest_codes_by_category(codes, categories, codebook_size=[2, 3], n_codes=3, n_categories=2)
    assert counts.codes.tolist() == [[0, 1, -1], [1, 0, 2]]
    assert counts.counts[:, :, :].tolist() == [[[2, 0], [0, 2], [0, 0]], [[1, 1], [0, 1], [0, 0]]]

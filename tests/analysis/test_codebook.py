"""Codebook statistics by hand."""

import numpy as np
import pytest
import torch

from recbole_unirep.analysis.codebook import (
    codebook_report,
    codebook_usage,
    collision_rate,
    entropy,
    perplexity,
    unique_item_coverage,
)

# Five items, two levels with four codes each; the second and third item share a semantic ID.
CODES = np.array([[0, 0], [0, 1], [0, 1], [0, 2], [0, 3]])


@pytest.mark.parametrize("codes", [CODES, torch.from_numpy(CODES), torch.from_numpy(CODES).int()])
def test_statistics_by_hand(codes):
    assert codebook_usage(codes, 4) == [0.25, 1.0]
    # Shares 1/5, 2/5, 1/5, 1/5: entropy 0.6 ln 5 + 0.4 ln 2.5.
    assert perplexity(codes, 4) == pytest.approx([1.0, 5**0.6 * 2.5**0.4])
    assert unique_item_coverage(codes) == 4 / 5
    assert collision_rate(codes) == 2 / 5


def test_levels_may_have_different_sizes_and_ids_may_end_early():
    codes = np.array([[0, 0], [1, -1], [1, 2], [0, 2]])
    assert codebook_usage(codes, [2, 4]) == [1.0, 0.5]
    assert entropy(codes, [2, 4]) == pytest.approx([1.0, 0.9182958])  # shares 1/3 and 2/3
    assert unique_item_coverage(codes) == 1.0


def test_a_level_that_no_item_uses_has_entropy_zero():
    assert entropy(np.array([[0, -1]]), [2, 4]) == [0.0, 0.0]


def test_perplexity_of_evenly_used_codes_is_their_number():
    codes = np.arange(8).reshape(8, 1)
    assert perplexity(codes, 8) == pytest.approx([8.0])
    assert unique_item_coverage(codes) == 1.0
    assert collision_rate(codes) == 0.0


def test_the_order_of_levels_matters_to_a_semantic_id():
    codes = np.array([[0, 1], [1, 0]])
    assert unique_item_coverage(codes) == 1.0
    assert collision_rate(codes) == 0.0


def test_report_has_flat_names_and_plain_floats():
    report = codebook_report(CODES, 4)
    assert list(report) == [
        "codebook_usage_1",
        "codebook_usage_2",
        "perplexity_1",
        "perplexity_2",
        "unique_item_coverage",
        "collision_rate",
    ]
    assert {type(value) for value in report.values()} == {float}
    assert report["codebook_usage_2"] == 1.0
    assert report["collision_rate"] == 2 / 5


def test_a_code_outside_its_codebook_is_an_error():
    with pytest.raises(ValueError, match="codes range from 0 to 3 at level 2, codebook_size is 3"):
        codebook_report(CODES, 3)

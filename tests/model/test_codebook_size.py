"""The number of codes that follows from the number of items."""

import pytest

from recbole_unirep.model.unirep_parts import codebook_size_of


@pytest.mark.parametrize(
    ("n_items", "n_codes"),
    [
        (0, 1),
        (9, 9),  # no more codes than items
        (117, 16),
        (1_682, 16),
        (4_095, 16),
        (4_096, 32),
        (12_101, 64),
        (16_383, 64),
        (16_384, 128),
        (10**7, 128),
    ],
)
def test_the_codebook_size_is_a_power_of_two_by_the_number_of_items(n_items, n_codes):
    assert codebook_size_of(n_items) == n_codes


def test_a_size_that_is_not_given_follows_from_the_items_and_a_given_one_is_kept(prepare):
    sizes = [prepare(codebook_size=size)[2].item_embedding.tokenizer.codebook_size for size in (None, 8)]
    assert sizes == [16, 8]

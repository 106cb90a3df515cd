"""Tokenizers that read item tokens or columns."""

import pytest
import torch

from recbole_unirep.testing.assigned_tokenizers import ITEMS
from recbole_unirep.tokenizer.assigned import Items
from recbole_unirep.tokenizer.categoricalids import CategoricalIDs
from recbole_unirep.tokenizer.itemidtokens import ItemIDTokens, n_digits
from recbole_unirep.tokenizer.keywordids import KeywordIDs
from recbole_unirep.tokenizer.randomids import RandomIDs


def test_random_codes_are_spread_evenly_and_depend_on_the_seed():
    items = Items([str(number) for number in range(4000)], {})
    codes = RandomIDs.from_defaults(codebook_size=4).fit(items).encode(items)
    for level in codes.unbind(dim=-1):
        assert torch.bincount(level).sub(1000).abs().max() < 100  # 110 is four standard deviations
    assert len(torch.unique(codes, dim=0)) == 64
    other = RandomIDs.from_defaults(codebook_size=4, fit_seed=1).fit(items).encode(items)
    assert (other == codes).double().mean() == pytest.approx(0.25, abs=0.02)


def test_every_item_has_a_number_unrelated_to_the_order_of_the_items():
    items = Items([f"{number:04}" for number in range(1000)], {})
    tokenizer = ItemIDTokens.from_defaults(codebook_size=10).fit(items)
    codes = tokenizer.encode(items)
    assert tokenizer.n_levels == 3
    numbers = codes @ torch.tensor([100, 10, 1])
    assert torch.equal(numbers.sort().values, torch.arange(1000))
    rank_correlation = torch.corrcoef(torch.stack([numbers.double(), torch.arange(1000).double()]))[0, 1]
    assert abs(rank_correlation) < 0.1


def test_an_item_without_number_is_named():
    with pytest.raises(ValueError, match="item 'B2' has no number"):
        ItemIDTokens.from_defaults().fit(ITEMS.part([0, 1])).encode(ITEMS)


@pytest.mark.parametrize(("count", "base", "digits"), [(1, 10, 1), (10, 10, 1), (11, 10, 2), (256**3, 256, 3)])
def test_as_many_digits_as_the_largest_number_needs(count, base, digits):
    assert n_digits(count, base) == digits


def test_categories_become_levels_and_missing_ones_are_unused_levels():
    tokenizer = CategoricalIDs.from_defaults(id_columns=["categories", "brand"]).fit(ITEMS)
    assert tokenizer.codebook_sizes == [1, 3, 1, 3]  # Beauty; Bath, Lip, Skin; Oil; Ann, Bo, Cy
    assert tokenizer.encode(ITEMS).tolist() == [
        [0, 0, -1, 0],
        [0, 2, 0, 0],
        [0, 0, -1, 1],
        [0, -1, -1, 1],
        [-1, -1, -1, 2],
        [0, 1, -1, -1],
    ]


def test_words_are_ordered_most_typical_first():
    tokenizer = KeywordIDs.from_defaults(n_levels=2, codebook_size=100, id_columns=["title"]).fit(ITEMS)
    words = tokenizer.words()
    spelled = [[words[code] if code >= 0 else "" for code in codes] for codes in tokenizer.encode(ITEMS).tolist()]
    assert spelled == [["rose", "soap"], ["oil", "rose"], ["mint", "soap"], ["balm", "lip"], ["gloss", "lip"], ["", ""]]


def test_the_vocabulary_keeps_the_words_that_most_items_have():
    tokenizer = KeywordIDs.from_defaults(codebook_size=3, id_columns=["title"]).fit(ITEMS)
    assert sorted(tokenizer.words()) == ["lip", "rose", "soap"]


@pytest.mark.parametrize("tokenizer", [CategoricalIDs, KeywordIDs])
def test_a_missing_column_is_named_with_the_existing_ones(tokenizer):
    with pytest.raises(ValueError, match="there is no column colour: the .item file has title, brand, categories"):
        tokenizer.from_defaults(id_columns=["colour"]).fit(ITEMS)
    with pytest.raises(ValueError, match="id_columns=title names no column"):
        tokenizer.from_defaults(id_columns="title")

"""What every tokenizer promises, by the contract tests that others run on theirs; and what only ours promise."""

import pytest

from recbole_unirep.testing.tokenizer_case import TEXT_DIM, texts, tokenizer_case
from recbole_unirep.testing.tokenizers import promises_of
from recbole_unirep.tokenizer import TOKENIZERS, reads_vectors
from recbole_unirep.tokenizer.base import shipped_defaults

SIZES = {  # beside those of recbole_unirep.testing
    "OPQ": {"n_levels": 3},
    "HierarchicalKMeans": {"codebook_size": 3, "n_levels": 3},
}
VECTORS = [name for name in TOKENIZERS if reads_vectors(name)]
PROMISES = [(name, promise) for name, tokenizer in TOKENIZERS.items() for promise in promises_of(tokenizer)]


def case_of(name):
    return tokenizer_case(name, **SIZES.get(name, {}))


@pytest.mark.parametrize(("name", "promise"), PROMISES, ids=[f"{name}-{one.__name__}" for name, one in PROMISES])
def test_every_tokenizer_keeps_the_contract(name, promise):
    promise(case_of(name))


@pytest.mark.parametrize("name", VECTORS)
def test_levels_have_codebooks_of_one_size_and_only_a_tree_leaves_some_out(name):
    tokenizer = case_of(name).make().fit(texts())
    assert tokenizer.codebook_sizes == [tokenizer.codebook_size] * tokenizer.n_levels
    assert tokenizer.encode(texts()).min() >= -(name == "HierarchicalKMeans")


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_of_another_width_are_refused_in_one_sentence(name):
    tokenizer = case_of(name).make().fit(texts())
    with pytest.raises(ValueError, match=f"have 5 dimensions, the tokenizer was made for (text_dim )?{TEXT_DIM}"):
        tokenizer.encode(texts()[:, :5])


def test_defaults_without_a_shipped_yaml_are_an_error_that_names_it():
    with pytest.raises(FileNotFoundError, match="tokenizer/Unknown.yaml"):
        shipped_defaults("Unknown")

"""Our tokenizers keep the contract of recbole_unirep.testing; names and shapes of their states."""

import pytest

from recbole_unirep.testing.tokenizer_case import TEXT_DIM, texts, tokenizer_case
from recbole_unirep.testing.tokenizers import promises_of
from recbole_unirep.testing.trained_tokenizers import TRAINED_PROMISES, initialised
from recbole_unirep.tokenizer import TOKENIZERS, reads_vectors
from recbole_unirep.tokenizer.base import shipped_defaults

SIZES = {  # settings that differ from those of recbole_unirep.testing
    "OPQ": {"n_levels": 3},
    "HierarchicalKMeans": {"codebook_size": 3, "n_levels": 3},
}
VECTORS = [name for name in TOKENIZERS if reads_vectors(name)]
TRAINED = [name for name in VECTORS if TOKENIZERS[name].is_trained]
PROMISES = [(name, promise) for name, tokenizer in TOKENIZERS.items() for promise in promises_of(tokenizer)]
AUTOENCODER = {
    **{f"encoder.0.{name}": shape for name, shape in {"weight": (8, 12), "bias": (8,)}.items()},
    **{f"encoder.2.{name}": shape for name, shape in {"weight": (4, 8), "bias": (4,)}.items()},
    **{f"decoder.0.{name}": shape for name, shape in {"weight": (8, 4), "bias": (8,)}.items()},
    **{f"decoder.2.{name}": shape for name, shape in {"weight": (12, 8), "bias": (12,)}.items()},
    "text_mean": (12,),
    "text_deviation": (),
}
CODEBOOKS = {"n_dimensions": (), "codebooks": (3, 8, 12)}
STATES = {  # names and shapes in checkpoints and bundles
    "RQVAE": {**AUTOENCODER, "quantizer.codebooks": (3, 8, 4)},
    "VQ": {**CODEBOOKS, "codebooks": (1, 8, 12)},
    "RVQ": CODEBOOKS,
    "RQKMeans": CODEBOOKS,
    "BalancedRQKMeans": CODEBOOKS,
    "MBGen": {
        **{f"first.{name}": shape for name, shape in AUTOENCODER.items()},
        "first.quantizer.codebooks": (1, 8, 4),
        "first.quantizer.code_counts": (1, 8),
        "first.quantizer.code_sums": (1, 8, 4),
        "residual_codebook": (8, 4),
        "is_fitted": (),
    },
    "PQ": {"n_dimensions": (), "codebooks": (4, 8, 3), "mean": (12,)},
    "OPQ": {"n_dimensions": (), "codebooks": (3, 8, 4), "mean": (12,), "rotation": (12, 12)},
    "HierarchicalKMeans": {"n_dimensions": (), "centres": (34, 12), "first_child": (34,), "n_children": (34,)},
    "Fused": CODEBOOKS,
    "LETTER": {
        **AUTOENCODER,
        "encoder.0.weight": (8, 8),
        "decoder.2.weight": (8, 8),
        "decoder.2.bias": (8,),
        "text_mean": (8,),
        "quantizer.codebooks": (4, 8, 4),
        "is_fitted": (),
    },
}


def case_of(name):
    return tokenizer_case(name, **SIZES.get(name, {}))


@pytest.mark.parametrize(("name", "promise"), PROMISES, ids=[f"{name}-{one.__name__}" for name, one in PROMISES])
def test_every_tokenizer_keeps_the_contract(name, promise):
    promise(case_of(name))


@pytest.mark.parametrize("promise", TRAINED_PROMISES)
@pytest.mark.parametrize("update", ["gradient", "ema"])
@pytest.mark.parametrize("name", TRAINED)
def test_every_codebook_update_keeps_the_contract(name, update, promise):
    promise(tokenizer_case(name, codebook_update=update))


@pytest.mark.parametrize("name", TRAINED)
def test_ema_updates_buffers_and_gradients_update_parameters(name):
    for update, has_ema in (("gradient", False), ("ema", True)):
        tokenizer = initialised(tokenizer_case(name, codebook_update=update))
        assert bool(tokenizer.quantizer.ema_state) == has_ema


@pytest.mark.parametrize("name", TRAINED)
def test_without_quantizer_the_state_holds_none(name):
    state = case_of(name).make().without_quantizer().state_dict()
    assert not [key for key in state if "quantizer" in key]


@pytest.mark.parametrize("name", STATES)
def test_names_and_shapes_of_the_state_do_not_change(name):
    state = case_of(name).make().fit(texts()).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == STATES[name]


@pytest.mark.parametrize("name", VECTORS)
def test_levels_have_equal_codebook_sizes_and_only_trees_skip_levels(name):
    tokenizer = case_of(name).make().fit(texts())
    assert tokenizer.codebook_sizes == [tokenizer.codebook_size] * tokenizer.n_levels
    assert tokenizer.encode(texts()).min() >= -(name == "HierarchicalKMeans")


@pytest.mark.parametrize("name", VECTORS)
def test_the_error_for_another_width_names_both_widths(name):
    tokenizer = case_of(name).make().fit(texts())
    with pytest.raises(ValueError, match=f"have 5 dimensions, the tokenizer was made for (text_dim )?{TEXT_DIM}"):
        tokenizer.encode(texts()[:, :5])


def test_defaults_without_a_shipped_yaml_are_an_error_that_names_it():
    with pytest.raises(FileNotFoundError, match="tokenizer/Unknown.yaml"):
        shipped_defaults("Unknown")

"""Promises of every tokenizer of vectors, and of those that a recommender trains along."""

import inspect

import pytest
import torch

from recbole_unirep.tokenizer import TOKENIZERS, reads_vectors
from recbole_unirep.tokenizer.base import TrainedTokenizer, shipped_defaults

TEXT_DIM = 12
NETWORK = {"codebook_size": 8, "code_dim": 4, "encoder_sizes": [8], "fit_epochs": 2, "fit_batch_size": 20}
TINY = {
    "RQVAE": NETWORK,
    "VQ": {"codebook_size": 8},
    "RVQ": {"codebook_size": 8, "fit_epochs": 2, "fit_batch_size": 20},
    "RQKMeans": {"codebook_size": 8},
    "BalancedRQKMeans": {"codebook_size": 8},
    "MBGen": NETWORK,
    "PQ": {"codebook_size": 8},
    "OPQ": {"codebook_size": 8, "n_levels": 3, "opq_iterations": 3},
    "HierarchicalKMeans": {"codebook_size": 3, "n_levels": 3},
    "Fused": {"codebook_size": 8, "collaborative_dim": 4},
    "LETTER": {**NETWORK, "collaborative_dim": 4, "code_clusters": 2},
}
VECTORS = [name for name in TOKENIZERS if reads_vectors(name)]
TRAINED = [name for name in VECTORS if TOKENIZERS[name].is_trained]
AUTOENCODER = {
    **{f"encoder.0.{name}": shape for name, shape in {"weight": (8, 12), "bias": (8,)}.items()},
    **{f"encoder.2.{name}": shape for name, shape in {"weight": (4, 8), "bias": (4,)}.items()},
    **{f"decoder.0.{name}": shape for name, shape in {"weight": (8, 4), "bias": (8,)}.items()},
    **{f"decoder.2.{name}": shape for name, shape in {"weight": (12, 8), "bias": (12,)}.items()},
    "text_mean": (12,),
    "text_deviation": (),
}
CODEBOOKS = {"n_dimensions": (), "codebooks": (3, 8, 12)}
STATES = {  # names and shapes that checkpoints and bundles hold
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


@pytest.fixture
def text():
    return torch.randn(50, TEXT_DIM, generator=torch.Generator().manual_seed(3))


def make_tokenizer(name, **overrides):
    return TOKENIZERS[name].from_defaults(text_dim=TEXT_DIM, **{**TINY[name], **overrides})


@pytest.mark.parametrize("name", TOKENIZERS)
def test_constructor_takes_keywords_without_defaults(name):
    parameters = inspect.signature(TOKENIZERS[name]).parameters.values()
    assert {p.kind for p in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert {p.default for p in parameters} == {inspect.Parameter.empty}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_is_built_from_the_keys_of_its_yaml_and_needs_each(name):
    keys = {**shipped_defaults(name), "text_dim": 100}
    assert type(TOKENIZERS[name].from_keys(keys)).__name__ == name
    for key in shipped_defaults(name):
        with pytest.raises(KeyError, match=key):
            TOKENIZERS[name].from_keys({other: value for other, value in keys.items() if other != key})
    with pytest.raises(TypeError, match=f"{name} has no key n_level: its keys are {next(iter(keys))}"):
        TOKENIZERS[name].from_defaults(n_level=3)


@pytest.mark.parametrize("name", VECTORS)
def test_names_and_shapes_of_the_state_stay(name, text):
    state = make_tokenizer(name).fit(text).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == STATES[name]


@pytest.mark.parametrize("name", VECTORS)
def test_codes_stay_inside_their_codebook(name, text):
    tokenizer = make_tokenizer(name).fit(text)
    codes = tokenizer.encode(text)
    assert codes.dtype == torch.int64
    assert codes.shape == (len(text), tokenizer.n_levels)
    assert codes.min() >= -(name == "HierarchicalKMeans") and codes.max() < tokenizer.codebook_size
    assert tokenizer.codebook_sizes == [tokenizer.codebook_size] * tokenizer.n_levels


@pytest.mark.parametrize("name", VECTORS)
def test_the_same_seed_gives_the_same_codes_whatever_the_global_state(name, text):
    torch.manual_seed(1)
    tokenizer = make_tokenizer(name)
    state = torch.get_rng_state()
    first = tokenizer.fit(text).encode(text)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(make_tokenizer(name).fit(text).encode(text), first)


@pytest.mark.parametrize("name", VECTORS)
def test_a_second_fit_forgets_the_first(name, text):
    twice = make_tokenizer(name).fit(5 * text + 1).fit(text)
    once = make_tokenizer(name).fit(text)
    for key, value in once.state_dict().items():
        assert torch.equal(twice.state_dict()[key], value), key


@pytest.mark.parametrize("name", VECTORS)
def test_encode_and_decode_change_nothing(name, text):
    tokenizer = make_tokenizer(name).fit(text)
    before = {key: value.clone() for key, value in tokenizer.state_dict().items()}
    state = torch.get_rng_state()
    codes = tokenizer.encode(text)
    tokenizer.decode(codes)
    assert torch.equal(tokenizer.encode(text), codes)
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in tokenizer.state_dict().items():
        assert torch.equal(before[key], value), key
    assert all(parameter.grad is None for parameter in tokenizer.parameters())


@pytest.mark.parametrize("name", VECTORS)
def test_state_dict_is_all_of_it(name, text):
    tokenizer, copy = make_tokenizer(name).fit(text), make_tokenizer(name)
    copy.load_state_dict(tokenizer.state_dict())
    codes = tokenizer.encode(text)
    assert torch.equal(copy.encode(text), codes)
    assert torch.equal(copy.decode(codes), tokenizer.decode(codes))


@pytest.mark.parametrize("name", VECTORS)
def test_decode_leads_back_to_the_text_space(name, text):
    tokenizer = make_tokenizer(name).fit(text)
    decoded = tokenizer.decode(tokenizer.encode(text))
    assert decoded.shape == text.shape
    assert not decoded.requires_grad


@pytest.mark.parametrize("update", ["gradient", "ema"])
@pytest.mark.parametrize("name", TRAINED)
def test_a_tokenizer_that_is_trained_along_offers_what_a_recommender_asks(name, text, update):
    tokenizer = make_tokenizer(name, codebook_update=update)
    tokenizer.initialise(text, seed=0)
    assert isinstance(tokenizer, TrainedTokenizer)
    assert not tokenizer.scale_text(tokenizer.text_mean[None]).any()
    latent, quantizer = tokenizer.encoder(tokenizer.scale_text(text)), tokenizer.quantizer
    vectors, codes = quantizer.quantize(latent)
    assert vectors.shape == (len(text), tokenizer.code_dim)
    assert torch.equal(codes, tokenizer.encode(text))
    assert quantizer.losses(latent, codes).shape == tokenizer.reconstruction_loss(text, vectors).shape == (len(text),)
    (gradient,) = torch.autograd.grad(vectors.sum(), tokenizer.encoder[0].weight)
    assert gradient.any()
    assert quantizer.codebooks.shape == (tokenizer.n_levels, tokenizer.codebook_size, tokenizer.code_dim)
    assert len(quantizer.level_metrics) == tokenizer.n_levels
    assert bool(quantizer.ema_state) == (not quantizer.codebooks.requires_grad) == (update == "ema")


@pytest.mark.parametrize("name", TRAINED)
def test_without_quantizer_an_autoencoder_is_left(name, text):
    tokenizer = make_tokenizer(name)
    assert tokenizer.without_quantizer() is tokenizer and tokenizer.quantizer is None
    tokenizer.initialise(text, seed=0)
    assert not [key for key in tokenizer.state_dict() if "quantizer" in key]
    latent = tokenizer.encoder(tokenizer.scale_text(text))
    assert tokenizer.reconstruction_loss(text, latent).shape == (len(text),)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_of_another_width_are_refused(name, text):
    tokenizer = make_tokenizer(name).fit(text)
    with pytest.raises(ValueError, match="have 5 dimensions, the tokenizer was made for (text_dim )?12"):
        tokenizer.encode(text[:, :5])


@pytest.mark.parametrize("name", VECTORS)
def test_approximations_improve_and_end_in_the_decoded_vector(name, text):
    tokenizer = make_tokenizer(name).fit(text)
    codes = tokenizer.encode(text)
    distortion = tokenizer.distortion(text, codes)
    assert len(distortion) == tokenizer.n_levels
    if tokenizer.is_trained:  # two epochs are too few
        return
    assert distortion[-1] == min(distortion) < 1
    vectors, known = tokenizer.approximations(text, codes)
    *_, known = known
    if vectors.shape == text.shape and torch.allclose(vectors, text):
        assert torch.allclose(known, tokenizer.decode(codes))
        variance = (text - text.mean(dim=0)).square().sum(dim=-1).mean()
        error = (tokenizer.decode(codes) - text).square().sum(dim=-1).mean()
        assert distortion[-1] == pytest.approx((error / variance).item(), rel=1e-4)


@pytest.mark.parametrize("name", VECTORS)
def test_distortion_is_the_same_in_blocks(name, text, monkeypatch):
    tokenizer = make_tokenizer(name).fit(text)
    codes = tokenizer.encode(text)
    whole = tokenizer.distortion(text, codes)
    monkeypatch.setattr("recbole_unirep.tokenizer.base.ROWS_AT_ONCE", 7)
    assert tokenizer.distortion(text, codes) == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("name", [name for name in VECTORS if hasattr(TOKENIZERS[name], "last_level")])
def test_the_last_code_is_the_nearest_to_the_last_residual(name, text):
    tokenizer = make_tokenizer(name).fit(text)
    codes = tokenizer.encode(text)
    left, codebook = tokenizer.last_level(text, codes)
    assert torch.equal(torch.cdist(left, codebook).argmin(dim=-1), codes[:, -1])


@pytest.mark.parametrize("name", VECTORS)
def test_no_vectors_are_refused(name, text):
    with pytest.raises(ValueError, match="at least"):
        make_tokenizer(name).fit(text[:0])


@pytest.mark.parametrize("name", [name for name in VECTORS if not TOKENIZERS[name].is_trained])
def test_a_tokenizer_that_is_not_fitted_says_so(name, text):
    with pytest.raises(ValueError, match=f"{name} has seen no vectors yet: call fit first"):
        make_tokenizer(name).encode(text)


@pytest.mark.parametrize("name", VECTORS)
def test_an_item_has_the_same_code_alone_and_among_others(name, text):
    tokenizer = make_tokenizer(name).fit(text)
    alone = torch.cat([tokenizer.encode(row[None]) for row in text])
    assert torch.equal(alone, tokenizer.encode(text))


def test_defaults_without_a_shipped_yaml_are_an_error_that_names_it():
    with pytest.raises(FileNotFoundError, match="tokenizer/Unknown.yaml"):
        shipped_defaults("Unknown")

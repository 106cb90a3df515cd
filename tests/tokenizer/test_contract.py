"""What every tokenizer of vectors promises."""

import inspect

import pytest
import torch

from recbole_unirep.tokenizer import TOKENIZERS
from recbole_unirep.tokenizer.base import shipped_defaults

TEXT_DIM = 12
TINY = {
    "RQVAE": {"codebook_size": 8, "code_dim": 4, "encoder_sizes": [8], "fit_epochs": 2, "fit_batch_size": 20},
}


@pytest.fixture
def text():
    return torch.randn(50, TEXT_DIM, generator=torch.Generator().manual_seed(3))


def make_tokenizer(name, **overrides):
    return TOKENIZERS[name].from_defaults(text_dim=TEXT_DIM, **{**TINY[name], **overrides})


@pytest.mark.parametrize("name", TOKENIZERS)
def test_constructor_takes_the_yaml_keys_by_name_without_defaults(name):
    parameters = dict(inspect.signature(TOKENIZERS[name]).parameters)
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert {p.default for p in parameters.values()} == {inspect.Parameter.empty}
    assert set(parameters) == {"text_dim", *shipped_defaults(name)}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_codes_stay_inside_their_codebook(name, text):
    tokenizer = make_tokenizer(name).fit(text)
    codes = tokenizer.encode(text)
    assert codes.dtype == torch.int64
    assert codes.shape == (len(text), tokenizer.n_levels)
    assert codes.min() >= 0 and codes.max() < tokenizer.codebook_size


@pytest.mark.parametrize("name", TOKENIZERS)
def test_same_seed_same_codes_whatever_the_global_state(name, text):
    torch.manual_seed(1)
    tokenizer = make_tokenizer(name)
    state = torch.get_rng_state()
    first = tokenizer.fit(text).encode(text)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(make_tokenizer(name).fit(text).encode(text), first)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_second_fit_forgets_the_first(name, text):
    twice = make_tokenizer(name).fit(5 * text + 1).fit(text)
    once = make_tokenizer(name).fit(text)
    for key, value in once.state_dict().items():
        assert torch.equal(twice.state_dict()[key], value), key


@pytest.mark.parametrize("name", TOKENIZERS)
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


@pytest.mark.parametrize("name", TOKENIZERS)
def test_state_dict_is_all_of_it(name, text):
    tokenizer, copy = make_tokenizer(name).fit(text), make_tokenizer(name)
    copy.load_state_dict(tokenizer.state_dict())
    codes = tokenizer.encode(text)
    assert torch.equal(copy.encode(text), codes)
    assert torch.equal(copy.decode(codes), tokenizer.decode(codes))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_decode_leads_back_to_the_text_space(name, text):
    tokenizer = make_tokenizer(name).fit(text)
    decoded = tokenizer.decode(tokenizer.encode(text))
    assert decoded.shape == text.shape
    assert not decoded.requires_grad


@pytest.mark.parametrize("name", TOKENIZERS)
def test_forward_gives_vectors_codes_and_a_loss_per_item(name, text):
    tokenizer = make_tokenizer(name).fit(text)
    quantized = tokenizer(text)
    assert quantized.vectors.shape == (len(text), tokenizer.code_dim)
    assert torch.equal(quantized.codes, tokenizer.encode(text))
    assert quantized.losses.quantization.shape == quantized.losses.reconstruction.shape == (len(text),)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_vectors_of_another_width_are_refused(name, text):
    tokenizer = make_tokenizer(name)
    with pytest.raises(ValueError, match="have 5 dimensions, the tokenizer was made for text_dim 12"):
        tokenizer.encode(text[:, :5])
    with pytest.raises(ValueError, match="have 5 dimensions, the tokenizer was made for text_dim 12"):
        tokenizer.fit(text[:, :5])


def test_defaults_without_a_shipped_yaml_are_an_error_that_names_it():
    with pytest.raises(FileNotFoundError, match="tokenizer/Unknown.yaml"):
        shipped_defaults("Unknown")

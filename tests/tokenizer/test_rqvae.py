"""RQVAE: its layers, text scaling and training."""

import pytest
import torch
from torch import nn

from recbole_unirep.tokenizer.rqvae import RQVAE

TINY = {"text_dim": 6, "codebook_size": 8, "code_dim": 4, "encoder_sizes": [8]}


@pytest.fixture
def text():
    return 3 + 2 * torch.randn(40, 6, generator=torch.Generator().manual_seed(3))


def test_layers_are_those_of_the_paper():
    # A.2: layer sizes 512, 256 and 128 between the text and 64 dimensions; the decoder goes back.
    tokenizer = RQVAE.from_defaults(text_dim=768)
    sizes = [768, 512, 256, 128, 64]
    for network, expected in ((tokenizer.encoder, sizes), (tokenizer.decoder, sizes[::-1])):
        linear = [layer for layer in network if isinstance(layer, nn.Linear)]
        assert [layer.in_features for layer in linear] + [linear[-1].out_features] == expected
        assert [type(layer) for layer in network] == [nn.Linear, nn.ReLU] * 3 + [nn.Linear]
    assert tokenizer.quantizer.codebooks.numel() == 3 * 256 * 64


def test_standard_scaling_has_mean_0_and_average_variance_1_and_keeps_proportions(text):
    tokenizer = RQVAE.from_defaults(**TINY, text_scaling="standard")
    text = text * torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    tokenizer.set_text_statistics(text)
    scaled = tokenizer.scale_text(text)
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.var(dim=0, unbiased=False).mean(), torch.tensor(1.0))
    deviations, before = scaled.std(dim=0), text.std(dim=0)
    torch.testing.assert_close(deviations / deviations[0], before / before[0])


def test_standard_scaling_by_hand():
    tokenizer = RQVAE.from_defaults(**{**TINY, "text_dim": 2}, text_scaling="standard")
    # Means 2 and 0; variances 1 and 7, 4 on average, so one deviation of 2.
    x = torch.tensor([[1.0, 7**0.5], [3.0, -(7**0.5)]])
    tokenizer.set_text_statistics(x)
    torch.testing.assert_close(tokenizer.scale_text(x), torch.tensor([[-0.5, 7**0.5 / 2], [0.5, -(7**0.5) / 2]]))


def test_unit_scaling_gives_length_1_and_no_scaling_nothing(text):
    unit, none = RQVAE.from_defaults(**TINY, text_scaling="unit"), RQVAE.from_defaults(**TINY, text_scaling="none")
    for tokenizer in (unit, none):
        tokenizer.set_text_statistics(text)
    torch.testing.assert_close(unit.scale_text(text).norm(dim=-1), torch.ones(40))
    assert unit.scale_text(torch.zeros(1, 6)).tolist() == [[0.0] * 6]
    assert torch.equal(none.scale_text(text), text)


def test_one_item_alone_can_be_scaled_and_fitted(text):
    tokenizer = RQVAE.from_defaults(**TINY, text_scaling="standard", fit_epochs=1).fit(text[:1])
    assert tokenizer.scale_text(text[:1]).tolist() == [[0.0] * 6]
    assert all(value.isfinite().all() for value in tokenizer.state_dict().values())


def test_half_precision_text_is_accepted(text):
    tokenizer = RQVAE.from_defaults(**TINY, fit_epochs=1)
    tokenizer.initialise(text.half(), seed=0)
    assert torch.equal(tokenizer.encode(text.half()), tokenizer.encode(text.half().float()))


@pytest.mark.parametrize("text_scaling", ["none", "standard"])
def test_decode_undoes_the_scaling(text, text_scaling):
    tokenizer = RQVAE.from_defaults(**TINY, text_scaling=text_scaling, loss_reduction="sum")
    tokenizer.initialise(text, seed=0)
    vectors, codes, _ = tokenizer.quantizer(tokenizer.latent(text))
    difference = tokenizer.scale_text(tokenizer.decode(codes)) - tokenizer.scale_text(text)
    torch.testing.assert_close(difference.square().sum(dim=-1), tokenizer.reconstruction_loss(text, vectors))


def quantization_loss(tokenizer, text):
    return tokenizer.quantizer(tokenizer.latent(text)).losses.mean()


def reconstruction_loss(tokenizer, text):
    return tokenizer.reconstruction_loss(text, tokenizer.quantizer(tokenizer.latent(text)).vectors).mean()


def test_initialise_starts_with_a_smaller_quantization_loss_than_noise(text):
    torch.manual_seed(0)
    tokenizer = RQVAE.from_defaults(**TINY)
    noise = quantization_loss(tokenizer, text)
    tokenizer.initialise(text, seed=0)
    assert quantization_loss(tokenizer, text) < noise / 2


def test_training_lowers_the_reconstruction_loss(text):
    untrained = RQVAE.from_defaults(**TINY, fit_epochs=0).fit(text)
    trained = RQVAE.from_defaults(**TINY, fit_epochs=40, fit_learning_rate=0.01).fit(text)
    assert reconstruction_loss(trained, text) < reconstruction_loss(untrained, text) * 3 / 4


def test_training_alone_updates_ema_codebooks(text):
    still = RQVAE.from_defaults(**TINY, codebook_update="ema", fit_epochs=0).fit(text)
    moved = RQVAE.from_defaults(**TINY, codebook_update="ema", fit_epochs=5).fit(text)
    assert (moved.quantizer.codebooks != still.quantizer.codebooks).any()
    again = RQVAE.from_defaults(**TINY, codebook_update="ema", fit_epochs=5).fit(5 * text + 1).fit(text)
    for name, part in moved.state_dict().items():
        assert torch.equal(again.state_dict()[name], part), name


def test_training_alone_moves_dead_codes(text):
    keys = {**TINY, "codebook_size": 32, "codebook_init": "normal", "fit_epochs": 40, "fit_learning_rate": 0.01}
    left = RQVAE.from_defaults(**keys, fit_dead_code_steps=0).fit(text)
    moved = RQVAE.from_defaults(**keys, fit_dead_code_steps=5).fit(text)
    used = [sum(len(level.unique()) for level in tokenizer.encode(text).T) for tokenizer in (left, moved)]
    assert used[1] > used[0] + 10
    late = RQVAE.from_defaults(**keys, fit_dead_code_steps=41).fit(text)  # 40 epochs of one step: never reached
    assert torch.equal(late.quantizer.codebooks, left.quantizer.codebooks)


def test_another_seed_trains_another_tokenizer(text):
    first = RQVAE.from_defaults(**TINY, fit_epochs=1, fit_seed=1).fit(text)
    second = RQVAE.from_defaults(**TINY, fit_epochs=1, fit_seed=2).fit(text)
    assert not torch.equal(first.encoder[0].weight, second.encoder[0].weight)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"text_scaling": "max"}, "text_scaling is 'max': choose one of none, unit, standard"),
        ({"codebook_init": "zeros"}, "codebook_init is 'zeros': choose one of kmeans, sample, normal"),
    ],
)
def test_a_bad_option_is_named_with_what_is_allowed(overrides, message):
    with pytest.raises(ValueError) as error:
        RQVAE.from_defaults(**TINY, **overrides)
    assert str(error.value) == message


def test_items_without_any_text_are_an_error(text):
    with pytest.raises(ValueError, match="at least one item, got none"):
        RQVAE.from_defaults(**TINY).initialise(text[:0], seed=0)

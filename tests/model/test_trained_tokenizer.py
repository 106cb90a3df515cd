"""UniRep with a tokenizer that implements only the contract of `TrainedTokenizer`."""

import pytest
import torch
from torch import nn

from recbole_unirep.tokenizer import TOKENIZERS
from recbole_unirep.tokenizer.base import TrainedTokenizer


class RoundedAxes(nn.Module):
    """A quantizer with one level: each vector gets the nearest axis or its opposite."""

    level_metrics = ["euclidean"]

    def __init__(self, code_dim, is_ema):
        super().__init__()
        axes = torch.cat([torch.eye(code_dim), -torch.eye(code_dim)])[None]
        if is_ema:
            self.register_buffer("codebooks", axes)
        else:
            self.codebooks = nn.Parameter(axes)
        self.is_ema, self.calls = is_ema, []

    @property
    def ema_state(self):
        return (self.codebooks,) if self.is_ema else ()

    def quantize(self, z):
        codes = torch.cdist(z, self.codebooks[0]).argmin(dim=-1)
        return z + (self.codebooks[0][codes] - z).detach(), codes[:, None]

    def losses(self, z, codes):
        return (z.detach() - self.codebooks[0][codes[:, 0]]).square().sum(dim=-1)

    def ema_update(self, z, codes):
        self.calls.append("ema_update")

    def move_dead_codes(self, z, used, generator):
        self.calls.append(("move_dead_codes", used.shape))


class LinearTokenizer(TrainedTokenizer):
    """A linear map, `RoundedAxes`, and the transposed map as decoder."""

    def __init__(self, *, text_dim, code_dim, codebook_update):
        super().__init__()
        self.encoder = nn.Linear(text_dim, code_dim, bias=False)
        self.quantizer = RoundedAxes(code_dim, codebook_update == "ema")
        self.register_buffer("text_mean", torch.zeros(text_dim))
        self.n_levels, self.codebook_size, self.code_dim = 1, 2 * code_dim, code_dim

    @property
    def text_statistics(self):
        return (self.text_mean,)

    def initialise(self, x, seed):
        self.text_mean.copy_(x.mean(dim=0))

    def scale_text(self, x):
        return x - self.text_mean

    def reconstruction_loss(self, x, vectors):
        return (vectors @ self.encoder.weight - self.scale_text(x)).square().sum(dim=-1)

    def fit(self, x):
        self.initialise(x, seed=0)
        return self

    def encode(self, x):
        return self.quantizer.quantize(self.encoder(self.scale_text(x)))[1]

    def decode(self, codes):
        return self.quantizer.codebooks[0][codes[:, 0]] @ self.encoder.weight + self.text_mean

    def approximations(self, x, codes):
        return self.encoder(self.scale_text(x)), [self.quantizer.codebooks[0][codes[:, 0]]]


@pytest.fixture
def linear(prepare, plain, monkeypatch):
    """Builds data and a UniRep with a LinearTokenizer and the given keys."""
    monkeypatch.setitem(TOKENIZERS, "RQVAE", LinearTokenizer)

    def prepare_with(**keys):
        _, data, model = prepare(**{**plain, "dead_code_steps": 1, **keys})
        assert type(model.item_embedding.tokenizer) is LinearTokenizer
        return data, model

    return prepare_with


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_a_step_uses_only_the_contract(linear, update):
    data, model = linear(codebook_update=update)
    losses = model.row_losses(next(iter(data.train_data)))
    assert len(losses) == 3  # recommendation, quantization, reconstruction
    sum(losses).backward()
    tokenizer = model.item_embedding.tokenizer
    assert tokenizer.encoder.weight.grad.any()
    moved = [("move_dead_codes", (1, tokenizer.codebook_size))]
    assert tokenizer.quantizer.calls == (["ema_update", *moved] if update == "ema" else moved)
    assert model.n_ema_parameters == (tokenizer.quantizer.codebooks.numel() if update == "ema" else 0)


def test_items_have_its_codes_and_vectors(linear):
    _, model = linear()
    table = model.eval().item_embedding
    codes = table.codes()
    assert torch.equal(codes, table.tokenizer.encode(table.item_text_embedding[1:]))
    assert model.codebook_report()["unique_item_coverage"] == pytest.approx(len(codes.unique()) / len(codes))
    semantic = table.weight[1 : model.n_items, : table.tokenizer.code_dim]
    torch.testing.assert_close(semantic, table.tokenizer.quantizer.codebooks[0][codes[:, 0]])


def test_without_codes_items_have_its_latent_vectors(linear):
    data, model = linear(representation="text")
    table = model.item_embedding
    assert table.tokenizer.quantizer is None and not table.has_codes
    assert len(model.row_losses(next(iter(data.train_data)))) == 2  # recommendation, reconstruction
    latent = table.tokenizer.encoder(table.tokenizer.scale_text(table.item_text_embedding[1:]))
    torch.testing.assert_close(model.eval().item_embedding.weight[1 : model.n_items], latent)

"""BSARec: the filter against the Fourier transform, a layer by its equations, left padding, losses, errors."""

import pytest
import torch
from recbole.utils import init_seed
from torch.nn import functional

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.bsarec import low_pass, padded_left
from recbole_unirep.model.build import build_model, trains_rows

SMALL = {"hidden_size": 8, "inner_size": 12, "n_heads": 2, "MAX_ITEM_LIST_LENGTH": 7, "train_batch_size": 16}


@pytest.fixture
def prepare(tiny):
    """Builds data and model with the given keys."""

    def prepare_with(**keys):
        config = Config("BSARec", "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **keys})
        init_seed(config["seed"], config["reproducibility"])
        data = load_data(config, trains_rows(config))
        return data, build_model(config, data.train)

    return prepare_with


@pytest.mark.parametrize(("length", "kept"), [(7, 0), (7, 1), (8, 3), (50, 5), (50, 26), (6, 9)])
def test_the_low_pass_matrix_is_a_truncated_fourier_transform(length, kept):
    x = torch.randn(3, length, 4, generator=torch.Generator().manual_seed(0))
    spectrum = torch.fft.rfft(x, dim=1, norm="ortho")
    spectrum[:, kept:] = 0
    expected = torch.fft.irfft(spectrum, n=length, dim=1, norm="ortho")
    torch.testing.assert_close(low_pass(length, kept) @ x, expected, atol=1e-5, rtol=1e-5)


def test_items_move_to_the_end_of_their_row():
    rows = torch.tensor([[3, 4, 0], [5, 0, 0], [6, 7, 8]])
    moved = padded_left(rows, torch.tensor([2, 1, 3]), 4)
    assert moved.tolist() == [[0, 0, 3, 4], [0, 0, 0, 5], [0, 6, 7, 8]]


@torch.no_grad()
def test_a_state_follows_the_equations(prepare):
    """Every position of every layer, the filter by a Fourier transform, attention head by head."""
    data, model = prepare(low_frequencies=2, filter_share=0.3)
    model.eval()
    batch = data.test.interactions
    items, length = batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN]
    found = model(items, length)
    trimmed = model(items[length <= 3, :3], length[length <= 3])
    torch.testing.assert_close(trimmed, found[length <= 3])
    for user in range(0, len(items), 7):
        row = [0] * (7 - int(length[user])) + items[user, : length[user]].tolist()
        x = model.norm(model.item_embedding.weight[row] + model.position_embedding.weight)
        for block in model.blocks:
            spectrum = torch.fft.rfft(x, dim=0)
            spectrum[2:] = 0
            low = torch.fft.irfft(spectrum, n=7, dim=0)
            filtered = block.filter_norm(low + block.high_scale**2 * (x - low) + x)
            query, key, value = block.query(x), block.key(x), block.value(x)
            heads = []
            for head in (slice(0, 4), slice(4, 8)):
                scores = query[:, head] @ key[:, head].T / 2
                for here in range(7):
                    hidden = [there for there in range(7) if there > here or row[there] == 0]
                    scores[here, hidden] = -10_000
                heads.append(functional.softmax(scores, dim=-1) @ value[:, head])
            attended = block.attention_norm(block.output(torch.cat(heads, dim=-1)) + x)
            x = block.feed_forward(0.3 * filtered + 0.7 * attended)
        torch.testing.assert_close(found[user], x[-1], atol=1e-5, rtol=1e-5)


def test_rows_and_recboles_batches_have_the_same_loss(prepare):
    data, model = prepare()
    model.eval()
    batch = next(iter(data.train_data))
    (loss,) = model.row_losses(batch)
    states = model(batch.inputs, (batch.inputs > 0).sum(dim=1))
    scores = states @ model.item_embedding.weight[1:].T
    torch.testing.assert_close(loss, functional.cross_entropy(scores, batch.targets - 1))
    interaction = {
        model.ITEM_SEQ: batch.inputs,
        model.ITEM_SEQ_LEN: (batch.inputs > 0).sum(dim=1),
        model.POS_ITEM_ID: batch.targets,
    }
    torch.testing.assert_close(model.calculate_loss(interaction), loss)
    assert batch.is_target.sum(dim=1).tolist() == [1] * len(batch.users)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"n_heads": 3}, "n_heads=3 does not divide hidden_size=8: change one"),
        ({"low_frequencies": -1}, "low_frequencies=-1 is too small: give at least 0"),
        ({"filter_share": 1.5}, "filter_share=1.5 is too large: give at most 1"),
        ({"loss_type": "SSM"}, "loss_type=SSM is not known: choose one of CE, BCE, BPR"),
    ],
)
def test_bad_options_are_named(prepare, keys, message):
    with pytest.raises(ValueError, match=message):
        prepare(**keys)

"""HSTU: equations 1 to 3 by hand, causality, RecBole's losses, errors."""

import math

import pytest
import torch
from recbole.utils import init_seed

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.model.hstu import Block
from recbole_unirep.training.losses import row_loss


@pytest.fixture
def prepare(tiny):
    """Builds data and model with the given keys."""

    def prepare_with(**keys):
        config = Config("HSTU", "tiny", config_dict={"data_path": str(tiny.parent), "hidden_size": 8, **keys})
        init_seed(config["seed"], config["reproducibility"])
        data = load_data(config, trains_rows(config))
        return data, build_model(config, data.train)

    return prepare_with


def silu(x):
    return x / (1 + math.exp(-x))


def normed(x):
    mean = sum(x) / len(x)
    spread = math.sqrt(sum((part - mean) ** 2 for part in x) / len(x) + 1e-5)
    return [(part - mean) / spread for part in x]


def mapped(linear, x):
    return [sum(w * part for w, part in zip(row, x)) + bias for row, bias in zip(linear.weight.tolist(), linear.bias)]


@torch.no_grad()
def test_a_block_by_hand():
    """One head of two dimensions, two positions: sums over the positions seen, divided by the maximum length."""
    torch.manual_seed(0)
    block = Block(size=2, n_heads=1, max_length=5, dropout=0.0, attention_dropout=0.0)
    x = torch.tensor([[1.0, -0.5], [0.3, 0.9]])
    parts = [[silu(float(part)) for part in mapped(block.projection, normed(row))] for row in x.tolist()]
    gate, value, query, key = ([row[first : first + 2] for row in parts] for first in (0, 2, 4, 6))
    expected = []
    for here in range(2):
        found = [0.0, 0.0]
        for there in range(here + 1):
            product = sum(a * b for a, b in zip(query[here], key[there]))
            weight = silu(product + float(block.distance_bias.weight[here - there, 0])) / 5
            found = [total + weight * part for total, part in zip(found, value[there])]
        gated = [a * b for a, b in zip(normed(found), gate[here])]
        expected.append([float(a + b) for a, b in zip(x[here].tolist(), mapped(block.transformation, gated))])
    place = torch.arange(2)
    states = block(x[None], (place <= place[:, None])[None, None], (place[:, None] - place).clamp(min=0))
    torch.testing.assert_close(states[0], torch.tensor(expected))


@torch.no_grad()
def test_heads_see_their_own_dimensions():
    """The second head's output does not depend on the queries of the first head."""
    block = Block(size=4, n_heads=2, max_length=3, dropout=0.0, attention_dropout=0.0)
    block.found_norm = torch.nn.Identity()
    with torch.no_grad():
        block.transformation.weight.copy_(torch.eye(4))
    x, place = torch.randn(1, 3, 4), torch.arange(3)
    seen = ((place <= place[:, None])[None, None], (place[:, None] - place).clamp(min=0))
    before = block(x, *seen)
    block.projection.bias[8:10] += 1.0  # queries of the first head
    after = block(x, *seen)
    assert not torch.allclose(before[..., :2], after[..., :2])
    torch.testing.assert_close(before[..., 2:], after[..., 2:])


@torch.no_grad()
def test_states_do_not_depend_on_later_items(prepare):
    model = prepare()[1].eval()
    one, other = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 5, 4]])
    states = model.states(torch.stack([one, other]))
    torch.testing.assert_close(states[0, :3], states[1, :3])
    assert not torch.allclose(states[0, 3:], states[1, 3:])


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_recboles_own_rows_train_every_parameter(prepare, loss_type):
    data, model = prepare(loss_type=loss_type, training_rows="prefix")
    model.calculate_loss(next(iter(data.train_data))).backward()
    assert all(part.grad is not None and part.grad.any() for part in model.parameters())


@torch.no_grad()
def test_predict_agrees_with_full_sort_predict(prepare):
    data, model = prepare()
    interaction, items = data.test.interactions, data.test.targets.items
    scores = model.eval().full_sort_predict(interaction)
    torch.testing.assert_close(model.predict(interaction), scores.gather(1, items[:, None])[:, 0])


@pytest.mark.parametrize("loss_type", ["CE", "BPR", "BCE", "SSM"])
def test_user_sequences_train_every_parameter_with_every_loss(prepare, loss_type):
    data, model = prepare(loss_type=loss_type, shared_negatives=20)
    batch = next(iter(data.train_data))
    row_loss(model, batch, data.train_data.n_items, {"loss_type": loss_type}).backward()
    assert batch.is_target.sum() > len(batch.users)
    assert all(part.grad is not None and part.grad.any() for part in model.parameters())


def test_bad_options_are_an_error(prepare):
    with pytest.raises(ValueError, match="n_heads=3 does not divide hidden_size=8"):
        prepare(n_heads=3)
    with pytest.raises(ValueError, match="loss_type=TOP1 is not known: choose one of CE"):
        prepare(loss_type="TOP1")
    with pytest.raises(ValueError, match="HSTU with loss_type=SSM needs training on user sequences"):
        prepare(loss_type="SSM", training_rows="prefix")

"""Caser's states of many prefixes, losses and gradients equal those of RecBole's own passes over single prefixes."""

import pytest
import torch
from recbole.data.interaction import Interaction
from torch.nn import functional

from recbole_unirep.scoring.model_contract import prefix_states
from recbole_unirep.training.losses import row_loss


@pytest.fixture(params=[(7, {}), (7, {"nv": 1, "nh": 3}), (1, {}), (20, {})], ids=["7", "7 other filters", "1", "20"])
def built(request, load):
    """Config, data and model for one max_length, in float64."""
    length, sizes = request.param
    config, data, model = load("Caser", MAX_ITEM_LIST_LENGTH=length, dropout_prob=0.0, users_per_batch=30, **sizes)
    return config, data, model.double()


def prefixes(batch, max_length):
    """RecBole's padded rows of a batch: one per target; items [P, max_length] and users [P]."""
    row, place = batch.is_target.nonzero(as_tuple=True)
    items = functional.pad(batch.inputs, (0, max_length - batch.inputs.size(1)))[row]
    return items * (torch.arange(max_length) <= place[:, None]), batch.users[row]


def gradients(model, loss):
    return dict(zip(dict(model.named_parameters()), torch.autograd.grad(loss, model.parameters(), allow_unused=True)))


def test_states_equal_recboles(built):
    _, data, model = built
    for batch in data.train_data:
        items, users = prefixes(batch, model.max_seq_length)
        states = prefix_states(model)(batch.inputs, batch.users, batch.is_target)
        torch.testing.assert_close(states, model.forward(users, items))
        with torch.no_grad():
            for place in range(batch.inputs.size(1)):  # one place per row, as ranking asks for them
                is_wanted = torch.zeros_like(batch.is_target)
                is_wanted[:, place] = True
                items, users = prefixes(batch._replace(is_target=is_wanted), model.max_seq_length)
                states = prefix_states(model)(batch.inputs, batch.users, is_wanted)
                torch.testing.assert_close(states, model.forward(users, items))


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_losses_and_gradients_equal_recboles(load, loss_type):
    keys = {"loss_type": loss_type, "dropout_prob": 0.0, "users_per_batch": 30, "MAX_ITEM_LIST_LENGTH": 7}
    config, data, model = load("Caser", **keys)
    model.double()
    for batch in data.train_data:
        items, users = prefixes(batch, 7)
        fields = {model.ITEM_SEQ: items, model.USER_ID: users, model.POS_ITEM_ID: batch.targets}
        fields[model.ITEM_SEQ_LEN] = (items > 0).sum(dim=1)
        if loss_type == "BPR":
            fields[model.NEG_ITEM_ID] = batch.negatives
        expected = model.calculate_loss(Interaction(fields))
        if loss_type == "CE":  # RecBole's softmax counts the padding as an item
            scores = model.forward(users, items) @ model.item_embedding.weight.T
            expected += functional.cross_entropy(scores[:, 1:], batch.targets - 1)
            expected -= functional.cross_entropy(scores, batch.targets)
        found = row_loss(model, batch, data.train_data.n_items, config)
        torch.testing.assert_close(found, expected)
        found, expected = gradients(model, found), gradients(model, expected)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, msg=name)


def test_places_are_computed_in_parts(built, monkeypatch):
    _, data, model = built
    batch = next(iter(data.train_data))
    whole = prefix_states(model)(batch.inputs, batch.users, batch.is_target)
    monkeypatch.setattr("recbole_unirep.scoring.caser.PLACES_AT_ONCE", 1)
    torch.testing.assert_close(prefix_states(model)(batch.inputs, batch.users, batch.is_target), whole)


def test_a_row_of_padding_and_no_wanted_place_give_no_state(built):
    _, _, model = built
    none = torch.zeros(2, 1, dtype=torch.bool)
    assert prefix_states(model)(torch.zeros(2, 1, dtype=torch.long), torch.ones(2, dtype=torch.long), none).shape == (
        0, model.embedding_size,
    )  # fmt: skip


@torch.no_grad()
def test_repeated_items_have_equal_windows(load):
    _, _, model = load("Caser", MAX_ITEM_LIST_LENGTH=6, dropout_prob=0.0)
    items, users = torch.full((1, 6), 3), torch.tensor([2])
    places = torch.ones(1, 6, dtype=torch.bool)
    prefix = items * (torch.arange(6) <= torch.arange(6)[:, None])
    states = prefix_states(model)(items, users, places)
    torch.testing.assert_close(states, model.forward(users.expand(6), prefix))

"""States of many prefixes, their losses and gradients equal those of RecBole's own passes over single prefixes."""

import pytest
import torch
from recbole.data.interaction import Interaction
from torch.nn import functional

from recbole_unirep.scoring.model_contract import PREFIXES, prefix_states, scored_table
from recbole_unirep.training.losses import row_loss

STILL = {"dropout_prob": 0.0, "dropout_probs": [0.0, 0.0], "users_per_batch": 30}
CASES = {
    **{name: (name, {"MAX_ITEM_LIST_LENGTH": 7}) for name in PREFIXES},
    **{f"{name}, long rows": (name, {"MAX_ITEM_LIST_LENGTH": 20}) for name in PREFIXES},
    **{f"{name}, one item": (name, {"MAX_ITEM_LIST_LENGTH": 1}) for name in PREFIXES},
    "Caser, other filters": ("Caser", {"MAX_ITEM_LIST_LENGTH": 7, "nv": 1, "nh": 3}),
    "Caser, more norms": ("Caser", {"MAX_ITEM_LIST_LENGTH": 7, "reg_weight": 0.1}),
    "HGN, largest gate": ("HGN", {"MAX_ITEM_LIST_LENGTH": 7, "pooling_type": "max"}),
    "HGN, norms": ("HGN", {"MAX_ITEM_LIST_LENGTH": 7, "reg_weight": [0.1, 0.2]}),
    "NARM, two layers": ("NARM", {"MAX_ITEM_LIST_LENGTH": 7, "n_layers": 2}),
}


@pytest.fixture(params=CASES)
def built(request, load):
    """Config, data and model in float64; its weights are large enough for different scores."""
    name, keys = CASES[request.param]
    config, data, model = load(name, **STILL, **keys)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = parameter.double() + 0.2 * torch.randn(parameter.shape, generator=generator)
    return config, data, model.double()


def rows_of_recbole(model, batch):
    """RecBole's padded rows of a batch, one per target."""
    row, place = batch.is_target.nonzero(as_tuple=True)
    items = functional.pad(batch.inputs, (0, model.max_seq_length - batch.inputs.size(1)))[row]
    fields = {
        model.ITEM_SEQ: items * (torch.arange(model.max_seq_length) <= place[:, None]),
        model.ITEM_SEQ_LEN: place + 1,
        model.USER_ID: batch.users[row],
        model.POS_ITEM_ID: batch.targets,
    }
    if len(batch.negatives):
        fields[model.NEG_ITEM_ID] = batch.negatives
    return Interaction(fields)


def scores(model, batch):
    states = prefix_states(model)(batch.inputs, batch.users, batch.is_target)
    return states @ scored_table(model).weight.T


def gradients(model, loss):
    found = torch.autograd.grad(loss, model.parameters(), allow_unused=True)
    return {
        name: torch.zeros_like(part) if gradient is None else gradient
        for (name, part), gradient in zip(model.named_parameters(), found)
    }


def assert_equal_losses(model, found, expected):
    torch.testing.assert_close(found, expected)
    found, expected = gradients(model, found), gradients(model, expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_scores_equal_recboles(built):
    _, data, model = built
    for batch in data.train_data:
        expected = model.full_sort_predict(rows_of_recbole(model, batch))
        torch.testing.assert_close(scores(model, batch), expected)


@torch.no_grad()
def test_scores_of_one_place_per_row_equal_recboles(built):
    """Ranking asks for them."""
    _, data, model = built
    batch = next(iter(data.train_data))
    for place in range(batch.inputs.size(1)):
        is_there = batch.inputs[:, place] > 0
        users, inputs = batch.users[is_there], batch.inputs[is_there]
        is_wanted = torch.zeros_like(inputs, dtype=torch.bool)
        is_wanted[:, place] = True
        one = batch._replace(users=users, inputs=inputs, is_target=is_wanted, targets=users, negatives=users[:0])
        torch.testing.assert_close(scores(model, one), model.full_sort_predict(rows_of_recbole(model, one)))


def test_losses_and_gradients_equal_recboles(built):
    config, data, model = built
    for batch in data.train_data:
        row = rows_of_recbole(model, batch)
        score = model.full_sort_predict(row)  # RecBole's softmax counts the padding as an item, ours does not
        padding = functional.cross_entropy(score, batch.targets) - functional.cross_entropy(
            score[:, 1:], batch.targets - 1
        )
        found = row_loss(model, batch, data.train_data.n_items, config)
        assert_equal_losses(model, found, model.calculate_loss(row) - padding)


@pytest.mark.parametrize("name", [name for name in PREFIXES if name != "HGN"])
def test_bpr_losses_and_gradients_equal_recboles(load, name):
    config, data, model = load(name, **STILL, loss_type="BPR", MAX_ITEM_LIST_LENGTH=7)
    model.double()
    for batch in data.train_data:
        expected = model.calculate_loss(rows_of_recbole(model, batch))
        assert_equal_losses(model, row_loss(model, batch, data.train_data.n_items, config), expected)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("Caser", "caser.PLACES_AT_ONCE"), *((name, "prefix_states.QUERIES_AT_ONCE") for name in ("STAMP", "NARM"))],
)
def test_parts_give_the_states_of_the_whole(load, monkeypatch, name, limit):
    _, data, model = load(name, **STILL, MAX_ITEM_LIST_LENGTH=7)
    batch = next(iter(data.train_data))
    whole = scores(model.double(), batch)
    monkeypatch.setattr(f"recbole_unirep.scoring.{limit}", 1)
    torch.testing.assert_close(scores(model, batch), whole)


def test_a_row_of_padding_without_a_wanted_place_gives_no_state(built):
    _, _, model = built
    items, nowhere = torch.zeros(2, 1, dtype=torch.long), torch.zeros(2, 1, dtype=torch.bool)
    assert len(prefix_states(model)(items, torch.ones(2, dtype=torch.long), nowhere)) == 0


@torch.no_grad()
@pytest.mark.parametrize("name", PREFIXES)
def test_repeated_items_are_ties(load, name):
    _, _, model = load(name, **STILL, MAX_ITEM_LIST_LENGTH=6)
    items, users, places = torch.full((1, 6), 3), torch.tensor([2]), torch.ones(1, 6, dtype=torch.bool)
    fields = {
        model.ITEM_SEQ: items * (torch.arange(6) <= torch.arange(6)[:, None]),
        model.ITEM_SEQ_LEN: torch.arange(1, 7),
        model.USER_ID: users.expand(6),
    }
    states = prefix_states(model)(items, users, places)
    torch.testing.assert_close(
        states @ scored_table(model).weight.T, model.full_sort_predict(Interaction(fields)), rtol=1e-5, atol=1e-5
    )

"""States at every position: the last one equals RecBole's own `forward`, and no state depends on later items."""

import pytest
import torch

from recbole_unirep.scoring.model_contract import CAUSAL, sequence_states

LENGTHS = torch.tensor([1, 2, 3, 4, 5, 6])


@pytest.fixture(params=[*CAUSAL, "HSTU"])
def model(request, load):
    return load(request.param, num_layers=2)[2].eval()


@pytest.fixture
def item_seq(model):
    items = torch.randint(1, model.n_items, (6, 6), generator=torch.Generator().manual_seed(0))
    return items * (torch.arange(6) < LENGTHS[:, None])


def last_states(model, item_seq, length):
    """RecBole's state at the last of `length` items."""
    if type(model).__name__ == "S3Rec":
        return model.gather_indexes(model.forward(item_seq, bidirectional=False), length - 1)
    return model.forward(item_seq, length)


@torch.no_grad()
def test_the_last_state_equals_recboles_forward(model, item_seq):
    states = sequence_states(model)(item_seq)
    assert states.shape == (6, 6, 16)
    torch.testing.assert_close(states[torch.arange(6), LENGTHS - 1], last_states(model, item_seq, LENGTHS))


@torch.no_grad()
def test_every_state_equals_the_forward_of_its_prefix(model, item_seq):
    states = sequence_states(model)(item_seq[-1:])[0]
    prefixes = item_seq[-1] * (torch.arange(6) < LENGTHS[:, None])
    torch.testing.assert_close(states, last_states(model, prefixes, LENGTHS))


@torch.no_grad()
def test_states_do_not_depend_on_padding(model, item_seq):
    trimmed = sequence_states(model)(item_seq[:3, :3])
    torch.testing.assert_close(sequence_states(model)(item_seq)[:3, :3], trimmed)


def test_dropout_is_the_models_own(model, item_seq):
    """With the same seed, the same units are dropped as in RecBole's `forward`."""
    model.train()
    full = item_seq[-1:].expand(6, -1)
    torch.manual_seed(0)
    states = sequence_states(model)(full)[:, -1]
    assert not torch.equal(states[0], states[1])
    if type(model).__name__ == "FDSA":
        return  # it applies dropout to the last state only, so it draws different random numbers
    torch.manual_seed(0)
    torch.testing.assert_close(states, last_states(model, full, torch.full((6,), 6)))


def test_recboles_own_forward_is_unchanged(load):
    model = load("SASRecF")[2]
    sequence_states(model)(torch.tensor([[1, 2, 3]]))
    assert model(torch.tensor([[1, 2, 3]]), torch.tensor([3])).shape == (1, 16)


def test_models_that_are_not_causal_have_no_states(load):
    assert sequence_states(load("NARM")[2]) is None
    unirep = {
        "text_encoder": "lexical",
        "lexical_dim": 8,
        "n_levels": 3,
        "codebook_size": 4,
        "code_dim": 8,
        "encoder_sizes": [8],
    }
    assert sequence_states(load("UniRep", backbone="Caser", **unirep)[2]) is None
    assert sequence_states(load("UniRep", backbone="GRU4Rec", **unirep)[2]) is not None

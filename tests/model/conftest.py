"""Untrained models on the tiny dataset."""

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.utils import init_seed

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model, trains_rows

SMALL = {"n_levels": 3, "codebook_size": 8, "code_dim": 8, "encoder_sizes": [12]}
SMALL |= {"users_per_batch": 16, "text_encoder": "lexical"}


@pytest.fixture
def prepare(tiny):
    """Builds config, data and model with small sizes and the given keys."""

    def prepare_with(**keys):
        config = Config("UniRep", "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **keys})
        init_seed(config["seed"], config["reproducibility"])
        data = load_data(config, trains_rows(config))
        init_seed(config["seed"], config["reproducibility"])
        return config, data, build_model(config, data.train)

    return prepare_with


SMALL_GENERATIVE = {
    "n_levels": 2,
    "codebook_size": 6,
    "users_per_batch": 16,
    "text_encoder": "lexical",
    "lexical_dim": 16,
    "hidden_size": 16,
    "n_layers": 1,
    "n_heads": 2,
    "head_size": 8,
    "inner_size": 24,
    "num_beams": 12,
    "topk": [5, 10],
    "show_progress": False,
    "use_gpu": False,
}


@pytest.fixture
def generative(tiny):
    """Builds data and a small generative model with the given keys, in evaluation mode; `.settings` are its keys."""

    def prepare_with(name, **keys):
        config = Config(name, "tiny", config_dict={**prepare_with.settings, **keys})
        init_seed(config["seed"], config["reproducibility"])
        data = load_data(config, trains_rows(config))
        return data, build_model(config, data.train).eval()

    prepare_with.settings = {"data_path": str(tiny.parent), **SMALL_GENERATIVE}
    return prepare_with


@pytest.fixture
def check_exact_ranking():
    """Checks that exact ranking and `predict` give the expected scores, shape: [B, n_items - 1]."""

    @torch.no_grad()
    def check(model, interaction, expected):
        model.exact_ranking = True
        found = model.full_sort_predict(interaction)
        assert found.shape == (len(interaction), model.n_items) and (found[:, 0] == -torch.inf).all()
        close(found[:, 1:], expected)
        for item in (1, 50, model.n_items - 1):
            interaction.update(Interaction({model.ITEM_ID: torch.full((len(interaction),), item)}))
            close(model.predict(interaction), expected[:, item - 1])

    return check


@pytest.fixture
def check_enough_beams():
    """Checks that so many beams give every item its expected score, shape: [B, n_items - 1]."""

    @torch.no_grad()
    def check(model, interaction, expected, n_beams):
        model.num_beams = n_beams
        close(model.full_sort_predict(interaction)[:, 1:], expected)

    return check


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

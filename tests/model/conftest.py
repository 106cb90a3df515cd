"""Untrained models on the tiny dataset."""

import pytest
from recbole.utils import init_seed

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model, trains_rows

SMALL = {"codebook_size": 8, "code_dim": 8, "encoder_sizes": [12], "users_per_batch": 16, "text_encoder": "lexical"}


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

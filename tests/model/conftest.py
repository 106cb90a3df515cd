"""UniRep over the tiny dataset, as a run has it before it trains."""

import pytest
from recbole.utils import init_seed

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.quick_start import build_model, trains_rows

SMALL = {"codebook_size": 8, "code_dim": 8, "encoder_sizes": [12], "users_per_batch": 16, "text_encoder": "lexical"}


@pytest.fixture
def prepare(tiny):
    """Config, data and model of small sizes and the given keys."""

    def prepare_with(**keys):
        config = Config("UniRep", "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **keys})
        init_seed(config["seed"], config["reproducibility"])
        data = load_data(config, trains_rows(config))
        init_seed(config["seed"], config["reproducibility"])
        return config, data, build_model(config, data.train)

    return prepare_with

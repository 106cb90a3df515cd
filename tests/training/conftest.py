"""Configs, data and models of the tiny dataset."""

import pytest
from recbole.utils import init_seed

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.quick_start import build_model, trains_rows

SMALL = {
    "hidden_size": 16,
    "inner_size": 16,
    "embedding_size": 16,
    "users_per_batch": 32,
    "train_batch_size": 64,
    "MAX_ITEM_LIST_LENGTH": 6,
    "eval_batch_size": 25,
}
FEATURES = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "categories"]},
    "selected_features": ["categories"],
}


@pytest.fixture
def load(tiny):
    """Config, data and model, seeded, as a run has them before it trains."""

    def load_all(model, **keys):
        features = FEATURES if model in ("FDSA", "FM") else {}
        config = Config(model, "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **features, **keys})
        init_seed(config["seed"], config["reproducibility"])
        data = load_data(config, one_row_a_user=trains_rows(config))
        init_seed(config["seed"], config["reproducibility"])
        return config, data, build_model(config, data.train)

    return load_all

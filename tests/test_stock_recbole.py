"""Stock RecBole trains our models after register(), with its own quick start, loaders, Trainer and evaluator."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from recbole.utils import get_model

import recbole_unirep
from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model
from recbole_unirep.scoring.protocols import evaluate_protocols

pytestmark = pytest.mark.slow  # stock RecBole trains our models

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or importlib.util.find_spec("pkg_resources") is None,
    reason="RecBole's quick_start imports ray 2.6.3, which has no wheel for Python 3.12+ and needs setuptools < 81",
)
FEW = {"user_inter_num_interval": "[20,30]", "MAX_ITEM_LIST_LENGTH": 8, "epochs": 2, "show_progress": False}


SMALL = {"n_layers": 1, "hidden_size": 16, "n_heads": 2, "head_size": 8, "inner_size": 16, "topk": [5, 10, 20]}
CASES = {
    "UniRep CE": ("UniRep", {"loss_type": "CE"}),
    "UniRep BCE": ("UniRep", {"loss_type": "BCE"}),
    "TIGER": ("TIGER", SMALL),
    "TIGER decoder only": ("TIGER", {**SMALL, "decoder_only": True}),
    "LIGER": ("LIGER", SMALL),
    "RPG": ("RPG", {"topk": [5, 10, 20], "collisions": "append"}),  # stock RecBole orders ties of equal IDs differently
}


@needs_ray
@pytest.mark.parametrize(("name", "keys"), CASES.values(), ids=list(CASES))
def test_stock_recbole_trains_our_models_and_gives_our_metrics(name, keys):
    recbole_unirep.register()
    stock = importlib.import_module("recbole.quick_start").run_recbole
    theirs = stock(model=name, dataset="ml-100k", config_dict={**FEW, **keys})

    (checkpoint,) = Path("saved").glob(f"{name}-*.pth")
    alike = {"training_rows": "prefix", "train_on_codes": True} if name == "UniRep" else {}  # the defaults under stock
    config = Config(name, "ml-100k", config_dict={**FEW, **keys, **alike})
    data = load_data(config, one_row_a_user=False)
    model = build_model(config, data.train)
    model.load_state_dict(torch.load(checkpoint, weights_only=False)["state_dict"])
    ours = evaluate_protocols(model.eval(), data.test, ["full"], config, None)["full"]
    one_user = 1 / len(data.test)
    assert set(theirs["test_result"]) == set(ours) - {"mrr"}
    for name, value in theirs["test_result"].items():
        assert value == pytest.approx(ours[name], abs=1.01 * one_user), name
    assert ours["hit@20"] > 0


def test_recboles_get_model_finds_our_model():
    recbole_unirep.register()
    assert get_model("UniRep") is sys.modules["recbole_unirep.model.unirep"].UniRep

"""`protocol: recbole` matches stock RecBole, built here from RecBole's own Config, data, models and Trainer."""

import importlib
import importlib.util
from pathlib import Path

import pytest
import torch
from recbole.config import Config as StockConfig
from recbole.data import create_dataset as stock_dataset
from recbole.data import data_preparation
from recbole.trainer import Trainer as StockTrainer
from recbole.utils import get_model, init_seed

from recbole_unirep.compat import workarounds
from recbole_unirep.config import Config
from recbole_unirep.data.recbole_split import load_recbole_data
from recbole_unirep.data.split import load_data
from recbole_unirep.quick_start import load_data_and_model, run_recbole

pytestmark = pytest.mark.slow  # stock RecBole trains beside us

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or importlib.util.find_spec("pkg_resources") is None,
    reason="RecBole's quick_start imports ray 2.6.3, which has no wheel for Python 3.12+ and needs setuptools < 81",
)
LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO"}
FEW = {
    "user_inter_num_interval": "[20,30]",
    "item_inter_num_interval": "[1,inf)",
    "filter_inter_by_user_or_item": True,
    "threshold": None,
    "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]},
    "MAX_ITEM_LIST_LENGTH": 8,
    "epochs": 2,
    "eval_batch_size": 4096,
    "metrics": ["Hit", "NDCG", "MRR", "GAUC"],
    "topk": [5, 10],
    "valid_metric": "NDCG@10",
    "metric_decimal_place": 6,
    "stopping_step": 10,
    "show_progress": False,
    "use_gpu": False,
}
CASES = [
    ("SASRec", {"loss_type": "CE"}, "full"),
    ("GRU4Rec", {"loss_type": "BPR"}, "uni50"),
    ("BPR", {}, "uni50"),
    ("Pop", {}, "full"),
    ("FM", {}, "pop20"),
]


def keys_of(model, keys, mode):
    eval_args = {**LEAVE_ONE_OUT, "mode": mode}
    negatives = None if keys.get("loss_type") == "CE" else {"distribution": "uniform", "sample_num": 1}
    return {**FEW, **keys, "eval_args": eval_args, "train_neg_sample_args": negatives}


def run(model, keys, folder):
    return run_recbole(model, "ml-100k", config_dict={**keys, "protocol": "recbole", "run_dir": str(folder)})


def stock(model, keys):
    """Stock RecBole's config, model and loaders of validation and test."""
    workarounds.apply()
    config = StockConfig(model, "ml-100k", config_dict=keys)
    init_seed(config["seed"], config["reproducibility"])
    train, valid, test = data_preparation(config, stock_dataset(config))
    return config, get_model(model)(config, train._dataset), valid, test


@pytest.mark.parametrize(("model", "keys", "mode"), CASES)
def test_metrics_equal_those_of_the_stock_trainer_on_the_same_checkpoint(tmp_path, model, keys, mode):
    keys = keys_of(model, keys, mode)
    keys["epochs"] = 1
    result = run_recbole(
        model, "ml-100k", config_dict={**keys, "protocol": "recbole", "run_dir": str(tmp_path / "run")}
    )
    assert list(result["test_result"]) == ["recbole"]
    assert not (tmp_path / "run" / "ranks.npz").exists()

    config, stock_model, valid, test = stock(model, keys)
    state = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    stock_model.load_state_dict(state["state_dict"])
    stock_model.load_other_parameter(state["other_parameter"])
    trainer = StockTrainer(config, stock_model)
    expected = {}
    for part in (valid, test):
        init_seed(5, True)  # candidates come from numpy's global generator
        expected[part] = {name: float(x) for name, x in trainer.evaluate(part, load_best_model=False).items()}

    our_config, our_model, data = load_data_and_model(tmp_path / "run")
    our_config["run_dir"] = str(tmp_path / "run")
    ours = importlib.import_module("recbole_unirep.training.trainer").EngineTrainer(our_config, our_model)
    for part, our_part in ((valid, data.valid), (test, data.test)):
        init_seed(5, True)
        assert ours.evaluate(our_part, load_best_model=False) == {"recbole": expected[part]}
    if mode == "full":  # nothing is drawn
        assert result["test_result"]["recbole"] == expected[test]
        assert result["best_valid_result"] == expected[valid]
    assert set(expected[test]) == {"hit@5", "hit@10", "ndcg@5", "ndcg@10", "mrr@5", "mrr@10", "gauc"}
    assert 0 < expected[test]["hit@10"] < 1


@needs_ray
@pytest.mark.parametrize(("model", "keys", "mode"), CASES)
def test_a_whole_run_gives_the_numbers_of_stock_recbole(tmp_path, model, keys, mode):
    """Training, validation and test with the same seed, including the draw of candidates: every number is equal."""
    keys = keys_of(model, keys, mode)
    workarounds.apply()
    theirs = importlib.import_module("recbole.quick_start").run_recbole(
        model=model, dataset="ml-100k", config_dict=keys
    )
    ours = run_recbole(model, "ml-100k", config_dict={**keys, "protocol": "recbole"})
    assert ours["test_result"]["recbole"] == {name: float(x) for name, x in theirs["test_result"].items()}
    assert ours["best_valid_result"] == {name: float(x) for name, x in theirs["best_valid_result"].items()}
    assert ours["best_valid_score"] == theirs["best_valid_score"]
    assert list(Path("saved").glob(f"{model}-*.pth"))


def test_labelled_pairs_are_evaluated_as_in_stock_recbole(tmp_path):
    """Metrics of labelled pairs instead of rankings; the labels are ratings of 4 and more."""
    keys = keys_of("FM", {}, "labeled")
    keys.update(threshold={"rating": 4}, metrics=["AUC", "LogLoss", "MAE", "RMSE"], valid_metric="AUC", epochs=1)
    keys["train_neg_sample_args"] = None
    result = run("FM", keys, tmp_path / "run")
    config, stock_model, _, test = stock("FM", keys)
    stock_model.load_state_dict(torch.load(tmp_path / "run" / "model.pt", weights_only=True)["state_dict"])
    expected = StockTrainer(config, stock_model).evaluate(test, load_best_model=False)
    assert result["test_result"]["recbole"] == {name: float(x) for name, x in expected.items()}
    assert set(expected) == {"auc", "logloss", "mae", "rmse"} and 0.4 < expected["auc"] < 1


def test_recboles_order_of_interactions_has_its_own_fingerprint():
    """float32 cannot distinguish the seconds of ml-100k, so RecBole's order and its fingerprint differ from ours."""
    keys = {**keys_of("BPR", {}, "uni50"), "protocol": "recbole"}
    configs = [Config(model, "ml-100k", config_dict={**keys, "loss_type": "BPR"}) for model in ("BPR", "SASRec")]
    by_recbole = [load_recbole_data(config) for config in configs]
    ours = load_data(Config("BPR", "ml-100k", config_dict={**keys, "protocol": "full"}), one_row_a_user=False)
    assert by_recbole[0].fingerprint == by_recbole[1].fingerprint != ours.fingerprint
    exact, rounded = ours.train.sequences, by_recbole[0].train.sequences
    assert exact.offsets.tolist() == rounded.offsets.tolist()
    for user in range(1, ours.train.user_num):
        assert sorted(exact.of(user)) == sorted(rounded.of(user))


def test_keys_of_recboles_evaluation_are_not_reported_as_unused():
    keys = {"repeatable": True, "checkpoint_dir": "elsewhere"}
    notes = [
        Config("BPR", "ml-100k", config_dict={**keys, "protocol": protocol}).notes for protocol in ("full", "recbole")
    ]
    assert [len(lines) for lines in notes] == [2, 1] and "checkpoint_dir" in notes[1][0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"protocol": ["recbole", "full"]}, "recbole,full: recbole has its own data, split .*: use it alone"),
        ({"protocol": "recbole", "metrics": ["Hit", "GiniIndex"]}, "GiniIndex fail in RecBole 1.2.1's own evaluation"),
        (
            {"protocol": "recbole", "tie_order": "shuffled"},
            "tie_order=shuffled: protocol=recbole keeps RecBole's order",
        ),
        ({"protocol": "recbole", "valid_metric": "MRR"}, "valid_metric=MRR is not among hit@5, hit@10"),
        ({"protocol": "recbole", "nproc": 2}, "recbole works in one process only, found 2: leave nproc at 1"),
        ({"eval_args": {"mode": "uni50"}}, "eval_args mode uni50 is not used here: .* --protocol=recbole"),
        ({"protocol": "recbole", "eval_args": {"mode": "all"}}, "mode .all. in eval_args is not supported"),
        ({"protocol": "recbole", "eval_args": {"split": {"XS": 1}}}, "RecBole refuses eval_args"),
    ],
)
def test_unsupported_settings_are_one_line_and_write_nothing(tmp_path, keys, message):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=message) as caught:
        run_recbole("BPR", "ml-100k", config_dict={**FEW, **keys, "data_path": "nowhere"})
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before

"""RecBole's general and context-aware models in our runs use the split, targets and candidates of SASRec."""

import json

import pytest
import torch

from recbole_unirep import read_ranks
from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import trains_rows
from recbole_unirep.quick_start import load_data_and_model, run_recbole

GENERAL = ["Pop", "ItemKNN", "BPR", "FM", "EASE", "LightGCN"]


def run(tiny, tmp_path, model, **keys):
    keys = {"data_path": str(tiny.parent), "show_progress": False, "run_dir": str(tmp_path / model), **keys}
    return run_recbole(model, "tiny", config_dict=keys)


@pytest.fixture
def ml_100k():
    """Data of several models, by model name."""
    configs = {model: Config(model, "ml-100k") for model in ("SASRec", "BPR", "Pop", "ItemKNN", "FM")}
    return {model: load_data(config, one_row_a_user=trains_rows(config)) for model, config in configs.items()}


def targets_of(part):
    """Maps each user token to the item tokens of the target and of the sampled candidates."""
    users, items, _ = part.targets
    tokens = part.item_tokens[part.candidates.numpy()]
    return {
        user: (item, *candidates)
        for user, item, candidates in zip(
            part.user_tokens[users.numpy()], part.item_tokens[items.numpy()], tokens.tolist()
        )
    }


def test_every_kind_of_model_has_the_targets_and_hashes_of_sasrec(ml_100k):
    sasrec = ml_100k.pop("SASRec")
    assert len(targets_of(sasrec.test)) == 943
    for model, data in ml_100k.items():
        assert data.fingerprint == sasrec.fingerprint, model
        for split in ("valid", "test"):
            ours, theirs = getattr(data, split), getattr(sasrec, split)
            assert ours.candidates_hash == theirs.candidates_hash, model
            assert targets_of(ours) == targets_of(theirs), model
            popularity = [dict(zip(part.item_tokens, part.item_counts)) for part in (ours, theirs)]
            assert popularity[0] == popularity[1], model


@pytest.mark.parametrize("model", GENERAL)
def test_a_run_ends_with_a_checkpoint_for_any_eval_step(tiny, tmp_path, model):
    result = run(tiny, tmp_path, model, epochs=3, eval_step=5, metrics=["Hit", "ItemCoverage"], valid_metric="Hit@10")
    lines = [json.loads(line) for line in (tmp_path / model / "metrics.jsonl").read_text().splitlines()]
    last = 0 if model in ("Pop", "ItemKNN", "EASE") else 2  # these always train for one epoch
    assert ["valid_score" in line for line in lines] == [False] * last + [True]
    assert result["best_epoch"] == last and result["best_valid_score"] == lines[-1]["hit@10"]
    assert torch.load(tmp_path / model / "model.pt", weights_only=True)["epoch"] == last
    for metrics in result["test_result"].values():
        assert 0 < metrics["itemcoverage@20"] < 1


def test_a_general_model_can_be_loaded_and_compared_user_by_user(tiny, tmp_path):
    kept = {}
    for model in ("SASRec", "Pop"):
        result = run(tiny, tmp_path, model, epochs=1)
        kept[model] = read_ranks(tmp_path / model)
        assert kept[model].ranks["full"].shape == (60,)
        assert load_data_and_model(tmp_path / model)[2].fingerprint == result["dataset_fingerprint"]
    assert kept["SASRec"].users.tolist() == kept["Pop"].users.tolist()
    assert (kept["SASRec"].ranks["full"] != kept["Pop"].ranks["full"]).any()

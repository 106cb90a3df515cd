"""Ranking weights chosen on validation: the grid's metrics, the choice, what a run stores."""

import json

import pytest
import torch

from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring import ranking_weights
from recbole_unirep.scoring.protocols import evaluate_protocols
from recbole_unirep.scoring.ranking_weights import GRID, choose_ranking_weights

KEYS = {
    "n_levels": 3,
    "codebook_size": 8,
    "code_dim": 8,
    "encoder_sizes": [12],
    "text_encoder": "lexical",
    "lexical_dim": 8,
    "users_per_batch": 16,
    "topk": [10],
}


@pytest.fixture
def built(load, plain):
    def build(**keys):
        config, data, model = load("UniRep", **{**plain, **KEYS, **keys})
        generator = torch.Generator().manual_seed(3)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
        return config, data, model.eval()

    return build


@pytest.mark.parametrize(
    "keys",
    [
        {"chosen_on_validation": ["history_similarity", "popularity_bias"], "repeat_bias": True, "transition_bias": 2},
        {"chosen_on_validation": ["popularity_bias"], "history_similarity": 1.5},
        {"chosen_on_validation": ["history_similarity"], "representation": "id", "valid_metric": "MRR"},
    ],
)
def test_each_combination_has_the_metric_of_a_model_with_these_weights(built, keys, monkeypatch):
    monkeypatch.setattr(ranking_weights, "BATCH", 7)
    config, data, model = built(fusion="project", **keys)
    before = model.score_bias.ranking_weights_by_key()
    choice = choose_ranking_weights(model, data.valid, config, keys["chosen_on_validation"])
    assert model.score_bias.ranking_weights_by_key() == before and choice.n_users == len(data.valid)
    assert len(choice.table) == sum(len(GRID[key]) for key in keys["chosen_on_validation"])
    scores = []
    for row in choice.table:
        model.score_bias.set_ranking_weights({key: row.get(key, 0.0) for key in GRID})
        found = evaluate_protocols(model, data.valid, ["full"], config, None)["full"]
        scores.append(found[config["valid_metric"].lower()])
    assert [row["score"] for row in choice.table] == pytest.approx(scores, abs=2e-6)
    assert len(set(scores)) > 1 and choice.valid_score == max(row["score"] for row in choice.table)
    rest = choice.table
    for key in keys["chosen_on_validation"]:  # one after the other
        tried, rest = rest[: len(GRID[key])], rest[len(GRID[key]) :]
        assert [row[key] for row in tried] == list(GRID[key])
        assert choice.weights[key] == max(tried, key=lambda row: row["score"])[key]


def test_few_users_choose_for_many(built, monkeypatch):
    monkeypatch.setattr(ranking_weights, "USERS", 9)
    config, data, model = built(fusion="project", chosen_on_validation=["popularity_bias"])
    first, again = (choose_ranking_weights(model, data.valid, config, ["popularity_bias"]) for _ in range(2))
    assert first == again and first.n_users == 9


@pytest.fixture
def train(tiny, plain, tmp_path):
    def run(**keys):
        folder = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        keys = {**plain, **KEYS, "epochs": 2, "show_progress": False, **keys}
        result = run_recbole(
            "UniRep", "tiny", config_dict={**keys, "data_path": str(tiny.parent), "run_dir": str(folder)}
        )
        return folder, result

    return run


def test_a_run_stores_its_choice_and_ranks_the_test_items_with_it(train):
    keys = ["history_similarity", "popularity_bias"]
    folder, result = train(chosen_on_validation=keys, history_similarity=6.0, popularity_bias=0.8)
    chosen = json.loads((folder / "result.json").read_text())["chosen_on_validation"]
    weights = {key: chosen[key] for key in keys}
    assert chosen["seconds"] > 0 and weights != {"history_similarity": 6.0, "popularity_bias": 0.8}
    assert result["best_valid_score"] == pytest.approx(chosen["valid_score"], abs=2e-6)
    config, model, data = load_data_and_model(folder)
    assert model.score_bias.ranking_weights_by_key() == weights
    assert evaluate_protocols(model, data.test, ["full"], config, None)["full"] == result["test_result"]["full"]

    _, given = train(**weights)  # the same training: weights of ranking do not change it, but choose the checkpoint
    assert given["chosen_on_validation"] is None
    assert given["best_valid_score"] >= result["best_valid_score"] - 2e-6


def test_a_metric_of_items_cannot_choose(train):
    keys = {"metrics": ["Hit", "ItemCoverage"], "valid_metric": "ItemCoverage@10", "popularity_bias": 0.4}
    folder, result = train(chosen_on_validation=["popularity_bias"], **keys)
    assert result["chosen_on_validation"] is None
    assert "itemcoverage@10 cannot choose popularity_bias: they keep" in (folder / "log.txt").read_text()
    assert load_data_and_model(folder)[1].score_bias.feature_weights == {"popularity_bias": 0.4}


@pytest.mark.parametrize("value", ["popularity_bias", ["temperature"], [1]])
def test_other_keys_cannot_be_chosen(built, value):
    with pytest.raises(ValueError, match="is not a list of ranking weights: name history_similarity, popularity_bi"):
        built(fusion="project", chosen_on_validation=value)

"""Ranking weights tried on one checkpoint give the metrics of runs with these weights."""

import csv
import json

import pytest

from recbole_unirep.commands.rank_weights import rank_weights
from recbole_unirep.quick_start import run_recbole

SMALL = {"codebook_size": 8, "code_dim": 8, "encoder_sizes": [12], "text_encoder": "lexical", "lexical_dim": 8}
KEYS = {**SMALL, "users_per_batch": 16, "epochs": 1, "protocol": [], "topk": [10], "show_progress": False}


@pytest.fixture
def train(tiny, plain, tmp_path):
    def run(model="UniRep", **keys):
        folder = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        keys = {**({**plain, **KEYS} if model == "UniRep" else {"epochs": 1, "protocol": []}), **keys}
        result = run_recbole(model, "tiny", config_dict={**keys, "data_path": str(tiny.parent), "run_dir": str(folder)})
        return folder, result

    return run


def test_every_combination_has_the_metrics_of_a_run_with_these_weights(train):
    """The expected value is the validation of a one-epoch run of the same seed with the weights in its config."""
    folder, plain = train()
    table = rank_weights([str(folder), "--history_similarity=0,2", "--popularity_bias=0.5"])
    with open(table, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["history_similarity"], row["popularity_bias"]) for row in rows] == [("0.0", "0.5"), ("2.0", "0.5")]
    found = set()
    for row in rows:
        weights = {key: float(row[key]) for key in ("history_similarity", "popularity_bias")}
        _, asked = train(**weights)
        assert float(row["full ndcg@10"]) == pytest.approx(asked["best_valid_result"]["ndcg@10"], abs=2e-6)
        found.add(row["full ndcg@10"])
    assert len(found) == 2 and plain["best_valid_result"]["ndcg@10"] not in map(float, found)
    record = json.loads((folder / "rank_weights.json").read_text(encoding="utf-8"))
    assert record["split"] == "validation" and record["best"]["full ndcg@10"] == max(map(float, found))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "rank-weights needs RUN, the folder of a finished run: write unirep rank-weights RUN"),
        (["RUN"], "rank-weights needs weights to try: write e.g. --history_similarity=0,1.5,3"),
        (
            ["RUN", "--temperature=1"],
            "rank-weights has no option --temperature: known are --history_similarity, --popularity_bias",
        ),
        (["RUN", "--history_similarity=much"], "history_similarity=much is not a list of finite numbers"),
        (["RUN", "--popularity_bias=0,inf"], "popularity_bias=0,inf is not a list of finite numbers"),
        (["RUN", "--history_similarity=1"], "RUN holds no run"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        rank_weights(arguments)


def test_metric_and_protocols_are_those_of_the_run(train):
    folder, _ = train(topk=[5], valid_metric="NDCG@5", protocol=["full_unseen"])
    table = rank_weights([str(folder), "--popularity_bias=0,1"])
    header = table.read_text(encoding="utf-8").splitlines()[0]
    assert "full ndcg@5" in header and "full_unseen hit@5" in header and "uni99" not in header
    assert json.loads((folder / "rank_weights.json").read_text(encoding="utf-8"))["judge"] == "full ndcg@5"


def test_a_run_under_recboles_own_protocol_is_refused(train):
    folder, _ = train(protocol="recbole", loss_type="CE")
    with pytest.raises(ValueError, match="was ranked by RecBole itself"):
        rank_weights([str(folder), "--popularity_bias=1"])


def test_other_models_have_no_weights(train):
    folder, _ = train("SASRec")
    with pytest.raises(ValueError, match="history_similarity, popularity_bias are UniRep's"):
        rank_weights([str(folder), "--popularity_bias=1"])

"""Runs, bundles and exports that an earlier version wrote are read, rank as they did and can be continued.

tests/made_before/README.md says how they were made, `read_all` what was recorded of them then. Tests work on copies.
"""

import csv
import json
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from recbole.data.interaction import Interaction
from safetensors.numpy import load_file

import recbole_unirep
from recbole_unirep import cli

pytestmark = pytest.mark.slow  # runs are continued

MADE = Path(__file__).resolve().parent / "made_before"
EXPECTED = MADE / "expected.json"
CONTINUED = ["unirep", "unirep_best", "unirep_frozen_codes", "tiger", "sasrec"]
RUNS = [*CONTINUED, "eager", "liger", "actionpiece", "mbgen", "rpg", "vqrec"]
ADDED_TO = "unirep_frozen_codes"
BUNDLES = ["ids", "unirep_frozen_codes/tokenizer"]
HISTORIES = [["i3"], ["i20", "i38", "i7", "i20"], [f"i{number}" for number in range(40, 52)]]
USERS = ["u0", "u1", "u2"]
LONGER = 7  # epochs, of runs that were made with 5
RESULT = [
    "best_valid_score",
    "best_valid_result",
    "best_epoch",
    "test_result",
    "dataset_fingerprint",
    "candidates_hash",
]
EVERY_RUN = pytest.mark.parametrize("run", RUNS)
EVERY_CONTINUED_RUN = pytest.mark.parametrize("run", CONTINUED)


def read_all(folder):
    """What is expected of each artefact in a folder; its runs are continued, so it must be a copy."""
    export = recbole_unirep.load_export(folder / "export")
    runs = {}
    for run in RUNS:
        recommender = load(folder, run)
        runs[run] = {"recommended": lists_of(recommender), "to_users": lists_to_users(recommender)}
        runs[run]["result"] = result_of(folder / run)
    added = lists_of(load(folder, ADDED_TO), k=2, candidates=["n1", "n2"])
    bundles = {
        bundle: {"encoded": encoded(folder, bundle), "levels": inspected(folder, bundle)["levels"]}
        for bundle in BUNDLES
    }
    for run in CONTINUED:
        runs[run]["losses"] = continued(folder, run, LONGER)
    return {"runs": runs, "added": added, "bundles": bundles, "export": lists_of(export)}


def json_of(path):
    return json.loads(path.read_text(encoding="utf-8"))


def unirep(*arguments):
    """Exit code of a subcommand."""
    with mock.patch.object(sys, "argv", ["unirep", *map(str, arguments)]):
        return cli.unirep()


def load(folder, run):
    return recbole_unirep.Recommender.load(folder / run, data_path=folder / "data")


def lists_of(recommender, k=10, candidates=None):
    """Items and scores for HISTORIES, of a run or an export."""
    return plain(recommender.recommend(HISTORIES, k=k, candidates=candidates))


def lists_to_users(recommender):
    """Items and scores for known users of a run."""
    return plain(recommender.recommend(users=USERS, k=10))


def plain(rows):
    return [{"items": row.items, "scores": row.scores} for row in rows]


def result_of(run):
    """What of a run's result does not depend on the machine."""
    result = json_of(run / "result.json")
    return {key: result[key] for key in RESULT}


def encoded(folder, bundle):
    """Codes that a bundle's tokenizer gives the items, by item token."""
    out = folder / "codes.csv"
    code = unirep("encode-items", folder / bundle, "--dataset=grocer", f"--data_path={folder / 'data'}", f"--out={out}")
    assert code == 0
    with open(out, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    out.unlink()
    return {item: [int(code) for code in codes] for item, *codes in rows[1:]}


def inspected(folder, bundle):
    """inspection.json of a bundle; exit code 1 is of codes that are not healthy."""
    out = folder / "inspection"
    assert unirep("inspect", folder / bundle, f"--data_path={folder / 'data'}", f"--out={out}") in (0, 1)
    return json_of(out / "inspection.json")


def continued(folder, run, epochs):
    """Training losses of all epochs of a run that goes on."""
    arguments = [f"--resume={folder / run}", f"--epochs={epochs}", f"--data_path={folder / 'data'}"]
    recbole_unirep.run_recbole(arguments=arguments)
    lines = (folder / run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["train_loss"] for line in lines]


def assert_same(found, expected):
    assert [row["items"] for row in found] == [row["items"] for row in expected]
    for one, other in zip(found, expected):
        assert one["scores"] == pytest.approx(other["scores"], rel=1e-6, abs=1e-6)


@pytest.fixture
def made(tmp_path):
    """A copy of all artefacts in the working folder, so that relative paths mean what they meant."""
    return Path(shutil.copytree(MADE, tmp_path, dirs_exist_ok=True))


@pytest.fixture(scope="module")
def expected():
    return json_of(EXPECTED)


@EVERY_RUN
def test_a_run_recommends_as_it_did(made, expected, run):
    recommender = load(made, run)
    assert_same(lists_of(recommender), expected["runs"][run]["recommended"])
    assert_same(lists_to_users(recommender), expected["runs"][run]["to_users"])


@EVERY_RUN
def test_a_run_is_found_with_its_data_by_its_own_relative_paths(made, expected, run):
    rows = recbole_unirep.recommend(run, items=HISTORIES, k=10)
    assert_same(plain(rows), expected["runs"][run]["recommended"])


@EVERY_CONTINUED_RUN
def test_a_checkpoint_scores_as_it_did_by_the_interface_of_recbole(made, expected, run):
    _, model, data = recbole_unirep.load_data_and_model(made / run)
    number_of = data.train.field2token_id["item_id"]
    for history, row in zip(HISTORIES, expected["runs"][run]["recommended"]):
        read = [number_of[item] for item in history][-model.max_seq_length :]
        padded = np.zeros((1, model.max_seq_length), dtype=np.int64)
        padded[0, : len(read)] = read
        nobody = np.array([0])  # TIGER reads a user
        asked = Interaction({"item_id_list": padded, "item_length": np.array([len(read)]), "user_id": nobody})
        scores = model.full_sort_predict(asked).detach().reshape(-1)
        pairs = [pair for pair in zip(row["items"], row["scores"]) if pair[0] in number_of]  # not of added items
        found = [float(scores[number_of[item]]) for item, _ in pairs]
        assert found == pytest.approx([score for _, score in pairs], rel=1e-6, abs=1e-6)


@EVERY_CONTINUED_RUN
def test_a_finished_run_ranks_the_test_items_as_it_did(made, expected, run):
    kept = recbole_unirep.read_ranks(made / run)
    for name in ("ranks.npz", "result.json"):
        (made / run / name).unlink()
    recbole_unirep.run_recbole(arguments=[f"--resume={made / run}"])
    assert result_of(made / run) == expected["runs"][run]["result"]
    ranked = recbole_unirep.read_ranks(made / run)
    assert ranked.users.tolist() == kept.users.tolist()
    assert ranked.ranks.keys() == kept.ranks.keys()
    assert all((ranked.ranks[protocol] == kept.ranks[protocol]).all() for protocol in kept.ranks)


@EVERY_CONTINUED_RUN
def test_a_run_goes_on_where_it_stopped(made, expected, run):
    losses = continued(made, run, LONGER)
    assert len(losses) == LONGER
    # Not tighter: the preset trains in bfloat16 where the processor has it, which moves these losses by 4e-4.
    assert losses == pytest.approx(expected["runs"][run]["losses"], rel=1e-3)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_bundle_encodes_and_is_inspected_as_it_was(made, expected, bundle):
    assert encoded(made, bundle) == expected["bundles"][bundle]["encoded"]
    levels = inspected(made, bundle)["levels"]
    assert len(levels) == len(expected["bundles"][bundle]["levels"])
    for level, before in zip(levels, expected["bundles"][bundle]["levels"]):
        assert level == pytest.approx(before, rel=1e-6)


def test_a_model_is_trained_on_the_codes_of_a_bundle(made):
    keys = ["--dataset=grocer", "--data_path=data", "--semantic_ids=ids", "--code_embedding_size=8", "--epochs=1"]
    recbole_unirep.run_recbole("UniRep", arguments=[*keys, "--run_dir=new", "--show_progress=False", "--use_gpu=False"])
    _, model, data = recbole_unirep.load_data_and_model("new")
    kept = load_file(made / "ids" / "semantic_ids.safetensors")["codes"].tolist()
    codes_of = dict(zip(json_of(made / "ids" / "bundle.json")["items"], kept))
    codes = model.state_dict()["backbone.item_embedding.code_embedding.codes"][1:].tolist()
    items = data.train.field2id_token["item_id"][1:]
    assert codes == [codes_of[item] for item in items]


def test_items_that_were_added_are_recommended_and_more_can_follow(made, expected):
    new = {
        "item_id": "n3",
        "title": "mint tea, 1 kg",
        "brand": "Meadow",
        "categories": ["Groceries", "Tea"],
        "price": 3,
    }
    assert_same(lists_of(load(made, ADDED_TO), k=2, candidates=["n1", "n2"]), expected["added"])
    assert recbole_unirep.add_items(made / ADDED_TO, [new]).items == ["n1", "n2", "n3"]
    assert_same(lists_of(load(made, ADDED_TO), k=2, candidates=["n1", "n2"]), expected["added"])
    rows = lists_of(load(made, ADDED_TO), k=3, candidates=["n1", "n2", "n3"])
    assert [sorted(row["items"]) for row in rows] == [["n1", "n2", "n3"]] * len(HISTORIES)


def test_an_export_recommends_as_it_did(made, expected):
    assert_same(lists_of(recbole_unirep.load_export(made / "export")), expected["export"])


def test_a_run_is_exported_again_to_the_same_lists(made, expected):
    assert unirep("export", made / "unirep_best", f"--out={made / 'again'}") == 0
    assert_same(lists_of(recbole_unirep.load_export(made / "again")), expected["export"])


def test_finished_runs_are_compared(made):
    assert unirep("compare", "unirep", "sasrec", "--out=compared") == 0
    assert (made / "compared" / "comparison.csv").is_file()

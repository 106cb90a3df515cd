"""The bundle in a run's folder: a run is reloaded with the tokenizer of its training."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_unirep.commands.encode_items import encode_items
from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.model.build import build_model
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.runs.folder import read_result
from recbole_unirep.scoring.protocols import evaluate_protocols
from recbole_unirep.semantic_ids import fitting, frozen_codes
from recbole_unirep.semantic_ids.bundle import load_bundle
from recbole_unirep.semantic_ids.catalogue import item_tokens
from recbole_unirep.semantic_ids.frozen_codes import of_run
from recbole_unirep.serving.add_items import add_items
from recbole_unirep.serving.added_items import read_added

RUNS = {
    "TIGER over RQVAE": ("TIGER", {"tokenizer": "RQVAE", "level_metrics": ["cosine", "euclidean"]}),
    "TIGER over ItemIDTokens": ("TIGER", {"tokenizer": "ItemIDTokens", "codebook_size": 16}),
    "RPG": ("RPG", {}),
    "UniRep over RQKMeans": ("UniRep", {"tokenizer": "RQKMeans", "code_embedding_size": 8, "collisions": "append"}),
    "EAGER": ("EAGER", {"behaviour_codebook_size": 7}),
}


@pytest.fixture
def settings(generative):
    """Keys of a small run, by name of the model."""

    def of(model, **keys):
        shared = ("data_path", "text_encoder", "codebook_size", "users_per_batch")
        small = generative.settings if model != "UniRep" else {key: generative.settings[key] for key in shared}
        if model == "RPG":
            keys = {"codebook_size": 4, "n_levels": 4, **keys}
        return {**small, "epochs": 2, "run_dir": "run", **keys}

    return of


@pytest.fixture
def elsewhere(monkeypatch):
    """Calling it simulates a machine on which fitting gives different codes."""
    encode = fitting.catalogue_codes

    def other_codes(tokenizer, known, items, policy):
        found = encode(tokenizer, known, items, policy)
        return found._replace(resolved=found.resolved.roll(1, 0))

    return lambda: monkeypatch.setattr(fitting, "catalogue_codes", other_codes)


def ranked(run):
    config, model, data = load_data_and_model(run)
    return evaluate_protocols(model, data.test, ["full", "uni99"], config, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_reloads_with_its_training_codes(settings, elsewhere, name):
    model, keys = RUNS[name]
    run_recbole(model, "tiny", config_dict=settings(model, **keys))
    before, (config, trained, data) = ranked("run"), load_data_and_model("run")
    elsewhere()
    assert ranked("run") == before == {key: read_result(Path("run"))["test_result"][key] for key in before}
    for kept, is_same in ((of_run(config, "run"), True), (of_run(config, None), False)):
        built = build_model(kept, data.train).state_dict()  # no checkpoint is read
        codes = [key for key in built if key.endswith("codes")]
        assert codes and all(torch.equal(built[key], trained.state_dict()[key]) == is_same for key in codes)


def test_reloading_a_run_fits_nothing(settings, monkeypatch):
    run_recbole("EAGER", "tiny", config_dict=settings("EAGER", behaviour_codebook_size=7))

    def fit(*_):
        raise AssertionError("a tokenizer was fitted")

    monkeypatch.setattr(frozen_codes, "_fit", fit)
    monkeypatch.setattr("recbole_unirep.model.eager.fit_behaviour", fit)
    load_data_and_model("run")


@pytest.mark.slow
def test_a_stopped_run_resumes_with_its_codes(settings, elsewhere):
    keys = settings("TIGER", **RUNS["TIGER over RQVAE"][1])
    whole = run_recbole("TIGER", "tiny", config_dict={**keys, "run_dir": "whole"})
    run_recbole("TIGER", "tiny", config_dict=keys)
    for name in ("last.pt", "model.pt", "result.json", "metrics.jsonl"):  # killed within the first epoch
        Path("run", name).unlink()
    elsewhere()
    assert run_recbole(arguments=["--resume=run"])["test_result"] == whole["test_result"]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_older_than_its_bundle_keeps_its_codes(settings, elsewhere, name):
    model, keys = RUNS[name]
    run_recbole(model, "tiny", config_dict=settings(model, **keys))
    before = ranked("run")
    for folder in Path("run").glob("*tokenizer"):
        shutil.rmtree(folder)
    assert ranked("run") == before
    elsewhere()
    assert ranked("run") == before  # the checkpoint's codes
    run_recbole(arguments=["--resume=run", "--epochs=3"])
    assert not Path("run/tokenizer").exists()  # no bundle is added to a run that was trained without one


def test_a_damaged_bundle_of_a_run_is_one_line(settings):
    run_recbole("RPG", "tiny", config_dict=settings("RPG"))
    weights = Path("run/tokenizer/tokenizer.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="run/tokenizer/tokenizer.safetensors is not the file that was written"):
        load_data_and_model("run")


def test_a_runs_bundle_is_like_any_other(settings, tiny):
    run_recbole("UniRep", "tiny", config_dict=settings("UniRep", **RUNS["UniRep over RQKMeans"][1]))
    _, model, data = load_data_and_model("run")
    bundle = load_bundle("run/tokenizer")
    items = item_tokens(data.train)
    assert bundle.semantic_ids.items == items and bundle.record["tokenizer"] == "RQKMeans"
    codes = model.item_embedding.code_embedding.codes
    assert np.array_equal(bundle.semantic_ids.codes, codes[1:].numpy())
    out = encode_items(
        [
            "run/tokenizer",
            "--dataset=tiny",
            f"--data_path={tiny.parent}",
            "--out=codes.csv",
        ]
    )
    rows = [line.split(",") for line in Path(out).read_text().splitlines()[1:]]
    assert {row[0]: list(map(int, row[1:])) for row in rows} == {
        item: codes[place, :-1].tolist() for place, item in enumerate(items, start=1)
    }
    keys = {"run_dir": "other", "semantic_ids": "run/tokenizer", "code_embedding_size": 8}
    run_recbole("UniRep", "tiny", config_dict=settings("UniRep", **keys))
    assert torch.equal(load_data_and_model("other")[1].item_embedding.code_embedding.codes, codes)
    assert not Path("other/tokenizer").exists()  # the bundle is the user's


def test_an_item_without_text_has_no_known_vector_after_reloading(settings):
    run_recbole("UniRep", "tiny", config_dict=settings("UniRep", **RUNS["UniRep over RQKMeans"][1]))
    config, trained, data = load_data_and_model("run")
    frozen = frozen_codes.frozen_codes(of_run(config, "run"), data.train)
    assert torch.equal(frozen.is_known, trained.has_text)
    items = item_tokens(data.train)
    assert [items[place - 1] for place in (~frozen.is_known).nonzero()[1:, 0].tolist()] == ["i119"]


def test_reinforcement_keeps_the_codes_of_its_run(settings, elsewhere):
    run_recbole("TIGER", "tiny", config_dict=settings("TIGER", run_dir="tiger"))
    keys = settings("TIGER", initial_run="tiger", n_generated=12, num_beams=20)
    elsewhere()
    run_recbole("GRPO", "tiny", config_dict={**keys, "epochs": 1})
    assert Path("run/tokenizer/bundle.json").read_bytes() == Path("tiger/tokenizer/bundle.json").read_bytes()
    shutil.rmtree("tiger")
    ranked("run")


def test_settings_may_be_tuples_or_lists(settings):
    keys = {"tokenizer": "RQVAE", "level_metrics": ("cosine", "euclidean"), "encoder_sizes": (12,)}
    run_recbole("TIGER", "tiny", config_dict=settings("TIGER", run_dir="tiger", **keys))
    run_recbole("GRPO", "tiny", config_dict=settings("GRPO", initial_run="tiger", n_generated=12, epochs=1, **keys))
    load_data_and_model("run")


def test_changed_data_are_reported_before_a_changed_tokenizer(settings, tiny):
    run_recbole("RPG", "tiny", config_dict=settings("RPG"))
    with open(tiny / "tiny.inter", "a", encoding="utf-8") as file:
        file.write("u1\tnew\t1400000000\n")
    for read in (lambda: load_data_and_model("run"), lambda: run_recbole(arguments=["--resume=run"])):
        with pytest.raises(ValueError, match="run was trained on data with fingerprint"):
            read()


def test_users_cannot_set_the_tokenizers_folder(settings):
    with pytest.raises(ValueError, match="unknown key 'kept_tokenizers'"):
        run_recbole("RPG", "tiny", config_dict=settings("RPG", kept_tokenizers="elsewhere"))


def test_new_items_get_codes_from_the_stored_tokenizer(settings, monkeypatch, tiny):
    """Nothing is fitted for them, and nothing is added if the text of the run's items has changed."""
    run_recbole("UniRep", "tiny", config_dict=settings("UniRep", **RUNS["UniRep over RQKMeans"][1]))
    tokenizer = load_bundle("run/tokenizer").tokenizer

    def fit(*_):
        raise AssertionError("a tokenizer was fitted")

    monkeypatch.setattr(frozen_codes, "_fit", fit)
    Path("new.csv").write_text("item_id,title,categories,price\nn1,soap number 3,\"'Beauty', 'soap'\",1\n")
    add_items("run", "new.csv")
    config, _, data = load_data_and_model("run")
    text = load_item_text(config, data.train).vectors
    added = read_added("run").embedded
    like = [row for row, vector in enumerate(text) if torch.equal(tokenizer.encode(vector[None]), added.codes[:, :3])]
    assert added.codes.shape == (1, 4) and added.codes[0, 3] == -1 and like

    Path("run/added_items.safetensors").unlink()
    columns = (tiny / "tiny.item").read_text().replace("soap number 1", "brush number 1")
    (tiny / "tiny.item").write_text(columns)
    with pytest.raises(ValueError, match="items of the run have other text vectors by now, by their codes: restore"):
        add_items("run", "new.csv")

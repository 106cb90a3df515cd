"""One run from start to end: its files, repeating, resuming and loading it; bad input writes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from recbole_unirep import quick_start, read_ranks
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.runs.folder import read_result
from recbole_unirep.scoring.evaluation import rank_targets
from recbole_unirep.training.trainer import EngineTrainer

CHECKOUT = Path(__file__).resolve().parent.parent
SMALL = {
    "n_levels": 3,
    "codebook_size": 8,
    "code_dim": 8,
    "encoder_sizes": [12],
    "users_per_batch": 16,
    "text_encoder": "lexical",
    "lexical_dim": 16,
    "show_progress": False,
    "epochs": 3,
}


def run(tiny, model="UniRep", arguments=(), **keys):
    return run_recbole(
        model, "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **keys}, arguments=list(arguments)
    )


def untimed(result):
    chosen = dict(result["chosen_on_validation"] or {})
    chosen.pop("seconds", None)
    kept = {key: value for key, value in result.items() if "seconds" not in key and "peak" not in key}
    return {**kept, "chosen_on_validation": chosen}


def full_ranks(config, model, data, batch_size):
    at_once = config["scores_at_once"]
    sizes = {"batch_size": batch_size, "scores_at_once": at_once, "n_top": 0, "device": config["device"]}
    return rank_targets(model, data.test, ["full"], **sizes)["full"].ranks


def command(*arguments, folder):
    code = "import sys; from recbole_unirep.cli import run_recbole; sys.exit(run_recbole())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )


def test_a_run_writes_its_folder(tiny, tmp_path, capsys):
    result = run(tiny)
    (folder,) = (tmp_path / "runs").iterdir()
    written = {"config.yaml", "environment.json", "log.txt", "metrics.jsonl", "result.json"}
    assert {path.name for path in folder.iterdir()} == {
        *written, "last.pt", "lock", "model.pt", "ranks.npz", "tensorboard"
    }  # fmt: skip
    assert read_result(folder) == result
    assert set(result["test_result"]) == {"uni99", "full", "full_unseen"}
    assert {"hit@10", "ndcg@10", "mrr"} <= set(result["test_result"]["uni99"])
    assert result["text_encoder"] == "lexical"
    assert len(result["dataset_fingerprint"]) == len(result["candidates_hash"]) == 64
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2]
    assert {
        "recommendation_loss",
        "reconstruction_loss",
        "codebook_usage_1",
        "perplexity_3",
    } <= set(epochs[0])
    assert yaml.safe_load((folder / "config.yaml").read_text())["codebook_size"] == 8
    for name in ("model.pt", "last.pt"):
        torch.load(folder / name, weights_only=True)
    printed = capsys.readouterr().out.rstrip().splitlines()
    assert printed[-1] == str(folder.relative_to(tmp_path))
    assert "reconstruction_loss" in (folder / "log.txt").read_text()
    assert "\x1b" not in (folder / "log.txt").read_text()


def test_runs_are_equal_for_equal_seeds_and_differ_for_different_seeds(tiny):
    first, second, other = run(tiny), run(tiny), run(tiny, seed=7)
    assert untimed(first) == untimed(second)
    assert first["best_valid_result"] != other["best_valid_result"]


@pytest.mark.parametrize("keys", [{}, {"eval_step": 0}, {"training_rows": "prefix"}, {"backbone": "Caser"}])
def test_a_checkpoint_has_the_codes_of_its_weights(tiny, tmp_path, keys):
    """Training does not read codes: they are fitted before an epoch is ranked or stored."""
    run(tiny, run_dir=str(tmp_path / "run"), epochs=2, **keys)
    _, model, _ = load_data_and_model(tmp_path / "run")
    quantizer = model.item_embedding.tokenizer.quantizer
    stored = quantizer.codebooks.clone()
    quantizer.codebooks.zero_()
    model.fit_codes()
    assert stored.any() and torch.equal(quantizer.codebooks, stored)


def test_two_runs_started_in_the_same_second_get_separate_folders(tiny, tmp_path, monkeypatch):
    class Frozen(quick_start.create_run_folder.__globals__["datetime"]):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setitem(quick_start.create_run_folder.__globals__, "datetime", Frozen)
    run(tiny, epochs=1)
    run(tiny, epochs=1)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "tiny-UniRep-20260102-030405",
        "tiny-UniRep-20260102-030405-1",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"loss_type": "BCE", "dead_code_steps": 3},
        {"training_rows": "prefix"},
        {"table_gradient_share": 0.5},
        {"codebook_update": "ema", "dead_code_steps": 3},
    ],
)
def test_a_resumed_run_gives_the_numbers_of_an_uninterrupted_one(tiny, tmp_path, monkeypatch, capsys, keys):
    whole = run(tiny, epochs=4, run_dir=str(tmp_path / "whole"), **keys)
    train_epoch = EngineTrainer._train_epoch

    def interrupted(self, train_data, epoch_idx, *args, **kwargs):
        if epoch_idx == 2:
            raise KeyboardInterrupt
        return train_epoch(self, train_data, epoch_idx, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EngineTrainer, "_train_epoch", interrupted)
        run(tiny, epochs=4, run_dir=str(tmp_path / "part"), **keys)
    printed = capsys.readouterr().out
    assert f"run_recbole --resume={tmp_path / 'part'}" in printed
    assert (tmp_path / "part" / "model.pt").is_file()
    resumed = run_recbole(arguments=[f"--resume={tmp_path / 'part'}"])
    assert untimed(resumed) == untimed(whole)
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "part")]
    losses = [[json.loads(line)["train_loss"] for line in part] for part in lines]
    assert losses[0] == losses[1]


def test_resume_rejects_other_settings(tiny, tmp_path):
    run(tiny, run_dir=str(tmp_path / "done"), epochs=1)
    with pytest.raises(ValueError, match="continues a run with its own settings, found learning_rate"):
        run_recbole(arguments=[f"--resume={tmp_path / 'done'}", "--learning_rate=1"])
    with pytest.raises(FileNotFoundError, match="holds no run"):
        run_recbole(arguments=[f"--resume={tmp_path / 'nothing'}"])


@pytest.mark.parametrize("model", ["UniRep", "SASRec", "BPR", "ItemKNN"])
def test_a_loaded_run_gives_the_same_ranks(tiny, tmp_path, model):
    result = run(tiny, model, run_dir=str(tmp_path / "done"), epochs=2)
    config, model, data = load_data_and_model(tmp_path / "done")
    ranks = full_ranks(config, model, data, 64)
    again = full_ranks(config, model, data, 7)
    assert torch.equal(ranks, again)
    assert round((ranks <= 10).double().mean().item(), 6) == result["test_result"]["full"]["hit@10"]
    assert data.fingerprint == result["dataset_fingerprint"]


def test_a_run_stores_the_rank_of_every_user(tiny, tmp_path):
    results = {name: run(tiny, name, run_dir=str(tmp_path / name), epochs=1) for name in ("SASRec", "BPR")}
    kept = {name: read_ranks(tmp_path / name) for name in results}
    assert kept["SASRec"].users.tolist() == kept["BPR"].users.tolist() == sorted(f"u{user}" for user in range(60))
    for name, result in results.items():
        assert set(kept[name].ranks) == set(result["test_result"])
        for protocol, ranks in kept[name].ranks.items():
            assert ranks.dtype == np.int32
            assert round((ranks <= 10).mean(), 6) == result["test_result"][protocol]["hit@10"]
            assert round((1 / ranks).mean(), 6) == result["test_result"][protocol]["mrr"]
    config, model, data = load_data_and_model(tmp_path / "BPR")
    ranks = full_ranks(config, model, data, 64)
    tokens = data.test.user_tokens[data.test.targets.users.numpy()]
    assert dict(zip(tokens, ranks.tolist())) == dict(
        zip(*map(np.ndarray.tolist, (kept["BPR"].users, kept["BPR"].ranks["full"])))
    )


def test_changed_data_are_an_error(tiny, tmp_path):
    run(tiny, "SASRec", run_dir=str(tmp_path / "done"), epochs=1)
    lines = (tiny / "tiny.inter").read_text().splitlines(keepends=True)
    (tiny / "tiny.inter").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match="was trained on data with fingerprint"):
        load_data_and_model(tmp_path / "done")
    with pytest.raises(ValueError, match="was trained on data with fingerprint"):
        run_recbole(arguments=[f"--resume={tmp_path / 'done'}"])


@pytest.mark.slow
def test_every_kind_of_model_is_ranked_on_the_same_targets_and_candidates(tiny):
    results = [run(tiny, model, epochs=1, protocol="uni99") for model in ("UniRep", "SASRec", "GRU4Rec", "BPR", "Pop")]
    assert len({result["dataset_fingerprint"] for result in results}) == 1
    assert len({result["candidates_hash"] for result in results}) == 1


def test_a_model_without_an_item_table_reports_none(tiny):
    assert run(tiny, "FM", epochs=1, protocol="uni99")["item_table_parameters"] is None
    assert run(tiny, "SASRec", epochs=1, protocol="uni99")["item_table_parameters"] == 118 * 64


@pytest.mark.parametrize("representation", ["semantic", "id", "text", "text_id"])
def test_every_representation_runs(tiny, representation):
    result = run(tiny, representation=representation, epochs=1)
    assert bool(result["codebook"]) == (representation == "semantic")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=UniRap"], "'UniRap'.*UniRep"),
        (["--model=UniRep", "--id_embeding_size=8"], "id_embeding_size.*id_embedding_size"),
        (["--model=UniRep", "--epochs"], "--epochs has no value: write --epochs=VALUE"),
        (["--model=UniRep", "--epochs=abc"], "epochs=abc is not a number"),
        (["--model=UniRep", "--epochs=1.5"], "epochs=1.5 is not a whole number"),
        (["--model=UniRep", "--learning_rate=abc"], "learning_rate=abc is not a number"),
        (["--model=UniRep", "--users_per_batch=0"], "users_per_batch=0 is too small"),
        (["--model=UniRep", "--codebook_size=0"], "codebook_size=0 is too small"),
        (["--model=UniRep", "--level_metrics=cosine"], "level_metrics=cosine is not a list"),
        (["--model=UniRep", "--eval_args={'mode': 'uni50', 'order': 'TO'}"], "mode uni50.*protocol"),
        (["--model=LightGBM"], "LightGBM.*pip install lightgbm"),
        (["--model=UniRep", "--protocol=uni98"], "protocol=uni98.*uni99"),
        (["--model=UniRep", "--text_encoder=nowhere/nothing"], "nowhere/nothing"),
        (["--model=UniRep", "--valid_metric=NDCG@7"], "valid_metric=NDCG@7"),
        (["--model=SASRec", "--loss_type=TOP1"], "loss_type"),
        (["--model=Caser", "--loss_type=BCE"], "loss_type"),
        (["--model=Caser", "--loss_type=SSM"], "Caser with loss_type=SSM.*SASRec, GRU4Rec"),
        (["--model=UniRep", "--loss_type=SSM", "--shared_negatives=0"], "shared_negatives=0 is too small"),
        (["--model=UniRep", "--training_rows=users"], "training_rows=users.*user, target or prefix"),
        (["--model=SASRec", "--metrics=[AUC]", "--valid_metric=auc"], "AUC evaluate labelled pairs.*protocol=recbole"),
        (["--model=SASRec", "--metrics=[Hit,AUC]"], "AUC evaluate labelled pairs, Hit evaluate rankings: use one kind"),
        (["--model=SASRec", "--metrics=[Hits]"], "Hits is not known: choose from AUC"),
        (["--model=SASRec", "--tie_order=random"], "tie_order=random.*file or shuffled"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(tiny, tmp_path, arguments, message):
    before = sorted(path for path in tmp_path.rglob("*") if "data" not in path.parts)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        run_recbole(arguments=["--dataset=tiny", f"--data_path={tiny.parent}", "--show_progress=False", *arguments])
    assert "\n" not in str(caught.value)
    assert sorted(path for path in tmp_path.rglob("*") if "data" not in path.parts) == before


@pytest.mark.slow
def test_the_command_exits_with_2_and_one_line(tiny, tmp_path):
    answer = command("--model=UniRep", "--dataset=tiny", f"--data_path={tiny.parent}", "--epochss=1", folder=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    assert answer.stderr.startswith("run_recbole: ")
    assert "epochs" in answer.stderr
    assert not (tmp_path / "runs").exists()


def test_a_missing_item_file_is_an_error(tiny):
    (tiny / "tiny.item").unlink()
    with pytest.raises(FileNotFoundError, match="tiny.item"):
        run(tiny)


NAMED = ["SASRec", "GRU4Rec", "Caser", "BERT4Rec", "HGN", "FDSA", "SASRecF", "FM", "S3Rec"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [f"--model={model}" for model in NAMED]
    + [f"--model=UniRep --backbone={name}" for name in ("SASRec", "GRU4Rec", "Caser", "BERT4Rec", "NARM")],
)
def test_every_baseline_and_backbone_trains_one_epoch_of_ml_100k_and_ranks(arguments):
    """Only users with few interactions and short histories, so that slow models take seconds."""
    few = ["--dataset=ml-100k", "--user_inter_num_interval=[20,30]", "--MAX_ITEM_LIST_LENGTH=8", "--epochs=1"]
    once = ["--pretrain_epochs=1"] if "S3Rec" in arguments else []
    result = run_recbole(arguments=[*few, *once, *arguments.split(), "--show_progress=False"])
    for metrics in result["test_result"].values():
        assert 0 <= metrics["hit@10"] <= 1
        assert 0 < metrics["mrr"] < 1

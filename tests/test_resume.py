"""A run that was interrupted or moved continues to the numbers of an uninterrupted run."""

import json
import shutil

import pytest
import torch
import yaml

from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.training.trainer import EngineTrainer

pytestmark = pytest.mark.slow  # runs are trained twice

SMALL = {"show_progress": False, "epochs": 2, "pretrain_epochs": 2, "MAX_ITEM_LIST_LENGTH": 5, "hidden_size": 8}


def run(tiny, model, **keys):
    return run_recbole(model, "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **keys})


def untimed(result):
    return {key: value for key, value in result.items() if "seconds" not in key and "peak" not in key}


def lines(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if "seconds" not in key} for record in records]


@pytest.mark.parametrize("interrupted_at", [1, 2, 3])
def test_s3rec_resumes_within_both_stages_and_between_them(tiny, tmp_path, monkeypatch, interrupted_at):
    whole = run(tiny, "S3Rec", run_dir=str(tmp_path / "whole"))
    train_epoch, calls = EngineTrainer._train_epoch, []

    def interrupted(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == interrupted_at + 1:
            raise KeyboardInterrupt
        return train_epoch(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(EngineTrainer, "_train_epoch", interrupted)
        run(tiny, "S3Rec", run_dir=str(tmp_path / "part"))
    resumed = run_recbole(arguments=[f"--resume={tmp_path / 'part'}"])
    assert untimed(resumed) == untimed(whole)
    assert lines(tmp_path / "part") == lines(tmp_path / "whole")
    assert [line.get("stage") for line in lines(tmp_path / "part")] == ["pretrain", "pretrain", None, None]
    epochs = [json.loads(line) for line in (tmp_path / "part" / "metrics.jsonl").read_text().splitlines()]
    for name, part in (("pretrain_seconds", epochs[:2]), ("train_seconds", epochs[2:])):
        assert resumed[name] == pytest.approx(sum(epoch["train_seconds"] for epoch in part), abs=0.01)
    kept = [torch.load(tmp_path / "part" / name, weights_only=True) for name in ("pretrained.pt", "last.pt")]
    assert resumed["pretrain_seconds"] < kept[0]["seconds"] < kept[1]["seconds"] < resumed["seconds"]


def test_pretraining_logs_its_losses_by_name_and_its_seconds(tiny, tmp_path):
    result = run(tiny, "S3Rec", epochs=1, run_dir=str(tmp_path / "run"))
    pretrained, _, finetuned = lines(tmp_path / "run")
    weights = {"associated_attribute": 0.2, "masked_item": 1.0, "masked_attribute": 1.0, "segment": 0.5}
    assert pretrained["train_loss"] == pytest.approx(sum(w * pretrained[f"{name}_loss"] for name, w in weights.items()))
    assert "segment_loss" not in finetuned
    assert result["pretrain_seconds"] > 0
    assert run(tiny, "SASRec", epochs=1)["pretrain_seconds"] is None


def test_more_epochs_are_written_to_the_config_and_all_seconds_count(tiny, tmp_path):
    folder = tmp_path / "run"
    first = run(tiny, "SASRec", run_dir=str(folder))
    longer = run_recbole(arguments=[f"--resume={folder}", "--epochs=3"])
    assert untimed(longer) == untimed(run(tiny, "SASRec", epochs=3, run_dir=str(tmp_path / "whole")))
    kept = yaml.safe_load((folder / "config.yaml").read_text())
    assert (kept["epochs"], kept["resume"], kept["run_dir"]) == (3, None, None)
    assert longer["seconds"] > first["train_seconds"]


def test_a_run_can_be_loaded_and_resumed_after_its_data_were_moved(tiny, tmp_path):
    folder = tmp_path / "run"
    result = run(tiny, "SASRec", run_dir=str(folder))
    shutil.move(str(tiny.parent), str(tmp_path / "elsewhere"))
    _, _, data = load_data_and_model(folder, data_path=tmp_path / "elsewhere")
    assert data.fingerprint == result["dataset_fingerprint"]
    resumed = run_recbole(arguments=[f"--resume={folder}", f"--data_path={tmp_path / 'elsewhere'}"])
    assert untimed(resumed) == untimed(result)


def test_a_run_without_ranking_reports_it(tiny, tmp_path, capsys):
    result = run(tiny, "SASRec", protocol=[], eval_step=0, epochs=1, run_dir=str(tmp_path / "run"))
    assert (result["best_valid_score"], result["best_valid_result"], result["test_result"]) == (None, None, {})
    assert "nothing was ranked" in capsys.readouterr().out
    assert "Infinity" not in (tmp_path / "run" / "result.json").read_text()


def test_losses_are_logged_before_weighting(tiny, tmp_path):
    small = {
        "text_encoder": "lexical",
        "lexical_dim": 8,
        "code_dim": 8,
        "n_levels": 3,
        "codebook_size": 4,
        "encoder_sizes": [8],
    }
    keys = {**small, "epochs": 1, "protocol": [], "n_heads": 1, "hidden_size": 64}
    run(tiny, "UniRep", **keys, quantization_weight=100.0, run_dir=str(tmp_path / "run"))
    (epoch,) = lines(tmp_path / "run")
    parts = [epoch[f"{name}_loss"] for name in ("recommendation", "quantization", "reconstruction")]
    assert epoch["train_loss"] == pytest.approx(parts[0] + 100 * parts[1] + parts[2], rel=1e-5)

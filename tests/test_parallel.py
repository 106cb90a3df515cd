"""Two processes train the same model as one process: equal gradients, equal codes in every process, equal ranks."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from recbole.utils import init_seed

from recbole_unirep import parallel, read_ranks
from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring.evaluation import rank_targets
from recbole_unirep.training.data_parallel import SharedLoader
from recbole_unirep.training.trainer import RECBOLE_LOADERS, EngineTrainer

pytestmark = pytest.mark.slow  # several processes train

CHECKOUT = Path(__file__).resolve().parent.parent
STILL = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
SMALL = {
    "n_levels": 3,
    "codebook_size": 8,
    "code_dim": 8,
    "encoder_sizes": [12],
    "users_per_batch": 25,
    "train_batch_size": 101,
    "text_encoder": "lexical",
    "lexical_dim": 16,
    "MAX_ITEM_LIST_LENGTH": 5,
    "show_progress": False,
    "epochs": 2,
}
BEST = {
    "similarity": "cosine",
    "repeat_bias": True,
    "transition_bias": 2,
    "history_similarity": 2.0,
    "popularity_bias": 0.5,
    "local_convolution": 3,
    "fusion": "mlp",
}
GENERATIVE = {"decoder_only": True, "n_layers": 1, "n_heads": 2, "head_size": 4, "dropout_prob": 0.0, "num_beams": 20}
CASES = {
    "SASRec, softmax": {"model": "SASRec"},
    "SASRec, BCE": {"model": "SASRec", "loss_type": "BCE"},
    "UniRep, softmax": {"model": "UniRep"},
    "UniRep, BCE": {"model": "UniRep", "loss_type": "BCE", "dead_code_steps": 1},
    "UniRep, text and ID": {"model": "UniRep", "representation": "text_id"},
    "UniRep, projected": {"model": "UniRep", "fusion": "project"},
    "UniRep, perceptron": {"model": "UniRep", "fusion": "mlp"},
    "UniRep, repeats": {"model": "UniRep", **BEST},
    "UniRep, repeats and sampled softmax": {"model": "UniRep", "loss_type": "SSM", "shared_negatives": 20, **BEST},
    "UniRep, repeats and prefixes": {"model": "UniRep", **BEST, "training_rows": "prefix", "transition_bias": 0},
    "SASRec, sampled softmax": {"model": "SASRec", "loss_type": "SSM", "shared_negatives": 20},
    "Caser": {"model": "Caser"},
    "HGN": {"model": "HGN", "reg_weight": [0.1, 0.2]},
    "SASRec, prefixes": {"model": "SASRec", "training_rows": "prefix"},
    "UniRep, prefixes": {"model": "UniRep", "backbone": "Caser"},
    "general": {"model": "BPR"},
    "LIGER": {"model": "LIGER", **GENERATIVE},
}


def gradients(keys, run_dir):
    """Returns the gradients of every step of an epoch with learning rate 0, and the epoch's mean losses."""
    keys = {**SMALL, **STILL, "enable_amp": False, "learning_rate": 0.0, "run_dir": run_dir, **keys}
    config = Config(keys.pop("model"), "tiny", config_dict=keys)
    init_seed(1, True)
    data = load_data(config, one_row_a_user=trains_rows(config))
    trainer = EngineTrainer(config, build_model(config, data.train))
    steps, step = [], trainer.optimizer.step

    def keep(*args, **kwargs):
        found = {name: part.grad for name, part in trainer.model.named_parameters() if part.grad is not None}
        steps.append({name: gradient.clone() for name, gradient in found.items()})
        return step(*args, **kwargs)

    trainer.optimizer.step = keep
    losses = trainer._train_epoch(data.train_data, 0)
    return steps, losses


def gradients_of_all(data_path, run_dir):
    return {case: gradients({**keys, "data_path": data_path}, run_dir) for case, keys in CASES.items()}


def test_every_step_has_the_gradients_of_one_process(tiny, tmp_path):
    folders = (str(tiny.parent), str(tmp_path))
    alone, together = gradients_of_all(*folders), parallel.spawn(gradients_of_all, 2, folders)
    for case in CASES:
        (steps, losses), (shared_steps, shared_losses) = alone[case], together[case]
        assert len(steps) == len(shared_steps) > 1
        assert shared_losses == pytest.approx(losses, rel=1e-5)
        for one, two in zip(steps, shared_steps):
            assert one.keys() <= two.keys()  # an unused parameter may have a gradient of zeros
            for name, gradient in two.items():
                expected = one.get(name, torch.zeros_like(gradient))
                largest = expected.abs().amax().item() if expected.numel() else 0.0
                torch.testing.assert_close(
                    gradient, expected, rtol=1e-5, atol=3e-5 * largest + 1e-9, msg=f"{case}: {name}"
                )


def trained(keys):
    """Trains a run; returns its result, True if all processes have equal models and codes, and the number of epochs."""
    seen = []
    train_epoch = EngineTrainer._train_epoch

    def watch(self, *args, **kwargs):
        losses = train_epoch(self, *args, **kwargs)
        state = {name: part.double().sum().item() for name, part in self.model.state_dict().items()}
        seen.append((state, self.model.item_embedding.codes().tolist()))
        return losses

    EngineTrainer._train_epoch = watch
    result = run_recbole("UniRep", "tiny", config_dict=keys)
    everywhere = parallel.gathered(seen)
    return result, all(part == everywhere[0] for part in everywhere), len(seen)


@pytest.mark.parametrize(("loss_type", "codebook_update"), [("CE", "gradient"), ("BCE", "ema")])
def test_codes_codebooks_and_counts_are_the_same_in_every_process(tiny, tmp_path, loss_type, codebook_update):
    keys = {**SMALL, "data_path": str(tiny.parent), "loss_type": loss_type, "dead_code_steps": 2}
    keys["codebook_update"] = codebook_update
    result, same, n_epochs = parallel.spawn(trained, 2, ({**keys, "run_dir": str(tmp_path / "run")},))
    assert same and n_epochs == 2
    assert 0 < result["codebook"]["codebook_usage_1"] <= 1


def test_two_processes_reach_the_loss_of_one_process(tiny, tmp_path):
    """With dropout, the loss after two epochs lies within the spread of single-process runs over six seeds.

    Three seeds would be too few to estimate this spread.
    """
    seeds = (2020, 1, 2, 3, 4, 5)
    keys = {**SMALL, "data_path": str(tiny.parent)}
    losses = {}
    for name, changes in {"two": {"nproc": 2}, **{seed: {"seed": seed} for seed in seeds}}.items():
        run_recbole("SASRec", "tiny", config_dict={**keys, **changes, "run_dir": str(tmp_path / str(name))})
        lines = (tmp_path / str(name) / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 2
        losses[name] = json.loads(lines[-1])["train_loss"]
    alone = [losses[seed] for seed in seeds]
    assert abs(losses["two"] - statistics.mean(alone)) < 4 * statistics.stdev(alone)


def ranks_of(run):
    config, model, data = load_data_and_model(run)
    protocols = ["uni99", "full", "full_unseen"]
    sizes = {"batch_size": 7, "scores_at_once": 10_000, "n_top": 10, "device": "cpu"}
    rankings = rank_targets(model, data.test, protocols, **sizes)
    return {name: [part.tolist() for part in ranking] for name, ranking in rankings.items()}  # the best items too


def test_a_checkpoint_gives_the_same_ranks_in_one_process_and_in_two(tiny, tmp_path):
    run = tmp_path / "run"
    keys = {**SMALL, "data_path": str(tiny.parent), "nproc": 2, "run_dir": str(run)}
    result = run_recbole("UniRep", "tiny", config_dict=keys)
    alone = ranks_of(run)
    assert alone == parallel.spawn(ranks_of, 2, (str(run),))
    ranks = alone["full"][0]
    hits = sum(rank <= 10 for rank in ranks) / len(ranks)
    assert round(hits, 6) == result["test_result"]["full"]["hit@10"]
    assert sorted(read_ranks(run).ranks["full"].tolist()) == sorted(ranks)


def test_a_run_resumed_by_torchrun_gives_the_same_numbers(tiny, tmp_path):
    code = "import sys; from recbole_unirep.cli import run_recbole; sys.exit(run_recbole())"
    (tmp_path / "run.py").write_text(code)
    keys = {**SMALL, "model": "SASRec", "dataset": "tiny", "data_path": tiny.parent, "epochs": 1}
    base = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "run.py"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}

    def start(*arguments):
        done = subprocess.run([*base, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    start(*(f"--{key}={value}" for key, value in keys.items()), "--run_dir=part")
    start("--resume=part", "--epochs=2")
    start(*(f"--{key}={value}" for key, value in {**keys, "epochs": 2}.items()), "--run_dir=whole")
    part, whole = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("part", "whole"))
    assert part["test_result"] == whole["test_result"]
    with pytest.raises(ValueError, match="was written by 2 processes, found 1: resume it with 2 processes"):
        run_recbole(arguments=[f"--resume={tmp_path / 'part'}", "--epochs=3"])


def test_an_error_in_several_processes_is_reported_once_by_the_main_process(tiny):
    with pytest.raises(ValueError, match="is not known: choose"):
        run_recbole("SASRec", "tiny", config_dict={**SMALL, "data_path": str(tiny.parent), "nproc": 2, "protocol": "x"})
    with pytest.raises(ValueError, match=r"Pop \(TraditionalTrainer\) trains in one process"):
        run_recbole("Pop", "tiny", config_dict={**SMALL, "data_path": str(tiny.parent), "nproc": 2})


def test_a_process_without_rows_has_weight_0(tiny, tmp_path):
    config = Config("SASRec", "tiny", config_dict={**SMALL, "data_path": str(tiny.parent)})
    rows = load_data(config, one_row_a_user=True).train_data
    rows.rows_per_batch = 1
    batch = next(iter(rows))
    assert [batch.share(rank, 2).weight for rank in (0, 1)] == [1.0, 0.0]
    assert torch.equal(batch.share(1, 2).batch.targets, batch.targets)
    assert isinstance(SharedLoader([batch]), SharedLoader) and RECBOLE_LOADERS

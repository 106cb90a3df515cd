"""The engine: resuming, early stopping, clipping, the epoch log, and RecBole's special trainers combined with it."""

import json

import numpy as np
import pytest
import torch
from recbole.trainer import DecisionTreeTrainer, NCLTrainer, S3RecTrainer, Trainer
from recbole.utils import get_trainer

from recbole_unirep.data.split import load_data
from recbole_unirep.runs.folder import BEST, LAST
from recbole_unirep.training.epoch_log import with_lowest_levels
from recbole_unirep.training.pretraining import Pretraining
from recbole_unirep.training.recbole_trainers import trainer_class
from recbole_unirep.training.trainer import EngineTrainer


@pytest.fixture
def make_trainer(load):
    """Builds a trainer with its own run folder, and its data."""

    def make(folder, model, **keys):
        folder.mkdir(exist_ok=True)
        config, data, model = load(model, run_dir=str(folder), **keys)
        return trainer_class(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model), data

    return make


def records(folder):
    """Records of metrics.jsonl, without the measured seconds."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if "seconds" not in key} for line in lines]


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("SASRec", {"loss_type": "CE"}),
        ("SASRec", {"loss_type": "BCE"}),
        ("GRU4Rec", {"loss_type": "SSM", "shared_negatives": 20, "negative_distribution": "popularity"}),
        ("GRU4Rec", {"training_rows": "prefix", "loss_type": "BPR", "dropout_prob": 0.3}),
        ("BPR", {}),
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one(make_trainer, tmp_path, model, keys):
    whole, data = make_trainer(tmp_path / "whole", model, epochs=4, **keys)
    result = whole.fit(data.train_data, data.valid)
    part, data = make_trainer(tmp_path / "part", model, epochs=2, **keys)
    part.fit(data.train_data, data.valid)

    resumed, data = make_trainer(tmp_path / "part", model, epochs=4, **keys)
    torch.manual_seed(99), np.random.seed(99)
    with open(tmp_path / "part" / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"epoch": 2, "train_loss": 0}\n{"epoch": 3, "tra')  # killed in the middle of a line
    resumed.resume(data.train_data)
    assert resumed.start_epoch == 2 and resumed.train_seconds == part.train_seconds
    assert resumed.fit(data.train_data, data.valid) == result
    assert resumed.train_seconds > part.train_seconds
    assert records(tmp_path / "part") == records(tmp_path / "whole")
    for name in (BEST, LAST):
        states = [torch.load(tmp_path / run / name, weights_only=True) for run in ("whole", "part")]
        assert states[0]["epoch"] == states[1]["epoch"]
        for key, value in states[0]["state_dict"].items():
            assert torch.equal(value, states[1]["state_dict"][key]), key
    assert states[0]["optimizer"]["state"][0]["step"] == states[1]["optimizer"]["state"][0]["step"] > 0


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("UniRep", {"representation": "text_id", "fusion": "project"}),
        ("UniRep", {"representation": "id", "fusion": "project"}),
        ("UniRep", {"tokenizer": "RQKMeans", "n_levels": 2, "codebook_size": 8, "fusion": "project"}),
        ("LIGER", {"n_levels": 2, "codebook_size": 8}),
    ],
)
def test_ranking_after_an_epoch_reads_the_weights_of_that_epoch(make_trainer, tmp_path, model, keys):
    keys = {**keys, "text_encoder": "lexical", "lexical_dim": 16, "epochs": 3, "stopping_step": 3}
    trainer, data = make_trainer(tmp_path / "run", model, **keys)
    trainer.fit(data.train_data, data.valid)  # ranks the validation items after every epoch
    (kept,) = trainer.evaluate(data.valid, load_best_model=False).values()
    fresh, _ = make_trainer(tmp_path / "fresh", model, **keys)
    fresh.model.load_state_dict(trainer.model.state_dict())
    fresh.model.eval()
    assert fresh.evaluate(data.valid, load_best_model=False) == {"full": kept}


@pytest.mark.parametrize("learner", ["adam", "adamw", "sgd", "adagrad", "rmsprop"])
def test_every_learner_of_recbole_trains(make_trainer, tmp_path, learner):
    trainer, data = make_trainer(tmp_path, "SASRec", learner=learner, epochs=1)
    weight = trainer.model.item_embedding.weight
    before, version = weight.detach().clone(), weight._version
    trainer.fit(data.train_data, data.valid)
    assert not torch.equal(weight, before) and weight.isfinite().all() and weight._version > version


def scripted(trainer, scores):
    """Replaces the trainer's validation by a list of scores."""
    scores = iter(scores)
    trainer._valid_epoch = lambda *_: (lambda score: (score, {"ndcg@10": score}))(next(scores))
    return trainer


def test_early_stopping_survives_an_interruption(make_trainer, tmp_path):
    whole, data = make_trainer(tmp_path / "whole", "SASRec", epochs=9, stopping_step=2)
    assert scripted(whole, [0.1, 0.3, 0.2, 0.2, 0.2, 0.9]).fit(data.train_data, data.valid)[0] == 0.3
    assert [record["epoch"] for record in records(tmp_path / "whole")] == [0, 1, 2, 3, 4]
    assert torch.load(tmp_path / "whole" / BEST, weights_only=True)["epoch"] == 1

    part, data = make_trainer(tmp_path / "part", "SASRec", epochs=4, stopping_step=2)
    scripted(part, [0.1, 0.3, 0.2, 0.2]).fit(data.train_data, data.valid)
    resumed, data = make_trainer(tmp_path / "part", "SASRec", epochs=9, stopping_step=2)
    resumed.resume(data.train_data)
    assert resumed.cur_step == 2
    assert scripted(resumed, [0.2, 0.9]).fit(data.train_data, data.valid) == (0.3, {"ndcg@10": 0.3})
    assert records(tmp_path / "part") == records(tmp_path / "whole")

    stopped, data = make_trainer(tmp_path / "part", "SASRec", epochs=9, stopping_step=2)
    stopped.resume(data.train_data)
    assert scripted(stopped, []).fit(data.train_data, data.valid)[0] == 0.3  # early stopping had ended the run


def test_validation_every_second_epoch_and_none_at_all(make_trainer, tmp_path):
    trainer, data = make_trainer(tmp_path / "second", "SASRec", epochs=4, eval_step=2)
    trainer.fit(data.train_data, data.valid)
    assert ["valid_score" in record for record in records(tmp_path / "second")] == [False, True, False, True]
    for name, keys, valid in (("none", {}, None), ("zero", {"eval_step": 0}, data.valid)):
        trainer, data = make_trainer(tmp_path / name, "SASRec", epochs=2, **keys)
        trainer.fit(data.train_data, valid)
        assert not any("valid_score" in record for record in records(tmp_path / name))
        assert torch.load(tmp_path / name / BEST, weights_only=True)["epoch"] == 1


def test_a_resumed_run_that_ends_before_its_first_validation_has_a_checkpoint(make_trainer, tmp_path):
    part, data = make_trainer(tmp_path / "part", "SASRec", epochs=9, eval_step=5)
    train_epoch = part._train_epoch

    def interrupted(train_data, epoch, **keys):
        if epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(train_data, epoch, **keys)

    part._train_epoch = interrupted
    with pytest.raises(KeyboardInterrupt):
        part.fit(data.train_data, data.valid)
    assert not (tmp_path / "part" / BEST).exists()
    resumed, data = make_trainer(tmp_path / "part", "SASRec", epochs=2, eval_step=5)
    resumed.resume(data.train_data)
    assert resumed.fit(data.train_data, data.valid)[1] is None
    assert torch.load(tmp_path / "part" / BEST, weights_only=True)["epoch"] == 1


def test_gradients_are_clipped(make_trainer, tmp_path):
    def moved(name, **keys):
        keys = {"learner": "sgd", "learning_rate": 1.0, "epochs": 1, "users_per_batch": 100, **keys}
        trainer, data = make_trainer(tmp_path / name, "SASRec", **keys)
        before = torch.nn.utils.parameters_to_vector(trainer.model.parameters()).detach()
        trainer.fit(data.train_data)
        return (torch.nn.utils.parameters_to_vector(trainer.model.parameters()) - before).norm().item()

    assert moved("clipped", clip_grad_norm={"max_norm": 0.01}) == pytest.approx(0.01, rel=1e-3)
    assert moved("free") > 0.02


def test_every_epoch_writes_one_line(make_trainer, tmp_path):
    trainer, data = make_trainer(tmp_path / "run", "SASRec", epochs=2, topk=[10], metrics=["NDCG"])
    seen = []
    score, best = trainer.fit(data.train_data, data.valid, callback_fn=lambda *found: seen.append(found))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    keys = ["epoch", "train_seconds", "train_loss", "valid_seconds", "valid_score", "ndcg@10", "mrr"]
    assert [list(line) for line in lines] == [keys, keys]
    assert [line["epoch"] for line in lines] == [0, 1]
    assert 4 < lines[0]["train_loss"] < 6  # softmax over 119 items: ln 119 = 4.8 at first
    assert seen == [(line["epoch"], line["valid_score"]) for line in lines]
    assert score == max(line["valid_score"] for line in lines) == best["ndcg@10"]
    assert trainer.train_seconds == pytest.approx(sum(line["train_seconds"] for line in lines))
    assert trainer.evaluate(data.valid)["full"] == best  # of the chosen checkpoint
    assert data.train_data.epoch == 1  # the epoch seeds the order and the negatives
    assert lines[trainer.best_epoch]["valid_score"] == score


@pytest.mark.parametrize("model", ["GRU4Rec", "FDSA"])
def test_the_mean_loss_does_not_depend_on_the_engine(make_trainer, tmp_path, model):
    """With no dropout and learning rate 0, user sequences and prefix rows give the mean over the same targets."""
    keys = {"learning_rate": 0.0, "epochs": 1, "loss_type": "BPR", "dropout_prob": 0.0, "users_per_batch": 100}
    losses = []
    for rows in ("user", "prefix"):
        trainer, data = make_trainer(tmp_path / rows, model, training_rows=rows, train_batch_size=10_000, **keys)
        trainer.model.item_embedding.weight.data.zero_()  # every score is 0
        trainer.fit(data.train_data)
        losses.append(records(tmp_path / rows)[0]["train_loss"])
    assert losses == pytest.approx([np.log(2)] * 2, rel=1e-5)


def test_the_log_marks_each_best_epoch_so_far(make_trainer, tmp_path, caplog):
    caplog.set_level("INFO")
    trainer, data = make_trainer(tmp_path / "run", "SASRec", epochs=6, learning_rate=0.05)
    trainer.fit(data.train_data, data.valid)
    scores = [record["valid_score"] for record in records(tmp_path / "run")]
    best_so_far = [score > max(scores[:epoch], default=0) for epoch, score in enumerate(scores)]
    marked = [line.endswith("  best") for line in caplog.messages if line.startswith("epoch ")]
    assert marked == best_so_far and True in marked and False in marked


def test_no_epoch_of_the_pre_training_is_marked_best(make_trainer, tmp_path, caplog):
    caplog.set_level("INFO")
    trainer, _ = make_trainer(tmp_path / "run", "S3Rec", train_stage="pretrain", pretrain_epochs=2)
    data = load_data(trainer.config, one_row_a_user=False)
    trainer.pretrain(data.train_data)
    lines = [line for line in caplog.messages if line.startswith("stage pretrain")]
    assert len(lines) == 2 and not any(line.endswith("best") for line in lines)


def test_a_diverged_loss_is_an_error(make_trainer, tmp_path):
    trainer, data = make_trainer(tmp_path / "run", "SASRec", epochs=1)
    trainer.model.item_embedding.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="nan"):
        trainer.fit(data.train_data, data.valid)


def test_trainers_that_add_up_epoch_losses_work_with_the_engine(make_trainer, tmp_path):
    """RecBole's RecVAE trainer sums the return values of its epochs."""
    keys = {"hidden_dimension": 8, "latent_dimension": 4, "n_enc_epochs": 1, "n_dec_epochs": 2}
    trainer, data = make_trainer(tmp_path / "run", "RecVAE", epochs=1, **keys)
    trainer.fit(data.train_data, data.valid)
    (record,) = records(tmp_path / "run")
    assert np.isfinite(record["train_loss"]) and "valid_score" in record


def test_the_clustering_step_runs_every_few_epochs(make_trainer, tmp_path):
    """RecBole's NCL needs faiss; its `e_step` is called as often as its own trainer calls it."""
    trainer, data = make_trainer(tmp_path / "run", "SASRec", epochs=5)
    calls = []
    trainer.num_m_step, trainer.model.e_step = 2, lambda: calls.append(len(records(tmp_path / "run")) if calls else 0)
    trainer.fit(data.train_data)
    assert calls == [0, 2, 4]


def test_recboles_special_trainers_keep_their_steps_and_write_our_files(make_trainer, tmp_path):
    assert trainer_class(Trainer) is EngineTrainer
    pretraining = trainer_class(S3RecTrainer)
    assert issubclass(pretraining, EngineTrainer)
    assert (pretraining.fit, pretraining.pretrain) == (S3RecTrainer.fit, Pretraining.pretrain)
    assert trainer_class(NCLTrainer).fit is EngineTrainer.fit
    trainer, _ = make_trainer(tmp_path / "run", "SASRec")
    trainer.__class__ = pretraining
    trainer.save_pretrained_model(3, str(tmp_path / "run" / "pretrained.pt"))
    state = torch.load(tmp_path / "run" / "pretrained.pt", weights_only=True)
    assert state["epoch"] == 3 and torch.equal(state["state_dict"]["LayerNorm.weight"], torch.ones(16))
    with pytest.raises(ValueError, match="does not train by gradients"):
        trainer_class(DecisionTreeTrainer)


def test_the_log_shows_the_lowest_of_many_levels():
    few = {"epoch": 3, "hit@10": 0.5, "codebook_usage_1": 0.5, "codebook_usage_2": 1.0}
    assert with_lowest_levels(few) == few
    many = {f"codebook_usage_{level}": 1 - level / 10 for level in range(1, 7)} | {"epoch": 3, "ndcg@10": 0.1}
    assert with_lowest_levels(many) == {"epoch": 3, "ndcg@10": 0.1, "lowest codebook_usage": 0.4}

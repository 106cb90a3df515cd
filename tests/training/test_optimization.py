"""Optimizer steps: learning rates by hand, clipping with a scaler, sparse rows, mixed precision, compiled networks."""

import json
import math

import pytest
import torch
from recbole.utils import get_trainer

from recbole_unirep.runs.folder import BEST, LAST
from recbole_unirep.training import optimization
from recbole_unirep.training.optimization import SCHEDULES, learning_rate_factor, networks
from recbole_unirep.training.recbole_trainers import trainer_class

TEXT = {"text_encoder": "lexical", "lexical_dim": 8, "n_levels": 3, "codebook_size": 4, "code_dim": 8}
TEXT["encoder_sizes"] = [8]
SHARED = {"loss_type": "SSM", "shared_negatives": 10}


@pytest.fixture
def make_trainer(load, tmp_path):
    """Builds a trainer with its own run folder, and its data."""

    def make(name="run", model="SASRec", **keys):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        config, data, model = load(model, run_dir=str(folder), **(TEXT if model == "UniRep" else {}), **keys)
        return trainer_class(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model), data

    return make


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25, 0]),
        ("cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ("inverse_sqrt", [math.sqrt(2 / place) for place in (3, 4, 5, 6, 7)]),
    ],
)
def test_learning_rates_by_hand(schedule, factors):
    """Two steps of warm-up, four steps after it, and one step beyond the end."""
    found = [learning_rate_factor(schedule, step, 2, 6) for step in range(7)]
    assert found == pytest.approx([0.5, 1, *factors])
    assert learning_rate_factor(schedule, 0, 0, 6) == 1


def test_the_schedule_sets_the_learning_rate_of_every_step(make_trainer, tmp_path):
    keys = {"learner": "sgd", "learning_rate": 0.5, "warmup_steps": 3, "lr_schedule": "linear", "epochs": 2}
    trainer, data = make_trainer(**keys, users_per_batch=15)
    rates, step = [], trainer.optimizer.step
    trainer.optimizer.step = lambda *args, **kw: rates.append(trainer.optimizer.param_groups[0]["lr"]) or step()
    trainer.fit(data.train_data)
    assert len(data.train_data) == 4
    assert rates == pytest.approx([0.5 * share for share in (1 / 3, 2 / 3, 1, 1, 0.8, 0.6, 0.4, 0.2)])
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["learning_rate"] == rates[-1]


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("SASRec", {"warmup_steps": 3, "lr_schedule": "cosine"}),
        ("SASRec", {"sparse_id_table": True, "lr_schedule": "inverse_sqrt", **SHARED}),
        ("GRU4Rec", {"training_rows": "prefix", "loss_type": "BPR", "lr_schedule": "linear", "enable_scaler": True}),
        ("UniRep", {"enable_amp": True, "warmup_steps": 2, "clip_grad_norm": {"max_norm": 0.5}}),
    ],
)
def test_a_resumed_run_takes_the_same_steps(make_trainer, tmp_path, model, keys):
    whole, data = make_trainer("whole", model, epochs=4, **keys)
    whole.fit(data.train_data, data.valid)
    part, data = make_trainer("part", model, epochs=4, **keys)
    part.epochs = 2
    part._train_epoch = _with_epochs(part, 4)
    part.fit(data.train_data, data.valid)
    resumed, data = make_trainer("part", model, epochs=4, **keys)
    resumed.resume(data.train_data)
    assert resumed.optimization.n_steps == 2 * len(data.train_data)
    resumed.fit(data.train_data, data.valid)
    states = [torch.load(tmp_path / run / LAST, weights_only=True)["state_dict"] for run in ("whole", "part")]
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def _with_epochs(trainer, epochs):
    """The trainer's `_train_epoch` with the schedule of `epochs` epochs, although the trainer stops earlier."""
    train_epoch = trainer._train_epoch

    def train(*args, **kwargs):
        trainer.epochs, stopped_at = epochs, trainer.epochs
        try:
            return train_epoch(*args, **kwargs)
        finally:
            trainer.epochs = stopped_at

    return train


@pytest.mark.parametrize("rows", ["user", "prefix"])
def test_a_scaled_gradient_is_clipped_by_its_true_norm(make_trainer, rows):
    """If clipping saw the gradient times the scale of 65,536, every step would be clipped to almost nothing."""
    keys = {"learner": "sgd", "learning_rate": 1.0, "epochs": 1, "training_rows": rows, "loss_type": "CE"}
    keys.update(users_per_batch=100, train_batch_size=10_000, hidden_dropout_prob=0.0, attn_dropout_prob=0.0)

    def moved(name, **more):
        trainer, data = make_trainer(name, **keys, **more)
        before = torch.nn.utils.parameters_to_vector(trainer.model.parameters()).detach()
        trainer.fit(data.train_data)
        return (torch.nn.utils.parameters_to_vector(trainer.model.parameters()) - before).norm().item()

    free = moved("free")
    assert moved("scaled", enable_scaler=True) == pytest.approx(free, rel=1e-3)
    assert moved("loose", enable_scaler=True, clip_grad_norm={"max_norm": 2 * free}) == pytest.approx(free, rel=1e-3)
    assert moved("tight", enable_scaler=True, clip_grad_norm={"max_norm": free / 4}) == pytest.approx(
        free / 4, rel=1e-3
    )


def test_a_run_has_one_scaler_and_saves_it(make_trainer, tmp_path):
    trainer, data = make_trainer(epochs=2, enable_scaler=True)
    trainer.optimization.scaler.set_growth_interval(3)
    trainer.fit(data.train_data)
    grown = 65_536 * 2 ** (2 * len(data.train_data) // 3)
    assert trainer.optimization.scaler.get_scale() == grown > 65_536
    assert torch.load(tmp_path / "run" / LAST, weights_only=True)["optimization"]["scaler"]["scale"] == grown


@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "UniRep"])
def test_bfloat16_gives_nearly_the_loss_of_float32_and_keeps_float32_weights(make_trainer, model, monkeypatch):
    monkeypatch.setattr(optimization, "multiplies_bfloat16", lambda: True)
    keys = {"users_per_batch": 100, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
    losses = []
    for name, enable_amp in (("full", False), ("mixed", True)):
        trainer, data = make_trainer(name, model, enable_amp=enable_amp, epochs=1, **keys)
        seen = set()
        for part_name, part in trainer.model.named_modules():
            if isinstance(part, torch.nn.Linear) and not part_name.startswith("backbone.members"):  # float32 on a CPU
                part.register_forward_hook(lambda module, inputs, output, seen=seen: seen.add(output.dtype))
        losses.append(trainer._train_epoch(data.train_data, 0)[0])
        assert seen == {torch.bfloat16 if enable_amp else torch.float32}
        assert trainer.optimization.precision == ("bfloat16" if enable_amp else "float32")
        assert {part.dtype for part in trainer.model.parameters()} == {torch.float32}
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=2**-8)  # relative rounding error of bfloat16


def test_a_processor_without_bfloat16_trains_in_float32_and_logs_it(make_trainer, monkeypatch, caplog):
    monkeypatch.setattr(optimization, "multiplies_bfloat16", lambda: False)
    losses = []
    for name, enable_amp in (("full", False), ("mixed", True)):
        with caplog.at_level("INFO"):
            trainer, data = make_trainer(name, "SASRec", enable_amp=enable_amp, epochs=1)
        losses.append(trainer._train_epoch(data.train_data, 0)[0])
        assert trainer.optimization.precision == "float32"
    assert losses[0] == losses[1]
    assert "enable_amp is ignored: bfloat16 is slower than float32 on this processor" in caplog.text


@pytest.mark.parametrize("model", ["SASRec", "UniRep"])
def test_a_sparse_step_updates_only_the_rows_it_read_as_adam_does(make_trainer, model):
    moved = []
    for name, sparse in (("dense", False), ("sparse", True)):
        keys = {"users_per_batch": 4, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "epochs": 1, **SHARED}
        trainer, data = make_trainer(name, model, sparse_id_table=sparse, **keys)
        table = getattr(trainer.model.item_embedding, "id_embedding", trainer.model.item_embedding)
        before = table.weight.detach().clone()
        batch = next(iter(data.train_data))
        trainer.optimization.total_steps = 1
        trainer.optimization.step(trainer.optimizer, sum(trainer._losses(batch)))
        moved.append(table.weight.detach() - before)
        assert table.weight.grad.is_sparse == sparse
    items = torch.cat([batch.inputs.flatten(), batch.targets, batch.negatives])
    rows = items[items > 0].unique() - int(model == "UniRep")  # UniRep's table has no padding row
    assert moved[1].any(dim=1).nonzero()[:, 0].tolist() == rows.tolist()
    # Steps are about 0.001. SparseAdam and Adam add epsilon at different places, which matters for tiny gradients.
    torch.testing.assert_close(moved[1], moved[0], rtol=0, atol=5e-5)


def test_a_step_that_reads_every_item_has_sparse_gradients_too(make_trainer):
    trainer, data = make_trainer("sparse", "UniRep", sparse_id_table=True, loss_type="SSM", shared_negatives=5000)
    batch = next(iter(data.train_data))
    sum(trainer._losses(batch)).backward()
    assert len(batch.negatives) == trainer.model.n_items - 1
    assert trainer.model.item_embedding.id_embedding.weight.grad.is_sparse


@pytest.mark.slow
@pytest.mark.parametrize("model", ["SASRec", "UniRep"])
def test_compiled_networks_give_the_same_loss_and_names(make_trainer, tmp_path, model):
    keys = {"users_per_batch": 100, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "epochs": 1}
    plain, data = make_trainer("plain", model, **keys)
    compiled, _ = make_trainer("compiled", model, compile_backend="aot_eager", **keys)
    assert len(networks(compiled.model)) == {"SASRec": 1, "UniRep": 6}[model]  # encoder, decoder, fusion, backbones
    assert all(network._compiled_call_impl is not None for network in networks(compiled.model))
    assert list(compiled.model.state_dict()) == list(plain.model.state_dict())
    losses = [trainer._train_epoch(data.train_data, 0) for trainer in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    compiled._save_checkpoint(0)
    saved = torch.load(tmp_path / "compiled" / BEST, weights_only=True)["state_dict"]
    plain.model.load_state_dict(saved)


@pytest.mark.parametrize(
    ("model", "keys", "message"),
    [
        ("SASRec", {"lr_schedule": "step"}, f"lr_schedule=step.*{', '.join(SCHEDULES)}"),
        ("SASRec", {"warmup_steps": -1}, "warmup_steps=-1 is too small"),
        ("SASRec", {"amp_dtype": "half"}, "amp_dtype=half.*bfloat16, float16"),
        ("SASRec", {"enable_amp": True, "amp_dtype": "float16"}, "float16.*--enable_scaler=True or use bfloat16"),
        ("SASRec", {"compile_backend": "nothing"}, "compile_backend=nothing is not known.*inductor"),
        ("BPR", {"compile_backend": "aot_eager"}, "BPR has no network to compile"),
        ("SASRec", {"sparse_id_table": True}, "loss_type=CE.*every row.*loss_type=SSM"),
        ("SASRec", {"sparse_id_table": True, "weight_decay": 0.1, **SHARED}, "weight_decay=0.1: use learner=adam and"),
        ("SASRec", {"sparse_id_table": True, "learner": "sgd", **SHARED}, "learner=sgd.*use learner=adam"),
        ("SASRec", {"sparse_id_table": True, "clip_grad_norm": {"max_norm": 1}, **SHARED}, "leave clip_grad_norm out"),
        ("BPR", {"sparse_id_table": True}, "BPR has no ID table"),
        ("UniRep", {"sparse_id_table": True, "quantization_items": "catalogue", **SHARED}, "catalogue touch every row"),
        (
            "UniRep",
            {"sparse_id_table": True, "representation": "semantic", "hidden_size": 8, **SHARED},
            "UniRep has no ID table",
        ),
    ],
)
def test_options_that_exclude_each_other_are_an_error(make_trainer, model, keys, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_trainer(model=model, **keys)
    assert "\n" not in str(caught.value)

"""Checkpoints hold only tensors and plain values, load back unchanged, and report damage in one line."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import torch
from recbole.utils import get_trainer

from recbole_unirep.runs.folder import BEST
from recbole_unirep.scoring.evaluation import rank_targets
from recbole_unirep.training import checkpoint
from recbole_unirep.training.checkpoint import load_weights
from recbole_unirep.training.recbole_trainers import trainer_class

CPU = torch.device("cpu")


def full_ranks(model, data):
    sizes = {"batch_size": 25, "scores_at_once": 10_000, "n_top": 0, "device": CPU}
    return rank_targets(model, data.test, ["full"], **sizes)["full"].ranks


def test_a_checkpoint_loads_with_weights_only(tmp_path):
    state = {"epoch": 3, "weights": torch.arange(3.0), "nested": {"score": 0.5, "none": None, "list": [1, "two"]}}
    checkpoint.save(state, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=True)
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))
    assert loaded == state
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_kill_while_saving_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    checkpoint.save({"epoch": 1}, tmp_path / "model.pt")

    def killed(state, file):
        file.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"epoch": 2}, tmp_path / "model.pt")
    assert checkpoint.load(tmp_path / "model.pt", CPU) == {"epoch": 1}


def test_a_missing_file_gives_one_line(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        checkpoint.load(tmp_path / "model.pt", CPU)
    assert str(caught.value).startswith(f"no checkpoint at {tmp_path / 'model.pt'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "code"])
def test_a_damaged_file_gives_one_line(tmp_path, damage):
    path = tmp_path / "model.pt"
    checkpoint.save({"weights": torch.randn(100)}, path)
    if damage == "code":
        torch.save({"weights": SimpleNamespace()}, path)
    else:
        path.write_bytes({"cut": path.read_bytes()[:700], "text": b"no checkpoint at all", "empty": b""}[damage])
    with pytest.raises(
        ValueError, match=r"(loaded \(\w+|cannot be read \(\w+|written \(sha256 differs)\): restore it or train again"
    ) as caught:
        checkpoint.load(path, CPU)
    assert "\n" not in str(caught.value)


def drawn(loader):
    generators = [loader.generator, loader.kg_dataloader.generator]
    own = [torch.rand(2, generator=generator).tolist() for generator in generators]
    return [torch.rand(2).tolist(), np.random.rand(2).tolist(), np.random.randn(), random.random(), *own]


def test_random_states_are_restored(tmp_path):
    loader = SimpleNamespace(
        generator=torch.Generator().manual_seed(5),
        kg_dataloader=SimpleNamespace(generator=torch.Generator().manual_seed(6)),
    )
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    np.random.randn()  # numpy draws normal numbers in pairs and keeps the second one in its state
    checkpoint.save(checkpoint.random_state(loader), tmp_path / "state.pt")
    expected = drawn(loader)
    drawn(loader)
    checkpoint.set_random_state(checkpoint.load(tmp_path / "state.pt", CPU), loader)
    assert drawn(loader) == expected


def test_a_loader_without_a_generator_has_no_state():
    assert checkpoint.random_state(object())["loader"] == []


@pytest.mark.parametrize("form", ["csr", "csc", "lil", "coo"])
def test_sparse_matrices_keep_their_format(tmp_path, form):
    matrix = scipy.sparse.random(5, 7, density=0.4, format=form, dtype=np.float32, random_state=0)
    value = {
        "matrix": matrix,
        "dense": np.arange(6.0).reshape(2, 3),
        "tensor": torch.ones(2),
        "number": 3,
        "none": None,
    }
    checkpoint.save(checkpoint.plain(value), tmp_path / "model.pt")
    restored = checkpoint.restore(checkpoint.load(tmp_path / "model.pt", CPU), CPU)
    assert (restored["matrix"] != matrix).nnz == 0
    assert (restored["matrix"].format, restored["matrix"].dtype) == (form, np.float32)
    assert np.array_equal(restored["dense"], value["dense"])
    assert torch.equal(restored["tensor"], value["tensor"])
    assert (restored["number"], restored["none"]) == (3, None)


@pytest.mark.parametrize("name", ["ItemKNN", "EASE", "Pop", "FDSA", "LightGCN"])
def test_models_with_other_parameters_give_the_same_ranks_after_loading(load, tmp_path, name):
    config, data, model = load(name, run_dir=str(tmp_path), epochs=1)
    trainer_class(get_trainer(config["MODEL_TYPE"], name))(config, model).fit(data.train_data, data.valid)
    ranks = full_ranks(model.eval(), data)
    fresh = load(name)[2].eval()
    for parameter in fresh.other_parameter():
        if name in ("ItemKNN", "EASE"):  # computed in the constructor; cleared, so only loaded values can rank
            setattr(fresh, parameter, None)
    load_weights(fresh, tmp_path / BEST, CPU)
    assert torch.equal(full_ranks(fresh, data), ranks)
    assert len(ranks.unique()) > 5

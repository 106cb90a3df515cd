"""Pickle bombs in any input file are refused with an error that names the file, unless --unsafe_pickle=True is set."""

import json
import os
import pickle
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.config import Config as RecBoleConfig

from recbole_unirep import read_ranks
from recbole_unirep.compat import pickle_guard
from recbole_unirep.files.checksums import with_checksum
from recbole_unirep.semantic_ids.bundle import WEIGHTS
from recbole_unirep.semantic_ids.ids import CODES, RECORD
from recbole_unirep.training import checkpoint

SMALL = {"epochs": 1, "hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1, "MAX_ITEM_LIST_LENGTH": 5}
SMALL |= {"show_progress": False, "protocol": "[full]", "pretrain_epochs": 1}


class Bomb:
    """Creates a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def as_torch(path):
    torch.save({"epoch": 0, "state_dict": Bomb(), "other_parameter": None}, path)


def as_torch_with_our_checksum(path):
    checkpoint.save({"epoch": 0, "state_dict": Bomb(), "other_parameter": None}, path)


def as_pickle(path):
    path.write_bytes(pickle.dumps({"state_dict": Bomb()}, protocol=4))


def as_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.array([[Bomb()]], dtype=object), allow_pickle=True)


FORMS = [as_torch, as_torch_with_our_checksum, as_pickle]


@pytest.fixture
def shell(shell):
    """Runs a command on the tiny dataset and returns the exit code and the last line of standard error."""

    def call(*arguments, **keys):
        code, lines = shell(*arguments, **keys)
        return code, (lines or [""])[-1]

    call.data = shell.data
    return call


def bomb_did_not_run():
    return not Path("exploded").exists()


def test_the_bomb_works():
    with pytest.raises(FileExistsError):
        Path("exploded").mkdir(), pickle.loads(pickle.dumps(Bomb()))


@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_of_a_run(shell, form):
    assert shell(model="SASRec", run_dir="run", **shell.data, **SMALL)[0] == 0
    form(Path("run/model.pt"))
    assert form is as_pickle or Path("run/model.pt").stat().st_size > 500
    code, line = shell("recommend", "run", "--items=i1,i2", f"--data_path={shell.data['data_path']}")
    assert code == 2 and "checkpoint run/model.pt holds more than tensors and plain values and is not loaded" in line
    form(Path("run/last.pt"))
    code, line = shell("--resume=run")
    assert code == 2 and "checkpoint run/last.pt holds more than tensors and plain values and is not loaded" in line
    assert bomb_did_not_run()


@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_of_a_pretraining(shell, form):
    assert shell(model="S3Rec", run_dir="run", **shell.data, **SMALL)[0] == 0
    form(Path("run/pretrained.pt"))
    assert "checkpoint run/pretrained.pt holds more" in shell("--resume=run")[1]
    Path("run/pretrained.pt").unlink()
    form(Path("run/last_pretrained.pt"))
    assert "checkpoint run/last_pretrained.pt holds more" in shell("--resume=run")[1]
    assert bomb_did_not_run()


def test_ranks_and_config_of_a_run(shell):
    assert shell(model="Pop", run_dir="run", **shell.data, protocol="[full]")[0] == 0
    users = np.array([Bomb()], dtype=object)
    np.savez("run/ranks.npz", users=users, full=users)
    with pytest.raises(ValueError, match=r"run/ranks.npz is not the file that was written \(Object arrays"):
        read_ranks("run")
    with open("run/config.yaml", "a", encoding="utf-8") as file:
        file.write("notes: !!python/object/apply:os.mkdir [exploded]\n")
    code, line = shell("--resume=run")
    assert code == 2 and "config file run/config.yaml is not valid yaml" in line
    assert bomb_did_not_run()


@pytest.mark.parametrize("name", [CODES, WEIGHTS])
def test_bundles_with_valid_checksums(shell, name):
    keys = {**shell.data, "text_encoder": "lexical", "lexical_dim": 8, "codebook_size": 4}
    assert shell("tokenize", out="ids", **keys)[0] == 0
    path, record = Path("ids") / name, json.loads(Path("ids", RECORD).read_text(encoding="utf-8"))
    as_pickle(path)
    record["sha256"][name] = sha256(path.read_bytes()).hexdigest()
    Path("ids", RECORD).write_text(json.dumps(with_checksum(record)), encoding="utf-8")
    code, line = shell("encode-items", "ids", **shell.data)
    assert code == 2 and str(path) in line
    if name == CODES:
        code, line = shell(model="UniRep", semantic_ids="ids", **shell.data)
        assert code == 2 and str(path) in line
    assert bomb_did_not_run()


def test_vectors(shell, tiny):
    as_npy(tiny / "tiny.mine.npy")
    (tiny / "tiny.mine.json").write_text('{"items": ["i1"]}', encoding="utf-8")
    for command in (("embed", "--text_encoder=mine"), ("tokenize", f"--vectors={tiny / 'tiny.mine.npy'}")):
        code, line = shell(*command, **({} if command[0] == "tokenize" else shell.data))
        assert code == 2 and "tiny.mine.npy is not a readable .npy array" in line, line
    assert bomb_did_not_run()


@pytest.mark.parametrize("protocol", ["[full]", "recbole"])
def test_recboles_saved_data_are_not_read(shell, protocol):
    Path("saved").mkdir()
    for name in ("tiny-SequentialDataset.pth", "tiny-for-SASRec-dataloader.pth"):
        as_pickle(Path("saved") / name)
    paths = {key: f"saved/{name}" for key, name in (
        ("dataset_save_path", "tiny-SequentialDataset.pth"), ("dataloaders_save_path", "tiny-for-SASRec-dataloader.pth")
    )}  # fmt: skip
    keys = {**SMALL, "protocol": protocol, "checkpoint_dir": "saved"}
    assert shell(model="SASRec", run_dir="run", **shell.data, **keys, **paths)[0] == 0
    log = Path("run/log.txt").read_text(encoding="utf-8")
    assert "dataset_save_path is not used" in log and "dataloaders_save_path is not used" in log
    assert bomb_did_not_run()


PARTS = [
    ("S3Rec", {"train_stage": "finetune", "pre_model_path": "bomb.pth"}),
    ("NeuMF", {"use_pretrain": True, "mf_pretrain_path": "bomb.pth", "mlp_pretrain_path": "bomb.pth"}),
    ("ConvNCF", {"train_method": "after_pretrain", "pre_model_path": "bomb.pth"}),
    ("RaCT", {"train_stage": "finetune", "pre_model_path": "bomb.pth"}),
]


@pytest.mark.parametrize(("model", "keys"), PARTS, ids=[model for model, _ in PARTS])
def test_files_that_recboles_models_read(shell, model, keys):
    as_pickle(Path("bomb.pth"))
    keys = {**keys, **shell.data, "show_progress": False}
    code, line = shell(model=model, **keys)
    assert code == 2 and "bomb.pth holds more than tensors and plain values" in line, line
    assert line.endswith("add --unsafe_pickle=True")
    assert bomb_did_not_run()


def test_vectors_that_recboles_ldiffrec_reads(shell, tiny):
    as_npy(tiny / "item_emb.npy")
    code, line = shell(model="LDiffRec", n_cate=2, **shell.data)
    assert code == 2 and "item_emb.npy holds more than tensors and plain values" in line, line
    assert bomb_did_not_run()


def test_the_flag_allows_pickles_and_cannot_be_set_in_a_file(shell):
    as_torch(Path("bomb.pth"))
    keys = {**shell.data, "train_stage": "finetune", "pre_model_path": "bomb.pth"}
    Path("mine.yaml").write_text("unsafe_pickle: True\n", encoding="utf-8")
    code, line = shell(model="S3Rec", config_files="mine.yaml", **keys)
    assert code == 2 and line.endswith("config file mine.yaml sets unsafe_pickle, which files must not set: give it as "
                                       "--unsafe_pickle=True")  # fmt: skip
    assert shell(model="S3Rec", unsafe_pickle="perhaps", **keys)[1].endswith("the default is False")
    assert bomb_did_not_run()
    with pytest.raises(TypeError, match="state_dict"):  # the unpickled object is not a state
        shell(model="S3Rec", unsafe_pickle=True, **keys)
    assert Path("exploded").exists()


def test_a_network_name_is_not_run_as_code(shell):
    code, line = shell(model="KD_DAGFM", teacher="__import__('os').mkdir('exploded')", **shell.data)
    assert code == 2 and "is not the name of a KD_DAGFM network" in line
    assert bomb_did_not_run()


@pytest.fixture
def old():
    """A checkpoint in the format of RecBole's Trainer, which includes its Config."""
    config = RecBoleConfig(model="SASRec", dataset="ml-100k", config_dict={"train_neg_sample_args": None})
    keys = {"state_dict": {}, "optimizer": {}, "other_parameter": None, "cur_step": 0, "best_valid_score": 0.5}
    torch.save({**keys, "config": config, "epoch": 3}, "SASRec.pth", pickle_protocol=4)
    return Path("SASRec.pth")


def read_by_recbole(path):
    """Calls torch.load from a module of RecBole, without `weights_only`."""
    names = {"__name__": "recbole.trainer.trainer", "torch": torch, "path": str(path)}
    exec("state = torch.load(path, map_location='cpu')", names)
    return names["state"]


def save_by_recbole(state, path):
    exec(
        "torch.save(state, path)", {"__name__": "recbole.trainer.trainer", "torch": torch, "state": state, "path": path}
    )


def test_recboles_code_reads_files_it_wrote_in_this_process(old):
    with pytest.raises(ValueError, match="SASRec.pth holds more than tensors and plain values"):
        read_by_recbole(old)
    with pickle_guard.pickles(True):
        assert read_by_recbole(old)["epoch"] == 3
    save_by_recbole({"config": RecBoleConfig, "epoch": 5}, "own.pth")
    assert read_by_recbole("own.pth")["epoch"] == 5
    as_pickle(Path("own.pth"))  # the file was replaced
    with pytest.raises(ValueError, match="own.pth holds more than tensors and plain values"):
        read_by_recbole("own.pth")
    torch.save({"state_dict": {"weight": torch.ones(2)}}, "plain.pth")
    assert read_by_recbole("plain.pth")["state_dict"]["weight"].sum() == 2
    Path("cut.pth").write_bytes(Path("plain.pth").read_bytes()[:300])
    with pytest.raises(ValueError, match="cut.pth is not a readable checkpoint"):
        read_by_recbole("cut.pth")
    assert bomb_did_not_run()

"""A RecBole checkpoint becomes a run with the metrics of the saved model."""

from pathlib import Path

import torch
from recbole.config import Config as RecBoleConfig

from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.runs.folder import read_result

SMALL = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1, "MAX_ITEM_LIST_LENGTH": 5}
LOADED = {"inter": ["user_id", "item_id", "timestamp"]}


def test_an_old_checkpoint_ranks_like_the_saved_model(shell, monkeypatch):
    keys = {**shell.data, **SMALL, "epochs": 2, "show_progress": False}
    assert shell(model="SASRec", run_dir="run", **keys)[0] == 0
    trained = load_data_and_model("run")[1]
    monkeypatch.setattr("sys.argv", ["pytest"])
    of_recbole = {**SMALL, "data_path": str(shell.data["data_path"]), "load_col": LOADED, "train_neg_sample_args": None}
    config = RecBoleConfig("SASRec", "tiny", config_dict={**of_recbole, "user_inter_num_interval": "[1,inf)"})
    rest = {"optimizer": {}, "other_parameter": None, "cur_step": 0, "best_valid_score": 0.5}
    state = {"config": config, "epoch": 1, "state_dict": trained.state_dict(), **rest}
    torch.save(state, "old.pth", pickle_protocol=4)

    code, lines = shell("import-recbole", "old.pth")
    assert code == 2 and shell.said(lines).startswith("unirep: old.pth holds more than tensors and plain values")
    assert shell.said(lines).endswith("if you trust its source, add --unsafe_pickle=True")
    data = f"--data_path={shell.data['data_path']}"
    assert shell("import-recbole", "old.pth", "--unsafe_pickle=True", "--run_dir=new", data)[0] == 0
    assert read_result(Path("new"))["test_result"] == read_result(Path("run"))["test_result"]
    assert torch.load("new/model.pt", weights_only=True)["epoch"] == 1
    assert shell("recommend", "new", "--items=i1,i2", data)[0] == 0
    assert (
        shell("import-recbole", "old.pth", "--unsafe_pickle=True", data, "--run_dir=stock", "--protocol=recbole")[0]
        == 0
    )
    assert set(read_result(Path("stock"))["test_result"]) == {"recbole"}


def test_a_file_that_is_not_a_recbole_checkpoint_is_named(shell):
    Path("text.pth").write_text("no checkpoint at all")
    torch.save({"weights": torch.ones(2)}, "plain.pth")
    for arguments, message in (
        ((), "import-recbole needs FILE.pth, a checkpoint that RecBole itself saved"),
        (("gone.pth", "--unsafe_pickle=True"), "gone.pth does not exist"),
        (("text.pth", "--unsafe_pickle=True"), "text.pth can't be read as a checkpoint"),
        (("plain.pth", "--unsafe_pickle=True"), "plain.pth is not a checkpoint of RecBole"),
    ):
        code, lines = shell("import-recbole", *arguments)
        assert code == 2 and message in shell.said(lines)
    assert not Path("runs").exists()
    code, lines = shell("recommend", "plain.pth", "--items=i1")
    assert code == 2 and "import a RecBole checkpoint with unirep import-recbole plain.pth" in shell.said(lines)

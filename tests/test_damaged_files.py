"""Truncated files, flipped bits and incomplete folders are named, by checksum if there is one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_unirep import read_ranks
from recbole_unirep.runs.folder import read_result
from recbole_unirep.semantic_ids.ids import RECORD, SemanticIds
from recbole_unirep.training import checkpoint

CPU = torch.device("cpu")
SMALL = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 1}
SMALL |= {"show_progress": False, "protocol": "[full]"}


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def test_a_flipped_bit_or_a_cut_anywhere_in_a_checkpoint_is_named(tmp_path):
    path = tmp_path / "model.pt"
    checkpoint.save({"epoch": 1, "weights": torch.randn(30)}, path)
    whole = path.read_bytes()
    for place in (*range(0, len(whole), 7), *range(len(whole) - 100, len(whole))):
        flipped(path, place)
        with pytest.raises(ValueError, match=r"checkpoint .*model.pt (is not the file|cannot be read|holds)"):
            checkpoint.load(path, CPU)
        path.write_bytes(whole)
    for length in range(0, len(whole), 23):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"checkpoint .*model.pt (is not the file|cannot be read|holds)"):
            checkpoint.load(path, CPU)
    path.write_bytes(whole)
    assert checkpoint.load(path, CPU)["epoch"] == 1


def test_damaged_files_of_a_run_are_named(shell):
    for number in (1, 2):
        assert shell(model="SASRec", run_dir=f"run{number}", seed=number, **shell.data, **SMALL)[0] == 0
    again = {path: path.read_bytes() for path in Path("run1").glob("*.*") if path.suffix != ".txt"}
    compared = ("compare", "run1", "run2", "--out=table", "--protocol=full", "--metrics=hit@10")
    for damage in (cut, lambda path: flipped(path, path.stat().st_size // 2)):
        for name, command in (
            ("model.pt", ("recommend", "run1", "--items=i1,i2", f"--data_path={shell.data['data_path']}")),
            ("last.pt", ("--resume=run1",)),
            ("result.json", compared),
            ("environment.json", ("--resume=run1",)),
        ):
            damage(Path("run1", name))
            code, lines = shell(*command)
            if name == "environment.json" and code == 0:  # a run does not read the flipped part
                continue
            assert code == 2 and f"run1/{name}" in shell.said(lines), lines
            for path, content in again.items():
                path.write_bytes(content)
        damage(Path("run1/ranks.npz"))
        with pytest.raises(ValueError, match="run1/ranks.npz is not the file that was written"):
            read_ranks("run1")
        Path("run1/ranks.npz").write_bytes(again[Path("run1/ranks.npz")])


def test_a_change_of_any_digit_of_a_result_is_found(shell):
    assert shell(model="Pop", run_dir="run", **shell.data, protocol="[full]")[0] == 0
    path = Path("run/result.json")
    text = path.read_text(encoding="utf-8")
    for place, sign in enumerate(text[: text.index('"record_sha256"')]):
        if sign.isdigit():
            path.write_text(text[:place] + str((int(sign) + 1) % 10) + text[place + 1 :], encoding="utf-8")
            with pytest.raises(ValueError, match=r"run/result.json is (not the file|not readable)"):
                read_result(Path("run"))
    earlier = {key: value for key, value in json.loads(text).items() if key != "record_sha256"}
    path.write_text(json.dumps(earlier), encoding="utf-8")  # as written by earlier versions
    assert read_result(Path("run")) == earlier


def test_a_change_of_a_bundles_record_is_found(tmp_path):
    SemanticIds(["a1", "b2"], np.array([[0], [1]]), [2]).save(tmp_path / "ids", {"made_by": "x"}, {})
    path = tmp_path / "ids" / RECORD
    path.write_text(path.read_text(encoding="utf-8").replace('"b2"', '"b3"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"bundle.json is not the file that was written \(its sha256 differs\)"):
        SemanticIds.load(tmp_path / "ids")


def test_damaged_vectors_are_named_or_encoded_again(shell, tiny):
    keys = {"text_encoder": "lexical", "lexical_dim": 8}
    assert shell("embed", **shell.data, **keys)[0] == 0
    path = tiny / "tiny.lexical.npy"
    whole = path.read_bytes()
    for damage in (cut, lambda file: flipped(file, -1)):
        damage(path)
        code, lines = shell("tokenize", f"--vectors={path}", "--out=ids", "--codebook_size=4")
        assert code == 2 and f"{path} was changed after it was written (its sha256 differs" in shell.said(lines)
        assert shell("embed", **shell.data, **keys)[0] == 0
        assert path.read_bytes() == whole  # repaired


def test_an_incompletely_copied_dataset_is_named(shell, tiny):
    lines = [json.dumps({"user_id": f"u{n % 9}", "item_id": f"i{n % 40}", "timestamp": n}) for n in range(90)]
    Path("raw.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert shell("prepare", "--dataset=made", "--reviews=raw.jsonl", "--core=1", "--data_path=data")[0] == 0
    keys = {"dataset": "made", "data_path": "data", "model": "Pop", **SMALL}
    assert shell(run_dir="run", **keys) == (0, [])
    file = Path("data/made/made.inter")
    content = file.read_bytes()
    file.write_bytes(content[:-2])  # the last timestamp lost a digit; only the checksum shows it
    for protocol in ("[full]", "recbole"):
        code, lines = shell(**{**keys, "protocol": protocol})
        assert code == 2 and "made.inter differs from made.manifest.json (sha256): copy or prepare" in shell.said(lines)
    file.write_bytes(content)
    Path("data/made/made.unfinished").touch()
    code, lines = shell(**keys)
    assert code == 2 and "prepare was stopped while it replaced these files: run it again" in shell.said(lines)
    again = ("prepare", "--dataset=made", "--reviews=raw.jsonl", "--core=1", "--data_path=data", "--overwrite=True")
    assert shell(*again)[0] == 0
    assert shell(**keys)[0] == 0


def test_an_incomplete_download_is_named(shell):
    folder = Path("data/amazon-beauty")
    folder.mkdir(parents=True)
    (folder / "Amazon_Beauty.zip").write_bytes(b"PK")
    code, lines = shell(model="Pop", dataset="amazon-beauty", data_path="data")
    assert code == 2
    assert "its folder holds Amazon_Beauty.zip, perhaps from an unfinished download: remove" in shell.said(lines)
    assert [path.name for path in folder.iterdir()] == ["Amazon_Beauty.zip"]

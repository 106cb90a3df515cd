"""Files of an export: damaged files are named, existing files are kept, bad input gives one line."""

import copy
import json
import pickle
import sys

import pytest

import recbole_unirep
from recbole_unirep.serving import export as exporting


@pytest.fixture
def export(run, shell, tmp_path):
    """An export of a UniRep run, inside the run's folder."""
    folder = run("UniRep", repeat_bias=True)
    assert shell("export", folder)[0] == 0
    return folder / "export"


def tree(folder):
    """Content of every file below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_damaged_file_is_named(export):
    assert len(recbole_unirep.load_export(export, n_threads=1).item_tokens) == 119
    for path, content in tree(export).items():
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        for damaged in (content[:-3], content[:10], b"", flipped, pickle.dumps({})):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=path.name):
                recbole_unirep.load_export(export)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=path.name):
            recbole_unirep.load_export(export)
        path.write_bytes(content)
    recbole_unirep.load_export(export)


def test_an_unknown_format_is_refused(export, monkeypatch):
    monkeypatch.setattr("recbole_unirep.files.manifest.FORMAT", "recbole-unirep export 2")
    with pytest.raises(ValueError, match="has format 'recbole-unirep export 1', known is 'recbole-unirep export 2'"):
        recbole_unirep.load_export(export)


def test_the_manifest_describes_the_export_and_no_file_names_a_machine(export, tmp_path):
    manifest = json.loads((export / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["model"], manifest["dataset"], manifest["n_items"]) == ("UniRep", "tiny", 118)
    assert manifest["packages"]["torch"] and manifest["levels"] == [8, 8, 8]
    assert not [path for path, content in tree(export).items() if str(tmp_path).encode() in content]


def test_an_export_is_replaced_only_with_overwrite(shell, export, tmp_path):
    run, before = export.parent, tree(export)
    code, out, error = shell("export", run)
    assert (code, out) == (2, "")
    assert error == f"unirep: {export} exists: add --overwrite=True to replace it, or choose another --out\n"
    assert tree(export) == before
    (export / "encoder.onnx").write_bytes(b"damaged")
    assert shell("export", run, "--overwrite=True")[0] == 0
    assert tree(export).keys() == before.keys()
    recbole_unirep.load_export(export)
    code, _, error = shell("export", run, f"--out={run}", "--overwrite=True")
    assert code == 2 and f"{run} is not an export, so it is not replaced" in error


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (OSError("no space left on device"), 2)])
def test_a_stopped_export_leaves_the_previous_one(shell, export, monkeypatch, error, code):
    run, before = export.parent, tree(export.parent)

    def stopped(*_):
        raise error

    monkeypatch.setattr(exporting, "write_manifest", stopped)
    assert shell("export", run, "--overwrite=True")[0] == code
    assert shell("export", run, "--out=new")[0] == code
    assert tree(run) == before and not list(run.glob(".*")) and not list(run.glob("../new*"))


def test_an_encoder_with_other_scores_is_not_exported(shell, run, monkeypatch):
    folder, encode = run(), exporting.onnx_encoder

    def other(model, item_vectors, max_length):
        model = copy.deepcopy(model)
        model.position_embedding.weight.data[:, 0] += 5
        return encode(model, item_vectors, max_length)

    monkeypatch.setattr(exporting, "onnx_encoder", other)
    before = tree(folder)
    code, out, error = shell("export", folder)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert error.startswith("unirep: the exported encoder of SASRec gives scores that differ by ")
    assert tree(folder) == before


BAD = {
    "": "export needs FOLDER, the folder of a finished run, or of a bundle",
    "gone": "gone holds no run: no config.yaml in it",
    "RUN --out=": "--out is empty: write --out=FOLDER",
    "RUN --out=gone/export": "out=gone/export: there is no folder gone: create it, or choose another",
    "RUN --overwrite=maybe": "overwrite=maybe is neither True nor False: write one of them",
    "RUN --otu=there": "export has no option --otu: did you mean --out",
    "RUN --xyz=1": "export has no option --xyz: known are --format, --out",
    "RUN --max_history=3": "--max_history is for --format=instructions: leave it out",
    "RUN --dataset=tiny": "--dataset is for --format=instructions: leave it out",
    "RUN --data_path=gone": "dataset 'tiny'",
}


def test_bad_input_gives_one_line_and_writes_nothing(shell, run, tmp_path):
    folder = run()
    before = tree(tmp_path)
    for arguments, message in BAD.items():
        code, out, error = shell("export", *arguments.replace("RUN", str(folder)).split())
        assert (code, out, error.count("\n")) == (2, "", 1), (arguments, error)
        assert message in error and tree(tmp_path) == before, (arguments, error)
    (folder / "model.pt").unlink()
    code, _, error = shell("export", folder)
    assert code == 2 and f"{folder} has no model.pt" in error and not (folder / "export").exists()


def test_a_model_with_more_than_weights_is_refused(shell, run):
    folder = run("ItemKNN")
    code, out, error = shell("export", folder)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "ItemKNN stores w, pred_mat beside its weights" in error and not (folder / "export").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"items": [["i1", "i1000"]]}, "1 of 2 items are not among the run's 118, the first is 'i1000'"),
        ({"items": [["i1"], []]}, "history 2 is empty: UniRep needs at least one item"),
        ({"items": []}, "no history is given: give at least one"),
        ({"items": ["i1"]}, "items must be lists of item tokens"),
        ({"items": "i1"}, "items must be lists of item tokens"),
        ({"users": ["u1"]}, "an export contains no users"),
        ({"items": [["i1"]], "k": 0}, "k=0 is not a number of items"),
        ({"items": [["i1"]], "k": 119}, "k=119 is more than the 118 items of the run: lower k"),
        ({"items": [["i1"]], "candidates": ["i1", "i2"]}, "k=10 is more than the 2 candidates given"),
    ],
)
def test_bad_requests_are_named(export, asked, message):
    with pytest.raises(ValueError, match=message):
        recbole_unirep.load_export(export, n_threads=1).recommend(**asked)


@pytest.mark.parametrize(("package", "module"), [("onnx", "encoder"), ("onnxruntime", "exported")])
def test_without_the_extra_one_line_says_what_to_install(shell, run, monkeypatch, package, module):
    folder = run()
    for name in ("encoder", "export", "exported"):
        monkeypatch.delitem(sys.modules, f"recbole_unirep.serving.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    if package == "onnx":
        code, _, error = shell("export", folder)
        assert code == 2 and error.startswith("unirep: unirep export needs onnx") and error.count("\n") == 1
        assert "pip install 'recbole-unirep[export]'" in error
    else:
        with pytest.raises(ImportError, match=r"onnxruntime .*pip install 'recbole-unirep\[export\]'"):
            recbole_unirep.load_export(folder)

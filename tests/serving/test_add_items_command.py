"""`unirep add-items` from a shell; for bad input: one line, exit code 2, nothing written."""

import json
import os

import numpy as np
import pytest
import torch

from recbole_unirep.serving import added_items
from recbole_unirep.serving.recommender import Recommender

NEW = "item_id,title,categories,price\nn1,soap number 3,\"'Beauty', 'soap'\",4.5\n\nn2,brush,,\n"
FILES = {
    "new.csv": NEW,
    "new.tsv": NEW.replace(",", "\t"),
    "new.jsonl": '{"item_id": "n1", "title": "soap number 3", "categories": ["Beauty", "soap"], "price": 4.5}\n'
    '{"item_id": "n2", "title": "brush"}\n',
    "known.csv": NEW.replace("n2", "i5"),
    "twice.csv": NEW.replace("n2", "n1"),
    "nameless.csv": NEW.replace("n2", " "),
    "tokenless.csv": NEW.replace("item_id", "asin"),
    "columnless.csv": "item_id,title\nn1,soap\n",
    "textless.csv": NEW.replace("brush", " "),
    "ragged.csv": NEW + "n3,brush\n",
    "double.csv": NEW.replace("price", "title"),
    "empty.csv": "item_id,title\n",
    "void.csv": "",
    "broken.jsonl": '{"item_id": "n1"}\n{"item_id": \n',
    "list.jsonl": "[1, 2]\n",
    "object.jsonl": '{"item_id": "n1", "title": {"en": "soap"}}\n',
    "new.xlsx": "",
}
BAD = {
    "": "add-items needs NEW_ITEMS, a file of new items, .csv, .tsv or .jsonl, one row each: write unirep add-items",
    "gone.csv": "gone.csv is missing: name a file with one row per new item",
    "new.xlsx": "new.xlsx ends in '.xlsx', known are .csv, .tsv, .jsonl: choose one of them",
    "known.csv": "1 of 2 new items are already in the run (i5): remove these rows",
    "twice.csv": "1 of 1 new items have several rows (n1): give one row per item",
    "nameless.csv": "1 of 2 rows have no item_id, row 2 first: give tokens",
    "tokenless.csv": "the new items have no column item_id, found asin, title, categories, price: rename",
    "columnless.csv": "the new items have no column categories, price, an item's text is built from title, categories,",
    "textless.csv": "1 of 2 new items have no text in title, categories, price (n2): fill a cell, or leave these items",
    "ragged.csv": "ragged.csv, line 5: 2 cells, the header has 4: repair it",
    "double.csv": "its first line repeats a column name (item_id, title, categories, title): rename one",
    "empty.csv": "empty.csv has no items: give one row per item",
    "void.csv": "void.csv has no items",
    "latin.csv": "latin.csv is not UTF-8 text",
    "broken.jsonl": "broken.jsonl, line 2: not JSON (",
    "list.jsonl": "list.jsonl, line 1 is a list, not a mapping: give column names and values",
    "object.jsonl": "object.jsonl, line 1, title holds an object: give a string, a number or a list of strings",
    "new.csv --id_fallback=best": "id_fallback=best is unknown: known are mean, nearest, zero",
    "new.csv --id_falback=zero": "add-items has no option --id_falback: did you mean --id_fallback?",
    "new.csv --vectors=": '--vectors is empty: write --vectors="A.npy B.npy"',
    "new.csv --vectors=gone.npy": "gone.npy is missing: give vectors [n_items, dimensions] saved by numpy.save",
    "new.csv --vectors=few.npy": "few.json lacks 1 of 2 items (n2)",
    "new.csv --vectors=wide.npy": "wide.npy has vectors of 17 dimensions, those of the run (lexical) have 16",
    "new.csv --vectors=zeros.npy": "2 of 2 new items have all-zero vectors in zeros.npy (n1, n2)",
    "new.csv --vectors=fit.npy:fit.npy": "vectors names 2 files, the run has 1 encoders (lexical): give one file per",
    "new.csv --data_path=gone": "gone",
    "new.csv soap.csv": "argument 'soap.csv' is not understood: write --key=value",
}


def save_vectors(folder, name, items, vectors):
    np.save(folder / f"{name}.npy", np.asarray(vectors, dtype=np.float32))
    (folder / f"{name}.json").write_text(json.dumps({"items": items}), encoding="utf-8")


@pytest.fixture
def files(tmp_path):
    """Creates valid and invalid files in the current folder of the shell."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "latin.csv").write_bytes("item_id,title\nn1,Crème\n".encode("latin-1"))
    draw = np.random.default_rng(0)
    for name, (n_items, dimension) in {"few": (1, 16), "wide": (2, 17), "fit": (2, 16), "wider": (2, 5)}.items():
        save_vectors(tmp_path, name, ["n1", "n2"][:n_items], draw.normal(size=(n_items, dimension)))
    save_vectors(tmp_path, "zeros", ["n1", "n2"], np.zeros((2, 16)))
    return tmp_path


def test_files_of_all_kinds_add_the_same_items(shell, run, files):
    folder, found = run("UniRep"), []
    for name in ("new.csv", "new.tsv", "new.jsonl"):
        code, out, error = shell("add-items", folder, name)
        file = folder / "added_items.safetensors"
        assert (code, error) == (0, "")
        assert out == (
            f"{file}: 2 items added, 2 in all; text vectors lexical (16 dimensions), 3 codes, ID fallback mean\n"
        )
        found.append(file.read_bytes())
        (files / "new.txt").write_text("n1\nn2\n", encoding="utf-8")
        code, out, _ = shell("recommend", folder, "--items=i1,n1", "--k=2", "--candidates=new.txt")
        assert code == 0 and out.splitlines()[2].split()[:3] == ["1", "n2", "brush"]
        file.unlink()
        (files / "new.txt").unlink()
    assert found[0] == found[1] == found[2]


def test_bad_input_gives_one_line_and_writes_nothing(shell, run, files):
    folder = run("UniRep")
    before = sorted(files.rglob("*"))
    for arguments, message in BAD.items():
        code, out, error = shell("add-items", folder, *(part.replace(":", " ") for part in arguments.split()))
        assert (code, out, error.count("\n")) == (2, "", 1), (arguments, out, error)
        assert error.startswith("unirep: ") and message in error, (arguments, error)
        assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize(
    ("model", "keys", "message"),
    [
        ("SASRec", {}, "SASRec of this run cannot embed a new item from its text: train UniRep or"),
        ("BPR", {}, "BPR of this run cannot embed a new item from its text"),
        ("TIGER", {"n_layers": 1}, "TIGER of this run searches the prefix tree of its items' IDs"),
        (
            "UniRep",
            {"representation": "id", "code_dim": 16},
            "representation=id of this run has only learned IDs",
        ),
        ("UniRep", {"backbone": "BERT4Rec"}, "backbone=BERT4Rec of this run can score only its own items"),
        ("UniRep", {"tokenizer": "RandomIDs"}, "tokenizer=RandomIDs of this run reads no text vectors"),
        (
            "UniRep",
            {"tokenizer": "RQKMeans", "n_levels": 2, "code_pieces": "ngram"},
            "code_pieces=ngram of this run are pieces of the trained items' IDs",
        ),
    ],
)
def test_a_run_that_does_not_support_new_items_gives_one_line_with_the_remedy(shell, run, files, model, keys, message):
    folder = run(model, **{"code_embedding_size": 8, **keys})
    before = sorted(files.rglob("*"))
    code, out, error = shell("add-items", folder, "new.csv")
    assert (code, out, error.count("\n")) == (2, "", 1), error
    assert error.startswith(f"unirep: {message}") and ": train " in error
    assert sorted(files.rglob("*")) == before


def test_an_id_fallback_is_refused_if_items_have_no_id_part(shell, run, files):
    folder = run("UniRep", representation="semantic", code_dim=16)
    code, _, error = shell("add-items", folder, "new.csv", "--id_fallback=zero")
    assert code == 2 and "id_fallback=zero needs items with an ID part, but representation=semantic of" in error
    code, _, error = shell("add-items", run("TextKNN"), "new.csv", "--id_fallback=zero")
    assert code == 2 and "id_fallback=zero needs items with an ID part, but TextKNN of this run has none" in error


def test_a_run_on_vectors_of_the_user_needs_vectors_of_the_new_items(shell, run, files, tiny):
    draw = np.random.default_rng(1)
    save_vectors(tiny, "tiny.mine", [f"i{number}" for number in range(120)], draw.normal(size=(120, 16)))
    folder = run("UniRep", text_encoder="mine")
    code, _, error = shell("add-items", folder, "new.csv")
    assert code == 2 and error.count("\n") == 1
    assert "tiny.mine.npy: give vectors of the new items from the same source" in error
    (files / "bare.csv").write_text("item_id\nn2\nn1\n", encoding="utf-8")
    code, out, _ = shell("add-items", folder, "bare.csv", "--vectors=fit.npy", "--id_fallback=nearest")
    assert code == 0 and "text vectors mine (16 dimensions), 3 codes, ID fallback nearest" in out
    text = added_items.read_added(folder).embedded.text
    assert torch.equal(text, torch.from_numpy(np.load(files / "fit.npy")[::-1].copy()))  # matched by token, not by row
    assert Recommender.load(folder).recommend(items=[["n1"]], k=3)[0].titles.count("") < 3


def test_several_encoders_take_one_file_of_vectors_each(shell, run, files, tiny):
    draw = np.random.default_rng(1)
    save_vectors(tiny, "tiny.mine", [f"i{number}" for number in range(120)], draw.normal(size=(120, 5)))
    folder = run("UniRep", text_encoder=["lexical", "mine"])
    assert shell("add-items", folder, "new.csv")[0] == 2
    code, out, _ = shell("add-items", folder, "new.csv", "--vectors=fit.npy wider.npy")
    assert code == 0 and "text vectors lexical + mine (21 dimensions)" in out
    text = added_items.read_added(folder).embedded.text
    assert torch.allclose(text[:, :16].norm(dim=1), torch.ones(2)) and torch.allclose(
        text[:, 16:].norm(dim=1), torch.ones(2)
    )


def test_texts_that_changed_since_training_are_detected(shell, run, files, tiny):
    folder, file = run("UniRep"), tiny / "tiny.item"
    file.write_text(file.read_text(encoding="utf-8") + "n1:x\tsoap\t\t\n", encoding="utf-8")  # no change
    assert shell("add-items", folder, "new.csv")[0] == 0
    file.write_text(file.read_text(encoding="utf-8").replace("perfume", "lipstick"), encoding="utf-8")
    (folder / "added_items.safetensors").unlink()
    code, _, error = shell("add-items", folder, "new.csv")
    assert code == 2 and "items of the run have other text vectors (lexical) than those the checkpoint" in error


def test_an_interrupted_command_keeps_the_items_added_before(shell, run, files, monkeypatch):
    folder = run("UniRep")
    assert shell("add-items", folder, "new.csv")[0] == 0
    (files / "more.csv").write_text(NEW.replace("n1", "n8").replace("n2", "n9"), encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for error, code in ((KeyboardInterrupt(), 130), (OSError("no space left"), 2)):

        def stop(*_, error=error):
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stop)
            assert shell("add-items", folder, "more.csv")[0] == code
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    code, out, _ = shell("add-items", folder, "more.csv")
    assert code == 0 and ": 2 items added, 4 in all; " in out


def test_a_folder_without_a_run_or_a_checkpoint_is_named(shell, run, files):
    code, _, error = shell("add-items", files / "gone", "new.csv")
    assert code == 2 and "gone holds no run: no config.yaml in it" in error
    folder = run("UniRep")
    (folder / "model.pt").unlink()
    code, _, error = shell("add-items", folder, "new.csv")
    assert code == 2 and "no checkpoint at" in error and error.count("\n") == 1

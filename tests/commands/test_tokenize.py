"""`unirep tokenize` and `unirep encode-items`: bundles that other machines can use."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from recbole_unirep import cli, run_recbole
from recbole_unirep.semantic_ids.bundle import WEIGHTS, load_bundle
from recbole_unirep.semantic_ids.ids import SemanticIds


@pytest.fixture
def shell(monkeypatch, capsys, tiny):
    """Calls a unirep command on the tiny dataset; returns exit code, output and error."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["unirep", *arguments])
        code = cli.unirep()
        return code, *capsys.readouterr()

    call.data = ("--dataset=tiny", f"--data_path={tiny.parent}", "--text_encoder=lexical", "--lexical_dim=8")
    return call


@pytest.fixture
def vectors(tmp_path):
    """A file with vectors of 40 items."""
    drawn = np.random.default_rng(1).standard_normal((40, 6)).astype(np.float32)
    np.save(tmp_path / "mine.npy", drawn)
    (tmp_path / "mine.json").write_text(json.dumps({"items": [f"x{row}" for row in range(40)]}), encoding="utf-8")
    return tmp_path / "mine.npy"


def test_a_bundle_made_from_a_dataset_encodes_it_to_the_same_codes(shell, tmp_path):
    out = tmp_path / "ids"
    code, _, error = shell("tokenize", *shell.data, "--tokenizer=RQKMeans", "--codebook_size=4", f"--out={out}")
    assert (code, error) == (0, "")
    bundle = load_bundle(out)
    assert bundle.semantic_ids.codebook_sizes == [4, 4, 4]
    assert bundle.record["vectors"] == ["lexical"] and bundle.record["collisions"]["policy"] == "leave"
    assert bundle.record["collisions"]["changed_items"] == 0

    table = tmp_path / "codes.csv"
    assert shell("encode-items", str(out), *shell.data[:2], f"--out={table}")[0] == 0  # the bundle knows the encoder
    lines = table.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "item,code_1,code_2,code_3"
    for line in lines[1:]:
        item, *codes = line.split(",")
        assert tuple(map(int, codes)) == bundle.semantic_ids.id_of(item)


def test_vectors_of_any_source_need_no_dataset(shell, vectors, tmp_path):
    out = tmp_path / "ids"
    code, _, error = shell(
        "tokenize", f"--vectors={vectors}", "--tokenizer=PQ", "--n_levels=3", "--codebook_size=8", f"--out={out}"
    )
    assert (code, error) == (0, "")
    assert SemanticIds.load(out).items[:2] == ["x0", "x1"]
    settings = load_bundle(out).record["settings"]
    assert (settings["n_levels"], settings["codebook_size"], settings["text_dim"]) == (3, 8, 6)


@pytest.mark.slow
def test_new_items_get_codes_in_another_process(shell, vectors, tmp_path):
    out, new = tmp_path / "ids", tmp_path / "new"
    shell("tokenize", f"--vectors={vectors}", "--codebook_size=8", f"--out={out}")
    np.save(f"{new}.npy", np.load(vectors)[:3] + 0.001)
    new.with_suffix(".json").write_text(json.dumps({"items": ["n0", 'n"1', "n,2"]}), encoding="utf-8")
    asked = "import sys; from recbole_unirep.cli import unirep; sys.exit(unirep())"
    arguments = ["encode-items", str(out), f"--vectors={new}.npy", f"--out={tmp_path}/codes.csv"]
    subprocess.run([sys.executable, "-c", asked, *arguments], check=True, capture_output=True)
    lines = (tmp_path / "codes.csv").read_text(encoding="utf-8").splitlines()
    assert [line.rsplit(",", 3)[0] for line in lines[1:]] == ["n0", '"n""1"', '"n,2"']
    ids = SemanticIds.load(out)
    assert [tuple(map(int, line.rsplit(",", 3)[1:])) for line in lines[1:]] == [
        ids.id_of(f"x{row}") for row in range(3)
    ]


@pytest.mark.parametrize("policy", ["append", "nearest_free", "sinkhorn", "balanced"])
def test_a_collision_policy_reports_its_cost_and_effect(shell, vectors, tmp_path, policy):
    out = tmp_path / "ids"
    keys = ("--n_levels=2", "--codebook_size=8", f"--collisions={policy}")
    code, shown, _ = shell("tokenize", f"--vectors={vectors}", *keys, f"--out={out}")
    assert code == 0
    cost = load_bundle(out).record["collisions"]
    before, after = cost["unique_item_coverage"]
    assert before < 1
    if policy == "balanced":  # equal counts on the last level need not separate more items
        last = [load_bundle(out).semantic_ids.codes[:, -1].tolist().count(code) for code in range(8)]
        assert max(last) - min(last) <= 1
    else:
        assert after == 1 if policy == "append" else after > before
    assert cost["distortion"][1] >= cost["distortion"][0] - 1e-6
    assert (cost["changed_items"] == 0) == (policy == "append")


def test_columns_become_ids_without_vectors(shell, tmp_path):
    out = tmp_path / "ids"
    code, _, error = shell("tokenize", *shell.data, "--tokenizer=CategoricalIDs", f"--out={out}")
    assert (code, error) == (0, "")
    bundle = load_bundle(out)
    assert bundle.semantic_ids.codebook_sizes == [1, 5]
    assert "categories" in bundle.record["columns"] and "distortion" not in bundle.record["collisions"]


@pytest.mark.parametrize("more", [["Fused"], ["LETTER", "--code_dim=5", "--code_clusters=2", "--encoder_sizes=[8]"]])
def test_text_and_graph_are_joined(shell, tmp_path, more):
    out = tmp_path / "ids"
    keys = (f"--tokenizer={more[0]}", "--codebook_size=4", "--collaborative_dim=5", *more[1:])
    code, _, error = shell("tokenize", *shell.data, *keys, f"--out={out}")
    assert (code, error) == (0, "")
    assert load_bundle(out).record["vectors"] == ["lexical", "graph"]
    assert load_bundle(out).record["settings"]["text_dim"] == 13
    # New items have only text; most still get the first-level code that they have with the graph.
    assert shell("encode-items", str(out), *shell.data[:2], f"--out={tmp_path}/codes.csv")[0] == 0
    lines = (tmp_path / "codes.csv").read_text(encoding="utf-8").splitlines()[1:]
    ids = SemanticIds.load(out)
    first = [int(line.split(",")[1]) == ids.id_of(line.split(",")[0])[0] for line in lines]
    assert sum(first) / len(first) > 0.3


def test_a_trained_models_items_are_joined(shell, tmp_path):
    run = tmp_path / "run"
    run_recbole(arguments=["--model=SASRec", *shell.data[:2], "--epochs=1", "--hidden_size=8", "--n_heads=2",
                           "--inner_size=8", f"--run_dir={run}"])  # fmt: skip
    out = tmp_path / "ids"
    keys = ("--tokenizer=Fused", "--codebook_size=4", f"--collaborative={run}")
    code, _, error = shell("tokenize", *shell.data, *keys, f"--out={out}")
    assert code == 0, error
    assert load_bundle(out).record["settings"]["text_dim"] == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tokenizer=RQKmeans", "--vectors=a.npy"], "tokenizer=RQKmeans is unknown: did you mean 'RQKMeans'"),
        (["--tokenizer=RandomIDs", "--vectors=a.npy"], "tokenizer=RandomIDs reads no vectors: name a --dataset"),
        (["--vectors="], '--vectors is empty: write --vectors="A.npy B.npy"'),
        (["--vectors=a.npy", "--n_level=3"], "RQKMeans has no key n_level: n_levels"),
        (["--vectors=a.npy"], "a.npy is missing: give vectors"),
        (["--vectors=a.npy", "--codebook_size=many"], "codebook_size=many is not a number"),
        (
            ["--dataset=tiny", "--collaborative=graph"],
            "collaborative=graph is for tokenizer=Fused or LETTER, found RQKMeans",
        ),
        ([], "no dataset is given"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(shell, tmp_path, arguments, message):
    out = tmp_path / "ids"
    code, _, error = shell("tokenize", *arguments, f"--out={out}")
    assert code == 2
    assert message in error and error.count("\n") == 1
    assert not out.exists()


def test_a_bundle_of_foreign_weights_is_named(shell, vectors, tmp_path):
    out = tmp_path / "ids"
    shell("tokenize", f"--vectors={vectors}", "--codebook_size=8", f"--out={out}")
    (out / WEIGHTS).write_bytes(b"\x80\x04cos\nsystem\n")  # a pickle
    code, _, error = shell("encode-items", str(out), f"--vectors={vectors}")
    assert code == 2 and "is not the file that was written" in error
    assert shell("encode-items", str(tmp_path / "nothing"), f"--vectors={vectors}")[2].count("is not a bundle") == 1


def test_a_bundle_gives_the_vectors_back(shell, vectors, tmp_path):
    out = tmp_path / "ids"
    shell("tokenize", f"--vectors={vectors}", "--n_levels=2", "--codebook_size=32", f"--out={out}")
    bundle, x = load_bundle(out), torch.from_numpy(np.load(vectors))
    codes = torch.from_numpy(bundle.semantic_ids.codes)
    assert (bundle.tokenizer.decode(codes) - x).square().mean() < 0.1 * x.square().mean()

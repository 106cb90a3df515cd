"""`unirep export` and load_export: an export recommends what its run does, with only numpy and onnxruntime."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file

import recbole_unirep
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.scoring.model_contract import sequence_states
from recbole_unirep.semantic_ids.bundle import load_bundle
from recbole_unirep.semantic_ids.ids import SemanticIds
from recbole_unirep.serving.export import export_run
from recbole_unirep.serving.recommender import Recommender

pytestmark = pytest.mark.slow  # runs are trained and exported

ADDED = {"repeat_bias": True, "transition_bias": 2, "history_similarity": 1.5, "popularity_bias": 0.2}
BEST = {"similarity": "cosine", "local_convolution": 3, "fusion": "mlp", "fusion_hidden_units": 8, **ADDED}
FROZEN = {"tokenizer": "RQKMeans", "code_embedding_size": 8}
CASES = {
    "SASRec": ("SASRec", {}),
    "SASRec, cold items": ("SASRec", {"split": "cold_items", "cold_item_share": 0.2}),
    "UniRep, cold items": ("UniRep", {"split": "cold_items", "cold_item_share": 0.2, "cold_offset": 0.7}),
    "GRU4Rec": ("GRU4Rec", {}),
    "HSTU": ("HSTU", {}),
    "GRU4RecF": ("GRU4RecF", {"selected_features": ["categories"]}),
    "SASRecF": ("SASRecF", {"selected_features": ["categories"]}),
    "FDSA": ("FDSA", {"selected_features": ["categories"]}),
    "S3Rec": ("S3Rec", {"item_attribute": "categories", "pretrain_epochs": 1}),
    "UniRep": ("UniRep", {}),
    "UniRep with tuned options": ("UniRep", BEST),
    "UniRep over GRU4Rec, text_id": ("UniRep", {"backbone": "GRU4Rec", "representation": "text_id", **ADDED}),
    "UniRep with n-grams of frozen codes": ("UniRep", {**FROZEN, "code_pieces": "ngram", "output_projection": True}),
    "VQRec": ("VQRec", {"n_levels": 4, "code_embedding_size": 16}),
}
HISTORIES = [["i3"], ["i5", "i9", "i2", "i5"], [f"i{number}" for number in range(20, 30)]]


@pytest.fixture
def exported(run, tmp_path):
    """Trains and exports a model; returns the folders of run and export."""

    def make(model="SASRec", **keys):
        folder = run(model, **keys)
        export_run(folder, tmp_path / "export")
        return folder, tmp_path / "export"

    return make


def histories(recommender):
    """HISTORIES, with untrained items replaced by trained ones."""
    trained = recommender.item_tokens[1 : recommender.read_items.n_trained].tolist()
    return [[item if item in trained else trained[-1 - place] for place, item in enumerate(row)] for row in HISTORIES]


@pytest.mark.parametrize("case", CASES)
def test_an_export_recommends_what_its_run_does(exported, case):
    folder, export = exported(CASES[case][0], **CASES[case][1])
    recommender, loaded = Recommender.load(folder), recbole_unirep.load_export(export, n_threads=1)
    rows, n_items = histories(recommender), len(recommender.item_tokens) - 1
    everything = recommender.recommend(items=rows, k=n_items, keep_earlier=True)
    scores = loaded.scores(rows)
    assert scores.shape == (3, n_items) and scores.dtype == np.float32
    for row, expected in zip(scores, everything):
        place = [recommender.item_ids[item] - 1 for item in expected.items]
        np.testing.assert_allclose(row[place], expected.scores, atol=1e-5, rtol=1e-5)
    for options in ({}, {"k": 5, "candidates": recommender.item_tokens[1:60].tolist()}, {"keep_earlier": True}):
        found, expected = loaded.recommend(rows, **options), recommender.recommend(items=rows, **options)
        assert [row.items for row in found] == [row.items for row in expected]
        assert [row.titles for row in found] == [row.titles for row in expected]
        assert all(row.scores == pytest.approx(given.scores, abs=1e-5, rel=1e-5) for row, given in zip(found, expected))


@pytest.mark.parametrize("keys", [{"split": "cold_items", "cold_item_share": 0.2, **ADDED}, {**FROZEN, **BEST}])
def test_items_added_after_training_are_in_the_export(run, tmp_path, keys):
    folder = run("UniRep", **keys)
    new = [{"item_id": f"n{number}", "title": f"soap number {number}"} for number in (1, 2)]
    recbole_unirep.add_items(folder, [{**item, "categories": ["Beauty"], "price": 1.0} for item in new])
    export_run(folder, tmp_path / "export")
    recommender, loaded = Recommender.load(folder), recbole_unirep.load_export(tmp_path / "export", n_threads=1)
    first, cold = recommender.item_tokens[1], recommender.item_tokens[-3]
    rows = [[first, "n1"], ["n2"], [cold, "n2", first]]
    options = {"k": len(recommender.item_tokens) - 1, "keep_earlier": True}
    for found, expected in zip(loaded.recommend(rows, **options), recommender.recommend(items=rows, **options)):
        assert {"n1", "n2"} < {*found.items}
        assert found.scores == pytest.approx(expected.scores, abs=1e-5, rel=1e-5)
        scores = dict(zip(expected.items, expected.scores))  # items whose scores are that close may change places
        assert dict(zip(found.items, found.scores)) == pytest.approx(scores, abs=1e-5, rel=1e-5)


def test_score_additions_are_in_the_export_but_not_in_the_encoder(exported):
    _, export = exported("UniRep", **ADDED)
    manifest = recbole_unirep.load_export(export, n_threads=1).manifest
    assert list(manifest["additions"]) == list(ADDED)
    assert (
        "plus repeat_bias, transition_bias, history_similarity, popularity_bias, which are not in the encoder"
        in (manifest["scores"])
    )
    assert (export / "additions.safetensors").is_file()


@pytest.mark.parametrize("model", ["SASRec", "UniRep"])
def test_the_encoder_gives_the_states_of_the_model_for_any_number_of_rows(exported, model):
    folder, export = exported(model)
    _, model, _ = load_data_and_model(folder)
    session = onnxruntime.InferenceSession(export / "encoder.onnx", providers=["CPUExecutionProvider"])
    table = load_file(export / "items.safetensors")["item_vectors"]
    item_seq = torch.randint(1, 100, (5, 6), generator=torch.Generator().manual_seed(0))
    length = torch.tensor([1, 6, 3, 2, 4])
    item_seq *= torch.arange(6) < length[:, None]
    with torch.no_grad():
        states = sequence_states(model)(item_seq)[torch.arange(5), length - 1].numpy()
        np.testing.assert_array_equal(table, model.item_embedding.weight[: len(table)].numpy())
    for n_rows in (1, 2, 5):
        inputs = {"item_vectors": table, "item_seq": item_seq[:n_rows].numpy(), "length": length[:n_rows].numpy()}
        (found,) = session.run(["state"], inputs)
        np.testing.assert_allclose(found, states[:n_rows], atol=1e-5)
    more = np.concatenate([table, table[:3]])  # new items work with the same encoder
    np.testing.assert_allclose(session.run(["state"], {**inputs, "item_vectors": more})[0], states, atol=1e-5)


def test_equal_scores_are_ranked_in_the_order_of_evaluation(run, tmp_path):
    folder = run()
    state = torch.load(folder / "model.pt", weights_only=True)
    state["state_dict"]["item_embedding.weight"].zero_()
    torch.save(state, folder / "model.pt")
    export_run(folder, tmp_path / "export")
    (row,) = recbole_unirep.load_export(tmp_path / "export", n_threads=1).recommend([["i1", "i2"]], k=30)
    assert row.items == recbole_unirep.recommend(folder, items=[["i1", "i2"]], k=30)[0].items
    assert set(row.scores) == {0.0}


@pytest.mark.parametrize("model", ["SASRec", "UniRep", "TIGER", "BPR"])
def test_weights_are_those_of_the_model(exported, model):
    folder, export = exported(model, n_levels=3)
    _, model, _ = load_data_and_model(folder)
    expected, found = model.state_dict(), recbole_unirep.load_export(export, n_threads=1).weights()
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], tensor.numpy()) for name, tensor in expected.items())


def test_weights_that_share_memory_are_stored_once(run, tmp_path, monkeypatch):
    folder = run()
    load = Recommender.load.__func__

    def tied(cls, *given, **keys):
        recommender = load(cls, *given, **keys)
        recommender.model.output = recommender.model.item_embedding
        return recommender

    monkeypatch.setattr(Recommender, "load", classmethod(tied))
    export_run(folder, tmp_path / "export")
    assert ("output.weight" in load_file(tmp_path / "export" / "weights.safetensors")) is False
    weights = recbole_unirep.load_export(tmp_path / "export", n_threads=1).weights()
    assert np.array_equal(weights["output.weight"], weights["item_embedding.weight"])


@pytest.mark.parametrize(
    ("model", "keys", "sizes"),
    [
        ("UniRep", {"n_levels": 3}, [8, 8, 8]),
        ("UniRep", FROZEN, [8, 8, 8]),
        ("TIGER", {"n_levels": 3}, [8, 8, 8, None]),
    ],
)
def test_semantic_ids_and_codebooks_are_exported(exported, model, keys, sizes):
    folder, export = exported(model, **keys)
    _, model, data = load_data_and_model(folder)
    ids = SemanticIds.load(export / "semantic_ids")
    assert ids.items == data.train.field2id_token[data.train.iid_field][1:].tolist()
    codes = model.open_codes if hasattr(model, "open_codes") else model.item_embedding.codes()
    assert np.array_equal(ids.codes, codes.numpy())
    books = load_file(export / "codebooks.safetensors")
    found = [len(books[f"level_{number}"]) for number in range(1, len(books) + 1)]
    assert found == [size or given for size, given in zip(sizes, ids.codebook_sizes)] == ids.codebook_sizes
    if "tokenizer" not in keys and type(model).__name__ == "UniRep":
        assert np.array_equal(books["level_2"], model.item_embedding.tokenizer.quantizer.codebooks[1].detach().numpy())
        tokenizer, text = load_bundle(export / "semantic_ids").tokenizer, model.item_embedding.item_text_embedding[1:]
        assert np.array_equal(tokenizer.encode(text).numpy(), ids.codes)


def test_a_model_that_does_not_score_by_a_product_is_exported_without_an_encoder(shell, run, tmp_path):
    folder = run("TIGER", n_levels=3)
    code, out, error = shell("export", folder)
    assert (code, error) == (0, "")
    assert "TIGER does not score by the product of a state and an item table" in out.splitlines()[1]
    names = {path.name for path in (folder / "export").iterdir()}
    assert "encoder.onnx" not in names and {"weights.safetensors", "semantic_ids", "codebooks.safetensors"} <= names
    with pytest.raises(ValueError, match="cannot recommend; scores: none; TIGER does not score"):
        recbole_unirep.load_export(folder / "export").recommend([["i1"]])


def test_an_export_is_read_without_recbole_torch_or_the_data(exported, tiny):
    folder, export = exported("UniRep", **ADDED)
    expected = recbole_unirep.recommend(folder, items=[["i1", "i2"]], k=3)[0].items
    for file in [*tiny.iterdir(), *(path for path in folder.rglob("*") if path.is_file())]:
        file.unlink()
    program = (
        "import sys, recbole_unirep\n"
        f"rows = recbole_unirep.load_export({str(export)!r}, n_threads=1).recommend([['i1', 'i2']], k=3)\n"
        "print(*rows[0].items, *sorted({'torch', 'recbole', 'pandas', 'pickle5'} & sys.modules.keys()))"
    )
    root = Path(recbole_unirep.__file__).resolve().parents[1]
    answer = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == expected


def test_no_file_of_an_export_is_a_pickle(exported):
    _, export = exported("UniRep", **ADDED)
    endings = {path.suffix for path in export.rglob("*") if path.is_file()}
    assert endings == {".safetensors", ".json", ".yaml", ".onnx"}
    manifest = json.loads((export / "manifest.json").read_text(encoding="utf-8"))
    names = {path.relative_to(export).as_posix() for path in export.rglob("*") if path.is_file()}
    assert manifest["files"].keys() == names - {"manifest.json"}

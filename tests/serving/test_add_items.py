"""New items of a finished run are in the catalogue at once, and scores of old items stay bit-identical."""

import json

import numpy as np
import pytest
import torch

import recbole_unirep
from recbole_unirep.commands.tokenize import tokenize
from recbole_unirep.scoring import cold_offset
from recbole_unirep.semantic_ids.ids import SemanticIds
from recbole_unirep.serving.added_items import read_added
from recbole_unirep.serving.recommender import Recommender

NEW = [
    {"item_id": "n1", "title": "soap number 3", "categories": "'Beauty', 'soap'", "price": "4.5"},
    {"item_id": "n2", "title": "brush", "categories": ["Beauty", "brush"], "price": None},
]
LATER = [{"item_id": "n3", "title:token": "lipstick number 1", "categories": "", "price": 2.5}]
ADDED = {"repeat_bias": True, "transition_bias": 2, "history_similarity": 1.5, "popularity_bias": 0.2}
FROZEN = {"code_embedding_size": 8, "n_levels": 2}
CASES = {
    "unified": {},
    "semantic": {"representation": "semantic", "code_dim": 16},
    "text": {"representation": "text", "code_dim": 16},
    "text_id": {"representation": "text_id"},
    "GRU4Rec": {"backbone": "GRU4Rec"},
    "all score additions": ADDED,
    "all score additions, without codes": {**ADDED, "representation": "text_id"},
    "cosine, projections, a local convolution": {
        "similarity": "cosine", "fusion": "mlp", "local_convolution": 3, "output_projection": True,
    },
    "cold items": {"split": "cold_items", "cold_item_share": 0.2, **ADDED},
    "frozen codes": {**FROZEN, **ADDED, "tokenizer": "RQKMeans"},
    "frozen codes with a level for collisions": {**FROZEN, "tokenizer": "RQKMeans", "collisions": "append"},
    "codes of text and collaborative vectors": {**FROZEN, "tokenizer": "Fused", "collaborative_dim": 4},
    "TextKNN": {"model": "TextKNN"},
    "VQRec": {"model": "VQRec", "n_levels": 4, "code_embedding_size": 16},
}  # fmt: skip
COLUMNS = ("item_id", "title", "categories", "price")
HISTORIES = [[1, 2, 3], [7], [9, 8, 7, 6, 5, 4, 3], [2, 2]]  # item ids; cold items have the highest ids


def scores(recommender, items=None):
    """All items with their scores, best first: for `items`, or else for HISTORIES and all known users."""
    k = len(recommender.item_tokens) - 1
    if items is not None:
        return recommender.recommend(items=items, k=k, keep_earlier=True)
    items = [recommender.item_tokens[history].tolist() for history in HISTORIES]
    return scores(recommender, items) + recommender.recommend(k=k, keep_earlier=True)


def without(rows, tokens):
    """(item, score) pairs per row, without the given items."""
    return [[pair for pair in zip(row.items, row.scores) if pair[0] not in tokens] for row in rows]


@pytest.mark.parametrize("case", CASES)
def test_scores_and_order_of_old_items_stay_bit_identical(run, case):
    folder = run(**{"model": "UniRep", **CASES[case]})
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    before = without(scores(Recommender.load(folder)), ())
    assert [*recbole_unirep.add_items(folder, NEW).items] == ["n1", "n2"]
    once = scores(Recommender.load(folder))
    assert without(once, ("n1", "n2")) == before
    assert all({"n1", "n2"} <= {*row.items} and np.isfinite(row.scores).all() for row in once)
    assert recbole_unirep.add_items(folder, LATER).items == ["n1", "n2", "n3"]
    recommender = Recommender.load(folder)
    twice = scores(recommender)
    assert without(twice, ("n3",)) == without(once, ())
    assert {path: path.read_bytes() for path in files} == files

    one, other = recommender.item_tokens[1:3]
    histories = [[one, "n1"], ["n2"], ["n3", other, "n3"], [one]]
    *new, old = recommender.recommend(items=histories, k=5)
    assert all(np.isfinite(row.scores).all() and len(row.items) == 5 for row in new)
    assert new[0].scores != old.scores and not {one, "n1"} & {*new[0].items}
    (new_ones,) = recommender.recommend(items=[[one, "n1"]], k=3, candidates=["n1", "n2", "n3"])
    assert sorted(new_ones.items) == ["n2", "n3"]


def test_new_items_get_the_offset_that_the_run_chose_on_its_validation_items(run, monkeypatch):
    monkeypatch.setattr(cold_offset, "LOSS", 0.5)  # the usual one allows no offset on so few users
    keys = {"model": "UniRep", **ADDED}
    folders = [run(**keys, chosen_on_validation=chosen) for chosen in (["cold_offset"], [])]
    offset = json.loads((folders[0] / "result.json").read_text(encoding="utf-8"))["chosen_on_validation"]["cold_offset"]
    assert offset
    raised, plain = [], []
    for folder, rows in zip(folders, (raised, plain)):
        recbole_unirep.add_items(folder, NEW)
        rows += [dict(zip(row.items, row.scores)) for row in scores(Recommender.load(folder))]
    for with_offset, without_offset in zip(raised, plain):
        for item, score in without_offset.items():
            more = offset if item in ("n1", "n2") else 0
            assert with_offset[item] == pytest.approx(score + more, abs=1e-5)


def test_an_item_with_the_same_text_as_an_old_one_is_read_and_scored_like_it(run, tiny, plain):
    folder = run("UniRep", **{**plain, **CASES["semantic"], "history_similarity": 1.0, "epochs": 1})
    lines = (line.split("\t") for line in (tiny / "tiny.item").read_text(encoding="utf-8").splitlines())
    twin = next(cells for cells in lines if cells[0] == "i5")
    added = recbole_unirep.add_items(folder, [dict(zip(COLUMNS, ["n5", *twin[1:]]))])
    recommender = Recommender.load(folder)
    number = recommender.item_ids["i5"]
    model = recommender.model
    assert torch.allclose(model.item_embedding.weight[-1], model.item_embedding.weight[number], atol=1e-6)
    by_old, by_new = scores(recommender, [["i1", "i5"], ["i1", "n5"]])
    for row in (by_old, by_new):
        of_item = dict(zip(row.items, row.scores))
        assert of_item["n5"] == pytest.approx(of_item["i5"], abs=1e-5)
    assert dict(zip(by_new.items, by_new.scores)) == pytest.approx(dict(zip(by_old.items, by_old.scores)), abs=1e-5)
    assert added.titles == [twin[1]] == [by_old.titles[by_old.items.index("n5")]]


def test_textknn_ranks_new_items_by_the_similarity_of_their_texts(run):
    folder = run("TextKNN")
    added = recbole_unirep.add_items(folder, [*NEW, *LATER])
    recommender = Recommender.load(folder)
    unit = torch.nn.functional.normalize(added.embedded.text)
    (row,) = recommender.recommend(items=[["n1"]], k=121, keep_earlier=True)
    found = dict(zip(row.items, row.scores))
    assert [found[item] for item in ("n1", "n2", "n3")] == pytest.approx((unit @ unit[0]).tolist(), abs=1e-5)
    assert found["i1"] == pytest.approx(
        float(recommender.model.unit_text[recommender.item_ids["i1"]] @ unit[0]), abs=1e-5
    )


def test_models_read_added_items_but_not_cold_items_of_a_history(run):
    folder = run("UniRep", **CASES["cold items"])
    recommender = Recommender.load(folder)
    cold = recommender.item_tokens[recommender.read_items.n_trained]
    recbole_unirep.add_items(folder, NEW)
    recommender = Recommender.load(folder)
    warm = recommender.item_tokens[1]
    plain, with_cold, with_new = scores(recommender, [[warm], [warm, cold], [warm, "n1"]])
    assert dict(zip(with_cold.items, with_cold.scores)) == dict(zip(plain.items, plain.scores))
    assert dict(zip(with_new.items, with_new.scores)) != dict(zip(plain.items, plain.scores))
    with pytest.raises(ValueError, match="has no item that took part in training"):
        recommender.recommend(items=[[cold]])
    assert len(recommender.recommend(items=[["n2"]])[0].items) == 10


@pytest.mark.parametrize("id_fallback", ["mean", "zero", "nearest"])
def test_id_embeddings_of_new_items_follow_id_fallback(run, id_fallback):
    folder = run("UniRep", cold_id_embedding="untrained")
    table = Recommender.load(folder).model.item_embedding
    trained = table.id_embedding.weight.detach()
    added = recbole_unirep.add_items(folder, NEW, id_fallback=id_fallback)
    unit = torch.nn.functional.normalize
    nearest = (unit(added.embedded.text) @ unit(table.item_text_embedding[1:]).T).argmax(dim=1)
    wanted = {"mean": trained.mean(dim=0).expand(2, -1), "zero": torch.zeros(2, 8), "nearest": trained[nearest]}
    assert torch.equal(added.embedded.ids, wanted[id_fallback])
    assert added.batches == [{"n_items": 2, "vectors": "lexical", "id_fallback": id_fallback}]
    assert torch.equal(added.embedded.codes, table.tokenizer.encode(added.embedded.text))
    if id_fallback == "mean":  # also the default if the run leaves cold items untrained
        assert recbole_unirep.add_items(folder, LATER).batches[1]["id_fallback"] == "mean"


@pytest.mark.parametrize("index", ["faiss", "hnsw"])
def test_an_index_holds_added_items(run, plain, index):
    folder = run("UniRep", **{**plain, "epochs": 1})
    recbole_unirep.add_items(folder, NEW)
    exact, indexed = Recommender.load(folder), Recommender.load(folder, index=index)
    assert len(indexed.index) == len(exact.item_tokens) - 1 == 120
    every = indexed.recommend(items=[["i1", "n1"]], k=118)
    assert every == exact.recommend(items=[["i1", "n1"]], k=118)
    assert "n2" in every[0].items


def test_new_items_get_semantic_ids_from_the_tokenizer_of_the_bundle(run, tiny):
    keys = ["--dataset=tiny", f"--data_path={tiny.parent}", "--text_encoder=lexical", "--lexical_dim=16"]
    tokenize([*keys, "--tokenizer=RQKMeans", "--n_levels=2", "--codebook_size=8", "--out=ids", "--collisions=append"])
    folder = run("UniRep", semantic_ids="ids", code_embedding_size=8, text_encoder="unused")
    before = without(scores(Recommender.load(folder)), ())
    titles = [line.split("\t")[:4] for line in (tiny / "tiny.item").read_text(encoding="utf-8").splitlines()[1:119]]
    rows = [dict(zip(COLUMNS, [f"n-{cells[0]}", *cells[1:]])) for cells in titles]
    added = recbole_unirep.add_items(folder, rows, id_fallback="nearest")
    assert without(scores(Recommender.load(folder)), {row["item_id"] for row in rows}) == before
    ids = SemanticIds.load("ids")
    known = [item for item in added.items if item[2:] in ids.row]
    assert len(known) > 110 and len(ids.codebook_sizes) == 3
    codes = dict(zip(added.items, added.embedded.codes.tolist()))
    assert all(codes[item] == [*ids.id_of(item[2:])[:2], -1] for item in known)


def test_a_damaged_file_or_one_for_another_checkpoint_is_refused(run):
    folder = run("UniRep")
    recbole_unirep.add_items(folder, NEW)
    file = folder / "added_items.safetensors"
    whole, recommender = file.read_bytes(), Recommender.load(folder)
    for place in (len(whole) - 1, len(whole) // 2, whole.index(b"n2"), whole.index(b"lexical")):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="is not the file that was written|can't be read"):
            Recommender.load(folder)
    file.write_bytes(whole[:-5])
    with pytest.raises(ValueError, match="can't be read .*: remove it and add the items again"):
        recbole_unirep.add_items(folder, LATER)
    file.write_bytes(whole)
    assert scores(Recommender.load(folder)) == scores(recommender)
    assert read_added(folder).titles == ["soap number 3", "brush"]
    torch.save({**torch.load(folder / "model.pt", weights_only=True), "epoch": -1}, folder / "model.pt")
    with pytest.raises(ValueError, match="was made for a different model.pt than the one in the folder: remove it"):
        Recommender.load(folder)
    file.unlink()
    assert len(Recommender.load(folder).item_tokens) == 119

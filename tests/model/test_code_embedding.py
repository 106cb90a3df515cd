"""UniRep over frozen codes: pieces, policies, bundles; tests/tokenizer/test_contract.py runs it on every tokenizer."""

import numpy as np
import pytest
import torch

from recbole_unirep.modules.code_embedding import CodeEmbedding
from recbole_unirep.semantic_ids.ids import SemanticIds
from recbole_unirep.tokenizer import TOKENIZERS


def test_vectors_of_an_items_codes_are_summed_and_unused_levels_add_nothing():
    codes = torch.tensor([[-1, -1], [0, 2], [1, -1]])
    embedding = CodeEmbedding(codes, [2, 3], dim=4, init_std=1.0)
    assert embedding.n_parameters == 5 * 4
    vectors, found = embedding(torch.tensor([0, 1, 2]))
    weight = embedding.vectors.weight
    assert not vectors[0].any()
    torch.testing.assert_close(vectors[1], weight[1] + weight[5])
    torch.testing.assert_close(vectors[2], weight[2])
    assert torch.equal(found, codes)


def test_items_with_one_id_share_a_vector_if_representation_is_semantic(prepare):
    _, _, model = prepare(tokenizer="VQ", representation="semantic", code_embedding_size=8, codebook_size=2)
    codes, table = model.item_embedding.codes()[:, 0], model.eval().item_embedding.weight[1 : model.n_items]
    for code in (0, 1):
        rows = table[codes == code]
        assert len(rows) > 1 and (rows == rows[0]).all()


def test_a_policy_makes_ids_unique(prepare):
    keys = {"tokenizer": "RQKMeans", "codebook_size": 4, "n_levels": 2}
    _, _, model = prepare(**keys)
    _, _, apart = prepare(collisions="append", **keys)
    assert model.codebook_report()["unique_item_coverage"] < 1
    assert apart.codebook_report()["unique_item_coverage"] == 1
    assert len(apart.item_embedding.codebook_sizes) == 3


def test_codes_of_a_bundle_are_matched_by_item_token(prepare, tmp_path):
    config, data, _ = prepare(representation="id")
    items = [str(token) for token in data.train.field2id_token["item_id"][1:]]
    codes = np.arange(len(items))[:, None] % 5
    order = np.random.default_rng(0).permutation(len(items))
    SemanticIds([items[row] for row in order], codes[order], [5]).save(tmp_path / "ids", {}, {})
    _, _, model = prepare(semantic_ids=str(tmp_path / "ids"))
    assert np.array_equal(model.item_embedding.codes().numpy(), codes)
    _, _, apart = prepare(semantic_ids=str(tmp_path / "ids"), collisions="append")
    assert apart.codebook_report()["unique_item_coverage"] == 1
    assert np.array_equal(apart.item_embedding.codes().numpy()[:, :1], codes)
    with pytest.raises(
        ValueError,
        match="collisions=sinkhorn chooses the last code by distance .* bundles .* do not have: use leave or append",
    ):
        prepare(semantic_ids=str(tmp_path / "ids"), collisions="sinkhorn")
    numbers = np.arange(len(items))[:, None]
    SemanticIds(items, numbers, [len(items)]).save(tmp_path / "unique", {}, {})
    _, _, unique = prepare(semantic_ids=str(tmp_path / "unique"), collisions="append")
    assert np.array_equal(unique.item_embedding.codes().numpy(), numbers)
    SemanticIds(items[1:], codes[1:], [5]).save(tmp_path / "fewer", {}, {})
    with pytest.raises(ValueError, match=f"fewer lacks 1 of {len(items)} items, '{items[0]}' first"):
        prepare(semantic_ids=str(tmp_path / "fewer"))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"tokenizer": "RQKMeans", "representation": "text_id"},
            "text_id needs the encoder of a jointly trained tokenizer",
        ),
        ({"tokenizer": "RQKMeans", "collisions": "drop"}, "collisions=drop is not known: choose one of leave, append"),
        (
            {"collisions": "append"},
            "collisions=append needs a tokenizer that is fitted before training, found tokenizer=RQVAE",
        ),
        ({"semantic_ids": "ids", "split": "cold_items"}, "semantic_ids=ids were learned from cold items too"),
        ({"tokenizer": "RQKMeans", "cold_id_embedding": "nearest"}, "cold_id_embedding=nearest needs encoded text"),
        ({"level_metrics": None}, "level_metrics=None is not a list"),
        ({"tokenizer": "RQKMeans", "kmeans_iterations": 0}, "kmeans_iterations=0 is too small: give at least 1"),
        ({"tokenizer": "CategoricalIDs", "id_columns": ["colour"]}, "there is no column colour: the .item file has"),
        ({"tokenizer": "RandomIDs", "collisions": "sinkhorn"}, "bundles and this tokenizer do not have"),
    ],
)
def test_incompatible_options_are_a_one_line_error(prepare, keys, message):
    with pytest.raises(ValueError, match=message):
        prepare(**keys)


def test_nothing_is_learned_from_cold_items(prepare, monkeypatch):
    seen = []
    fit = TOKENIZERS["RQKMeans"].fit
    monkeypatch.setattr(TOKENIZERS["RQKMeans"], "fit", lambda self, x: (seen.append(len(x)), fit(self, x))[1])
    _, _, model = prepare(tokenizer="RQKMeans", codebook_size=4, split="cold_items", cold_item_share=0.2)
    assert seen[0] <= model.n_training_items - 1 < model.n_items - 1
    assert (model.item_embedding.codes() >= 0).all()


@pytest.mark.parametrize("keys", [{"code_pieces": "ngram"}, {"code_pieces": "sentencepiece", "n_pieces": 40}])
def test_pieces_of_ids_are_an_items_input(prepare, keys):
    """Only items with the same ID have the same vector; the checkpoint restores the pieces."""
    keys = {"tokenizer": "RQKMeans", "codebook_size": 4, "code_embedding_size": 8, "representation": "semantic", **keys}
    _, data, model = prepare(**keys)
    embedding = model.item_embedding.code_embedding
    assert model.item_table_parameters == 8 * int(embedding.tokens.max())
    sum(model.row_losses(next(iter(data.train_data)))).backward()
    assert embedding.vectors.weight.grad.any()
    table = model.eval().item_embedding.weight[1 : model.n_items]
    _, of_code = model.item_embedding.codes().unique(dim=0, return_inverse=True)
    for code in range(int(of_code.max()) + 1):
        rows = table[of_code == code]
        assert (rows == rows[0]).all()
    assert len(table.unique(dim=0)) == int(of_code.max()) + 1
    _, _, again = prepare(seed=7, **keys)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval().item_embedding.weight[1 : model.n_items], table)


def test_pieces_of_only_cold_items_add_nothing(prepare):
    keys = {"tokenizer": "RandomIDs", "codebook_size": 9, "code_embedding_size": 8, "code_pieces": "ngram"}
    _, _, model = prepare(split="cold_items", cold_item_share=0.2, ngram_size=2, **keys)
    tokens = model.item_embedding.code_embedding.tokens
    warm, cold = tokens[1 : model.n_training_items], tokens[model.n_training_items :]
    assert (warm > 0).all()
    assert (cold == 0).any()
    assert set(cold.flatten().tolist()) <= {0, *warm.flatten().tolist()}


def test_pieces_of_jointly_trained_codes_are_refused(prepare):
    with pytest.raises(ValueError, match="code_pieces=ngram needs frozen codes, tokenizer=RQVAE"):
        prepare(code_pieces="ngram")
    with pytest.raises(ValueError, match="code_pieces=ngram needs codes, representation=id has none"):
        prepare(code_pieces="ngram", tokenizer="RQKMeans", representation="id")

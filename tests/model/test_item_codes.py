"""Codes and item vectors of models, as figures, inspection, exports and tokenizers read them."""

import numpy as np
import pytest
import torch
from torch import nn

from recbole_unirep.model.item_codes import item_table, item_vectors, model_codes


@pytest.mark.parametrize("tokenizer", ["RQVAE", "RQKMeans"])
def test_codes_and_vectors_cover_all_items_including_cold_ones(prepare, tokenizer):
    _, data, model = prepare(split="cold_items", tokenizer=tokenizer)
    model.eval()
    assert model.n_training_items < model.n_items
    found, vectors = model_codes(model), item_vectors(model, model.n_items)
    assert found.codes.shape == (model.n_items - 1, len(found.sizes))
    assert {name: len(part) for name, part in vectors.items()} == dict.fromkeys(
        ("semantic embedding", "ID embedding"), model.n_items - 1
    )
    sums = sum(book[code] for book, code in zip(found.codebooks, found.codes.T))
    np.testing.assert_allclose(vectors["semantic embedding"], sums, rtol=1e-5, atol=1e-6)


def test_level_metrics_are_those_of_the_quantizer_and_euclidean_for_frozen_codes(prepare):
    _, _, trained = prepare(n_levels=3, level_metrics=["cosine", "euclidean"])
    assert model_codes(trained.eval()).level_metrics == ["cosine", "euclidean", "euclidean"]
    _, _, frozen = prepare(tokenizer="RQKMeans", n_levels=2)
    found = model_codes(frozen.eval())
    assert found.level_metrics == ["euclidean"] * 2 and found.tokenizer is None


@pytest.mark.parametrize(
    ("representation", "names"),
    [("id", ["ID embedding"]), ("text_id", ["text embedding, not quantized", "ID embedding"])],
)
def test_models_without_codes_have_only_vectors(prepare, representation, names):
    _, _, model = prepare(representation=representation)
    assert model_codes(model.eval()) is None
    assert list(item_vectors(model, model.n_items)) == names


def test_the_table_of_a_recbole_model_is_its_embedding(load):
    _, data, model = load("SASRec")
    assert item_table(model) is model.item_embedding and model_codes(model) is None
    (vectors,) = item_vectors(model, model.n_items).values()
    assert np.array_equal(vectors, model.item_embedding.weight[1 : model.n_items].detach().numpy())


def test_a_model_without_item_table_has_none():
    model = nn.Linear(2, 2)
    assert item_table(model) is None and model_codes(model) is None and item_vectors(model, 3) == {}
    model.item_embedding = torch.nn.Linear(2, 2)  # not an item table despite its name
    assert item_table(model) is None

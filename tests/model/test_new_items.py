"""New items are embedded exactly like cold items of a run."""

import pytest
import torch

from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.model.new_items import check_takes_items, check_text, embed_new_items
from recbole_unirep.semantic_ids.new_item_codes import frozen_tokenizer, with_unused_levels

COLD = {"split": "cold_items", "cold_item_share": 0.2, "lexical_dim": 16}
FIXED = {"code_embedding_size": 8, "n_levels": 2, "codebook_size": 8}
QUICK = {"fit_epochs": 2}
CASES = {
    "unified": {},
    "semantic": {"representation": "semantic"},
    "text_id": {"representation": "text_id"},
    "nearest": {"cold_id_embedding": "nearest"},
    "zero": {"cold_id_embedding": "zero", "fusion": "mlp"},
    "RQKMeans": {**FIXED, "tokenizer": "RQKMeans"},
    "PQ": {**FIXED, "tokenizer": "PQ", "representation": "semantic"},
    "LETTER": {
        **FIXED,
        "tokenizer": "LETTER",
        "code_dim": 4,
        "collaborative_dim": 4,
        "code_clusters": 2,
        "fit_epochs": 2,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_new_item_gets_the_vectors_of_a_cold_item_with_the_same_text(prepare, case):
    config, data, model = prepare(**COLD, **CASES[case])
    table = model.eval().item_embedding
    check_takes_items(config, model)
    text, first = load_item_text(config, data.train).vectors, table.n_training_items
    has_text = text.any(dim=1)
    cold = torch.arange(first, len(text))[has_text[first:]]
    codes = None
    if table.code_embedding is not None:
        frozen = frozen_tokenizer(config, data.train, table.code_embedding.codes)
        codes = with_unused_levels(frozen.encode(text[cold]), table.code_embedding.codes.shape[1])
        assert torch.equal(codes, table.code_embedding.codes[cold])
    else:
        check_text(model, text)
    fallback = config["cold_id_embedding"] if table.has_id else None
    new = embed_new_items(table, text[cold], codes, fallback, text)
    with torch.no_grad():
        assert torch.allclose(new.rows, table.weight[cold], atol=1e-6)
        assert torch.allclose(new.directions, table.directions(cold), atol=1e-5)
        if table.has_codes:
            assert torch.equal(new.codes, table.codes()[cold - 1])
    assert (new.ids is None) == (fallback is None) and len(cold) > 20


def test_the_level_added_for_collisions_is_unused(prepare):
    keys = {"representation": "semantic", "similarity": "dot", "fusion": "concat"}
    config, data, model = prepare(**FIXED, **keys, tokenizer="RQKMeans", collisions="append")
    table = model.eval().item_embedding
    frozen = frozen_tokenizer(config, data.train, table.code_embedding.codes)
    text = load_item_text(config, data.train).vectors[1:3]
    codes = with_unused_levels(frozen.encode(text), 3)
    assert codes[:, 2].tolist() == [-1, -1]
    vectors, sizes = table.code_embedding.vectors.weight, table.codebook_sizes
    new = embed_new_items(table, text, codes)
    by_hand = vectors[1 + codes[:, 0]] + vectors[1 + sizes[0] + codes[:, 1]]
    assert torch.allclose(new.rows, by_hand, atol=1e-6)


def test_changed_text_vectors_or_codes_are_an_error(prepare):
    config, data, model = prepare(lexical_dim=16)
    text = load_item_text(config, data.train).vectors
    text[5] = text[5].flip(0)
    with pytest.raises(ValueError, match="1 of 118 items of the run have other text vectors"):
        check_text(model, text)
    config, data, model = prepare(**FIXED, tokenizer="RQKMeans")
    codes = model.item_embedding.code_embedding.codes.clone()
    codes[[3, 9], 0] = (codes[[3, 9], 0] + 1) % 8
    with pytest.raises(ValueError, match="tokenizer RQKMeans of the run gives 2 of 118 items of the run other codes"):
        frozen_tokenizer(config, data.train, codes)

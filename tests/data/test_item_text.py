"""Item text embeddings: order of rows, several encoders, missing texts and files."""

import logging
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_unirep.data.item_text import load_item_text, side_by_side

DATASET = SimpleNamespace(
    iid_field="item_id", item_num=4, field2id_token={"item_id": np.array(["[PAD]", "b", "c", "a"])}
)


@pytest.fixture
def config(tmp_path):
    """Keys of a dataset 'toy'; absent keys are None, as in RecBole's Config."""
    (tmp_path / "toy.item").write_text(
        "item_id:token\ttitle:token\tcolour:token\na\tred lipstick\tred\nb\thair dryer\t\nz\tnever bought\tblue\n",
        encoding="utf-8",
    )
    keys = {
        "dataset": "toy",
        "data_path": str(tmp_path),
        "ITEM_ID_FIELD": "item_id",
        "field_separator": "\t",
        "text_encoder": "lexical",
    }
    sizes = {"lexical_dim": 8, "text_batch_size": 2, "text_shard_size": 2048, "text_processes": 1}
    return defaultdict(lambda: None, keys, text_dtype="float32", **sizes)


def test_rows_have_the_order_of_recboles_ids_and_padding_is_zero(config, tmp_path):
    np.save(tmp_path / "toy.mine.npy", np.array([[1, 2], [3, 4], [0, 0]], dtype=np.float16))
    (tmp_path / "toy.mine.json").write_text('{"items": ["a", "b", "c"]}', encoding="utf-8")
    config["text_encoder"] = "mine"
    text = load_item_text(config, DATASET)
    assert text.vectors.dtype == torch.float32
    assert text.vectors.tolist() == [[0, 0], [3, 4], [0, 0], [1, 2]]
    assert (text.encoder, text.dimension, text.n_without_text) == ("mine", 2, 1)


def test_vectors_of_several_encoders_are_scaled_to_length_1_and_concatenated(config, tmp_path):
    np.save(tmp_path / "toy.mine.npy", np.array([[3, 4], [0, 2], [0, 0]], dtype=np.float16))
    (tmp_path / "toy.mine.json").write_text('{"items": ["a", "b", "c"]}', encoding="utf-8")
    lexical = load_item_text(config, DATASET).vectors
    config["text_encoder"] = ["mine", "lexical"]
    text = load_item_text(config, DATASET)
    assert text.encoder == "mine + lexical"
    torch.testing.assert_close(text.vectors[:, :2], torch.tensor([[0, 0], [0, 1], [0, 0], [0.6, 0.8]]))
    torch.testing.assert_close(text.vectors[:, 2:], lexical)
    assert text.n_without_text == 1


@pytest.mark.parametrize(
    ("encoders", "message"),
    [([], "names no encoder"), (["lexical", 3], "names no encoder"), (["lexical", "lexical"], "an encoder twice")],
)
def test_invalid_encoder_lists_are_errors(config, encoders, message):
    config["text_encoder"] = encoders
    with pytest.raises(ValueError, match=message):
        load_item_text(config, DATASET)


def test_an_item_without_text_is_counted_and_logged(config, caplog):
    caplog.set_level(logging.INFO)
    text = load_item_text(config, DATASET)
    assert text.vectors.norm(dim=1).round(decimals=4).tolist() == [0, 1, 0, 1]
    assert f"encoder lexical, {text.dimension} dimensions, 3 items, 1 without text" in caplog.text


def test_items_dropped_by_the_filter_are_not_encoded(config, caplog):
    caplog.set_level(logging.INFO)
    load_item_text(config, DATASET)
    assert "encoding 2 distinct texts of 3 items" in caplog.text


@pytest.mark.parametrize("fields", ["colour", ["colour"]])
def test_text_fields_may_be_a_single_name(config, fields):
    config["text_fields"] = fields
    assert load_item_text(config, DATASET).n_without_text == 2


def test_a_missing_item_file_is_an_error(config, tmp_path):
    (tmp_path / "toy.item").unlink()
    with pytest.raises(FileNotFoundError, match="toy.item is missing"):
        load_item_text(config, DATASET)


def test_one_source_stays_as_it_is():
    assert torch.equal(side_by_side([torch.tensor([[3.0]])]), torch.tensor([[3.0]]))

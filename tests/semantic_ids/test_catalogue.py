"""What tokenizers read: columns of a dataset, the items' graph, vectors of files."""

import json

import numpy as np
import pytest
import torch

from recbole_unirep.config import Config
from recbole_unirep.data.cooccurrence import graph_vectors
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.data.item_file import load_items
from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.semantic_ids.catalogue import catalogue_of_files, graph, load_catalogue


@pytest.fixture
def config(tiny):
    return Config("UniRep", "tiny", config_dict={"data_path": str(tiny.parent), "text_encoder": "lexical"})


def test_columns_are_in_the_datasets_numbering_as_text_and_lists(config):
    dataset = create_dataset(config)
    items = load_items(config, dataset)
    assert items.tokens == [str(token) for token in dataset.field2id_token["item_id"][1:]]
    row = items.tokens.index("i3")
    kind = items.columns["title"][row].split()[0]
    assert items.columns["categories"][row] == ["Beauty", kind]
    empty = items.tokens.index("i119")
    assert (items.columns["title"][empty], items.columns["categories"][empty]) == ("", [])


def test_without_item_file_there_are_no_columns(config, tiny):
    (tiny / "tiny.item").unlink()
    items = load_items(config, create_dataset(config))
    assert len(items) > 100 and items.columns == {}


def test_a_tokenizer_learns_only_from_items_with_text(config):
    catalogue = load_catalogue(config, create_dataset(config), "RQKMeans")
    assert len(catalogue.items) - len(catalogue.learned) == 1
    assert catalogue.to_learn_from().any(dim=-1).all()
    assert catalogue.vectors == ["lexical"]


def test_items_that_occur_together_lie_near_each_other():
    users = np.repeat(np.arange(40), 4)
    items = np.concatenate([np.random.default_rng(user).permutation(4) + 1 + 4 * (user % 2) for user in range(40)])
    sequences = UserSequences.from_arrays(users, items, 40)
    vectors = graph_vectors(sequences, np.full(40, 4), n_items=10, dim=2, seed=0)
    assert not vectors[[0, 9]].any()  # padding, and an item without interactions
    unit = vectors[1:9] / np.linalg.norm(vectors[1:9], axis=1, keepdims=True)
    likeness = unit @ unit.T
    assert likeness[:4, :4].min() > 0.9 and likeness[4:, 4:].min() > 0.9
    assert np.abs(likeness[:4, 4:]).max() < 0.2


def test_held_out_interactions_are_not_in_the_graph():
    sequences = UserSequences.from_arrays(np.repeat([0, 1], 3), np.array([1, 2, 3, 1, 2, 3]), 2)
    vectors = graph_vectors(sequences, np.array([2, 2]), n_items=4, dim=2, seed=0)
    assert vectors[1:3].any() and not vectors[3].any()


def test_the_graph_of_a_dataset_reads_its_training_part(config):
    train = create_dataset(config).build_for_rows()[0]
    vectors = graph(train, 5, seed=1)
    assert vectors.shape == (train.item_num - 1, 5)
    assert torch.equal(vectors, graph(train, 5, seed=1))


def _write(folder, name, vectors, items):
    np.save(folder / f"{name}.npy", np.array(vectors, dtype=np.float32))
    (folder / f"{name}.json").write_text(json.dumps({"items": items}), encoding="utf-8")
    return folder / f"{name}.npy"


def test_vectors_of_several_files_are_matched_by_item_token(tmp_path):
    text = _write(tmp_path, "text", [[2.0, 0.0], [0.0, 0.0]], ["a", "b"])
    image = _write(tmp_path, "image", [[0.0, 3.0], [5.0, 0.0]], ["b", "a"])
    catalogue = catalogue_of_files([text, image])
    assert catalogue.items == ["a", "b"]
    assert catalogue.known.tolist() == [[1, 0, 1, 0], [0, 0, 0, 1]]
    assert catalogue_of_files([text]).learned.tolist() == [0]


def test_a_missing_file_and_a_missing_item_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="text.npy is missing"):
        catalogue_of_files([tmp_path / "text.npy"])
    text = _write(tmp_path, "text", [[1.0], [1.0]], ["a", "b"])
    with pytest.raises(ValueError, match="image.json lacks 1 of 2 items"):
        catalogue_of_files([text, _write(tmp_path, "image", [[1.0]], ["a"])])

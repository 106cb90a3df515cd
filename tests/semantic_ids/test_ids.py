"""Semantic IDs in both directions, and bundles that name their damage."""

import json

import numpy as np
import pytest
from safetensors.numpy import load

from recbole_unirep.semantic_ids.ids import CODES, RECORD, SemanticIds, read_file, read_record

ITEMS = ["B1", "B2", "B3", "Bé 4"]
IDS = SemanticIds(ITEMS, np.array([[0, 2], [1, -1], [0, 2], [0, 1]]), [2, 3])


def test_items_have_ids_and_ids_have_items():
    assert (len(IDS), IDS.n_levels) == (4, 2)
    assert IDS.id_of("B2") == (1, -1)
    assert IDS.items_of((0, 2)) == ["B1", "B3"]
    assert IDS.items_of((0,)) == ["B1", "B3", "Bé 4"]
    assert IDS.items_of((1, 1)) == IDS.items_of((2,)) == []
    assert IDS.collisions() == [["B1", "B3"]]
    with pytest.raises(KeyError, match="item 'B9' has no semantic ID here"):
        IDS.id_of("B9")


def test_tokens_are_unique_across_levels_and_zero_pads():
    assert IDS.tokens().tolist() == [[1, 5], [2, 0], [1, 5], [1, 4]]


@pytest.mark.parametrize(
    ("items", "codes", "sizes", "message"),
    [
        (["a"], [[0, 1]], [2], r"codes are int64 \(1, 2\) for 1 items and 1 levels"),
        (["a"], [[0.5]], [2], "codes are float64"),
        (["a", "a"], [[0], [1]], [2], "item 'a' occurs twice"),
        (["a", "b"], [[0], [2]], [2], "item 'b' has code 2 at level 1, whose codebook_size is 2"),
    ],
)
def test_impossible_codes_are_refused(items, codes, sizes, message):
    with pytest.raises(ValueError, match=message):
        SemanticIds(items, np.array(codes), sizes)


def test_a_bundle_gives_back_what_was_saved(tmp_path):
    IDS.save(tmp_path / "ids", {"tokenizer": "RQKMeans"}, {"further.bin": b"abc"})
    loaded = SemanticIds.load(tmp_path / "ids")
    assert loaded.items == ITEMS and loaded.codebook_sizes == [2, 3]
    assert np.array_equal(loaded.codes, IDS.codes)
    record = read_record(tmp_path / "ids")
    assert record["tokenizer"] == "RQKMeans"
    assert read_file(tmp_path / "ids", record, "further.bin") == b"abc"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids"]


@pytest.mark.parametrize("size, kind", [(16, np.int8), (128, np.int8), (129, np.int16), (40_000, np.int32)])
def test_codes_are_stored_in_the_smallest_type(tmp_path, size, kind):
    SemanticIds(["a", "b"], np.array([[0, size - 1], [size - 1, -1]]), [size, size]).save(tmp_path / "ids", {}, {})
    assert load((tmp_path / "ids" / CODES).read_bytes())["codes"].dtype == kind
    assert SemanticIds.load(tmp_path / "ids").codes.tolist() == [[0, size - 1], [size - 1, -1]]


def test_an_existing_folder_is_not_overwritten(tmp_path):
    (tmp_path / "ids").mkdir()
    with pytest.raises(FileExistsError, match="ids exists: remove it, or choose another --out"):
        IDS.save(tmp_path / "ids", {}, {})


def _flip(folder):
    content = bytearray((folder / CODES).read_bytes())
    content[-1] ^= 1
    (folder / CODES).write_bytes(content)


def _cut(folder):
    (folder / RECORD).write_text((folder / RECORD).read_text(encoding="utf-8")[:40], encoding="utf-8")


def _another(folder):
    (folder / RECORD).write_text(json.dumps({"items": []}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_flip, ValueError, "is not the file that was written"),
        (_cut, ValueError, "is not readable JSON"),
        (_another, ValueError, "is not the record of a bundle"),
        (lambda folder: (folder / CODES).unlink(), FileNotFoundError, f"{CODES} is missing"),
        (lambda folder: (folder / RECORD).unlink(), FileNotFoundError, f"is not a bundle, {RECORD} is missing"),
    ],
)
def test_a_damaged_bundle_is_named(tmp_path, damage, error, message):
    IDS.save(tmp_path / "ids", {}, {})
    damage(tmp_path / "ids")
    with pytest.raises(error, match=message):
        SemanticIds.load(tmp_path / "ids")


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        IDS.save(tmp_path / "ids", {"not json": object()}, {})
    assert list(tmp_path.iterdir()) == []

import json
import logging

import numpy as np
import pytest

import dataset_prep.embedding as embedding
from dataset_prep.embedding import Encoding, ItemTexts, encode, item_vectors, storage_folder
from dataset_prep.vector_files import VectorFiles

ENCODING = Encoding("some/model", batch_size=2, device=None, dtype="float32", lexical_dim=4, show_progress=False)


class CountingEncoder:
    """Encodes a sentence as (number of characters, 1) and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def encode(self, sentences, **options):
        self.asked.append(list(sentences))
        return np.array([[len(sentence), 1] for sentence in sentences], dtype=np.float32)


@pytest.fixture
def encoder(monkeypatch):
    encoder = CountingEncoder()
    monkeypatch.setattr(embedding, "load_encoder", lambda *_: encoder)
    return encoder


def texts_of(folder, items=("i1", "i2", "i3", "i4"), fields=("title",)):
    return ItemTexts("toy", folder, list(items), "item_id", fields, "\t")


def test_duplicates_are_encoded_once_by_length_and_empty_sentences_never(encoder):
    vectors = encode(["ccc", "a", "", "bb", "a", "ccc"], ENCODING, [])
    assert encoder.asked == [["a", "bb", "ccc"]]
    np.testing.assert_array_equal(vectors, [[3, 1], [1, 1], [0, 0], [2, 1], [1, 1], [3, 1]])


def test_rows_follow_the_items_asked_for_and_only_these_are_encoded(folder, encoder):
    vectors = item_vectors(texts_of(folder, ["i4", "i2"]), ENCODING, None)
    assert encoder.asked == [["title: Prada Candy"]]
    np.testing.assert_array_equal(vectors, [[0, 0], [18, 1]])


def test_stored_vectors_are_found_again_whatever_the_order(folder, encoder):
    first = item_vectors(texts_of(folder, ["i1", "i2", "i3"]), ENCODING, None)
    again = item_vectors(texts_of(folder, ["i3", "i1", "i2"]), ENCODING, None)
    assert len(encoder.asked) == 1
    np.testing.assert_array_equal(again, first[[2, 0, 1]])
    record = json.loads((folder / "toy.model.json").read_text(encoding="utf-8"))
    assert (record["encoder"], record["template"], record["dimension"]) == ("some/model", "title: ..", 2)
    assert record["items"] == ["i1", "i2", "i3"] and "sentence-transformers" in record["versions"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fields": ["title", "price"]}, "template"),
        ({"items": ["i1"]}, "items"),
        ({"encoding": ENCODING._replace(encoder="other/model")}, "encoder"),
        ({"encoding": ENCODING._replace(dtype="float16")}, "dtype"),
    ],
)
def test_vectors_are_made_anew_when_what_they_were_made_of_changes(folder, encoder, caplog, change, reason):
    caplog.set_level(logging.INFO)
    item_vectors(texts_of(folder), ENCODING, None)
    encoding = change.pop("encoding", ENCODING)
    item_vectors(texts_of(folder, **change), encoding, None)
    assert len(encoder.asked) == 2
    assert f"its {reason} differs" in caplog.text
    item_vectors(texts_of(folder, **change), encoding, None)
    assert len(encoder.asked) == 2


def test_vectors_are_made_anew_when_a_text_changes(folder, encoder):
    item_vectors(texts_of(folder), ENCODING, None)
    item_file = folder / "toy.item"
    item_file.write_text(item_file.read_text(encoding="utf-8").replace("Prada", "Dior"), encoding="utf-8")
    vectors = item_vectors(texts_of(folder, ["i2", "i1", "i3", "i4"]), ENCODING, None)
    assert vectors[0, 0] == len("title: Dior Candy")


def test_vectors_of_a_killed_run_are_made_anew(folder, encoder):
    expected = item_vectors(texts_of(folder), ENCODING, None)
    files = VectorFiles.named(folder, "toy", "model")
    np.save(files.matrix, expected + 1)
    np.testing.assert_array_equal(item_vectors(texts_of(folder), ENCODING, None), expected)
    files.matrix.unlink()
    np.testing.assert_array_equal(item_vectors(texts_of(folder), ENCODING, None), expected)
    assert len(encoder.asked) == 3


def test_the_users_vectors_need_no_text_and_no_encoder(tmp_path, encoder):
    np.save(tmp_path / "toy.mine.npy", np.array([[1.0, 2.0], [3.0, 4.0]]))
    (tmp_path / "toy.mine.json").write_text('{"items": ["i2", "i1"]}', encoding="utf-8")
    vectors = item_vectors(texts_of(tmp_path, ["i1", "i2"]), ENCODING._replace(encoder="mine"), None)
    np.testing.assert_array_equal(vectors, [[3, 4], [1, 2]])
    assert encoder.asked == []


def test_the_users_vectors_are_found_in_text_dir_too(folder, tmp_path, encoder):
    kept = tmp_path / "kept"
    kept.mkdir()
    np.save(kept / "toy.mine.npy", np.array([[7.0]]))
    (kept / "toy.mine.json").write_text('{"items": ["i1"]}', encoding="utf-8")
    assert item_vectors(texts_of(folder, ["i1"]), ENCODING._replace(encoder="mine"), str(kept)) == [[7]]


def test_the_users_vectors_are_never_overwritten(folder, encoder):
    np.save(folder / "toy.model.npy", np.array([[1.0, 2.0]]))
    (folder / "toy.model.json").write_text('{"items": ["i1"]}', encoding="utf-8")
    with pytest.raises(ValueError, match="vectors of yours lie: use them .--text_encoder=model"):
        item_vectors(texts_of(folder, ["i1"]), ENCODING, None)
    assert encoder.asked == []


def test_our_vectors_of_another_encoder_are_not_the_users(folder, encoder):
    item_vectors(texts_of(folder), ENCODING, None)
    item_vectors(texts_of(folder), ENCODING._replace(encoder="model"), None)
    assert len(encoder.asked) == 2


def test_lexical_vectors_depend_on_lexical_dim(folder):
    encoding = ENCODING._replace(encoder="lexical", dtype="float16")
    vectors = item_vectors(texts_of(folder), encoding, None)
    assert vectors.shape == (4, 3) and (vectors[3] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(vectors[:3], axis=1), 1, atol=1e-3)
    assert item_vectors(texts_of(folder), encoding._replace(lexical_dim=2), None).shape == (4, 2)


def test_text_dir_takes_the_vectors_and_the_data_stays_as_it_was(folder, tmp_path, encoder):
    item_vectors(texts_of(folder), ENCODING, str(tmp_path / "kept"))
    assert (tmp_path / "kept" / "toy.model.npy").is_file() and not (folder / "toy.model.npy").exists()
    item_vectors(texts_of(folder), ENCODING, str(tmp_path / "kept"))
    assert len(encoder.asked) == 1


def test_vectors_lie_beside_the_data_or_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache = tmp_path / "cache" / "recbole-unirep" / "toy"
    installed, read_only, data = (tmp_path / name for name in ("site-packages/toy", "read_only", "data"))
    for folder in (installed, read_only, data):
        folder.mkdir(parents=True)
    read_only.chmod(0o555)
    assert storage_folder(data, "toy") == data
    assert storage_folder(installed, "toy") == storage_folder(read_only, "toy") == cache


@pytest.mark.parametrize(
    ("items", "encoding", "message"),
    [
        (["i4", "unknown"], ENCODING, "none of 2 items has a text"),
        (["i1"], ENCODING._replace(dtype="int8"), "text_dtype is 'int8'"),
    ],
)
def test_unusable_input_is_named_and_nothing_is_written(folder, encoder, items, encoding, message):
    with pytest.raises(ValueError, match=message):
        item_vectors(texts_of(folder, items), encoding, None)
    assert [path.name for path in folder.iterdir()] == ["toy.item"]


def test_values_beyond_float16_are_an_error(folder, encoder, monkeypatch):
    monkeypatch.setattr(encoder, "encode", lambda sentences, **options: np.full((len(sentences), 2), 1e6))
    with pytest.raises(ValueError, match="float16 can't hold: set text_dtype to float32"):
        item_vectors(texts_of(folder), ENCODING._replace(dtype="float16"), None)

import json
import os

import numpy as np
import pytest

from dataset_prep.vector_files import VectorFiles, names_beside

VECTORS = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float16)


@pytest.fixture
def brought(tmp_path):
    """The user's own vectors."""
    files = VectorFiles.named(tmp_path, "toy", "mine")
    bring(files, VECTORS, ["a", "b", "c"])
    return files


def bring(files, vectors, items):
    np.save(files.matrix, vectors)
    files.record.write_text(json.dumps({"items": items}), encoding="utf-8")


def test_rows_are_found_by_token_and_other_rows_are_ignored(brought):
    vectors = brought.read(["c", "a"])
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[5, 6], [1, 2]])


def test_items_may_be_listed_as_numbers(brought):
    bring(brought, VECTORS, [1, 2, 3])
    np.testing.assert_array_equal(brought.read(["3"]), [[5, 6]])


def test_missing_items_are_counted_and_the_first_named(brought):
    with pytest.raises(ValueError, match=r"lacks 4 of 5 items \(w, x, y, \.\.\.\).*--text_encoder"):
        brought.read(["a", "w", "x", "y", "z"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_only_wanted_rows_must_be_finite(brought, value):
    vectors = VECTORS.copy()
    vectors[1, 0] = value
    bring(brought, vectors, ["a", "b", "c"])
    assert brought.read(["a", "c"]).shape == (2, 2)
    with pytest.raises(ValueError, match=r"NaN or infinity for 1 items \(b\)"):
        brought.read(["a", "b"])


@pytest.mark.parametrize("vectors", [VECTORS[0], VECTORS.astype(int), VECTORS[None]])
def test_matrix_must_be_two_dimensional_floats(brought, vectors):
    bring(brought, vectors, ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"toy.mine.npy has dtype .* and shape .*n_items, text_dim"):
        brought.read(["a"])


@pytest.mark.parametrize("items", [["a", "b"], ["a", "b", "b"]])
def test_each_row_must_have_its_own_item(brought, items):
    bring(brought, VECTORS, items)
    with pytest.raises(ValueError, match=rf"3 rows, but toy.mine.json lists {len(items)} items \(2 distinct\)"):
        brought.read(["a"])


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not valid JSON"), ("[]", "not a JSON object"), ("{}", 'no "items"')]
)
def test_unreadable_record_is_named(brought, text, message):
    brought.record.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        brought.read(["a"])


def test_unreadable_matrix_is_named(brought):
    brought.matrix.write_bytes(b"no array")
    with pytest.raises(ValueError, match="toy.mine.npy is not a readable .npy array"):
        brought.read(["a"])


@pytest.mark.parametrize("kept", ["matrix", "record"])
def test_half_a_pair_is_an_error_that_names_the_other_half(brought, kept):
    lost = brought.record if kept == "matrix" else brought.matrix
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=f"{lost.name} is missing"):
        brought.exist()


def test_written_vectors_are_read_back_and_no_other_file_is_left(tmp_path):
    files = VectorFiles.named(tmp_path / "new", "toy", "encoder")
    assert not files.exist()
    files.write(VECTORS, ["a", "b", "c"], {"encoder": "some/encoder"})
    assert files.exist() and files.is_intact()
    np.testing.assert_array_equal(files.read(["b"]), [[3, 4]])
    record = files.read_record()
    assert (record["encoder"], record["dimension"], record["dtype"]) == ("some/encoder", 2, "float16")
    assert sorted(path.name for path in files.matrix.parent.iterdir()) == ["toy.encoder.json", "toy.encoder.npy"]


def test_a_kill_between_the_two_files_is_detected(tmp_path, monkeypatch):
    files = VectorFiles.named(tmp_path, "toy", "encoder")
    replace = "recbole_unirep.files.whole.os.replace"

    def killed_at_the_matrix(source, target, rename=os.replace):
        if target == files.matrix:
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(replace, killed_at_the_matrix)
        files.write(VECTORS, ["a", "b", "c"], {})
    assert files.record.is_file() and not files.exist()

    files.write(VECTORS, ["a", "b", "c"], {})
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(replace, killed_at_the_matrix)
        files.write(VECTORS + 1, ["a", "b", "c"], {})
    assert files.exist() and not files.is_intact()


def test_names_beside_are_valid_values_of_text_encoder(brought, tmp_path):
    VectorFiles.named(tmp_path, "toy", "t5").write(VECTORS, ["a", "b", "c"], {"encoder": "some/t5"})
    np.save(tmp_path / "toy.half.npy", VECTORS)
    assert names_beside([tmp_path, tmp_path], "toy") == ["mine", "some/t5"]

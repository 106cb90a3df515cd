"""New items' rows and vectors: the same text gives the vector that a known item has."""

import random

import numpy as np
import pytest

from dataset_prep import embedding, new_items
from dataset_prep.embedding import Encoding, ItemTexts, item_vectors
from dataset_prep.new_items import new_sentences, new_vectors, read_new_items

LEXICAL = Encoding("lexical", batch_size=2, device="cpu", dtype="float16", lexical_dim=8, show_progress=False)


class LetterCounts:
    """An encoder: how often each of five letters stands in a sentence."""

    def encode(self, sentences, **options):
        return np.array([[sentence.count(letter) for letter in "aeiou"] for sentence in sentences], dtype=np.float32)


@pytest.fixture
def texts(tmp_path):
    """Forty items of few common words each, as texts of a dataset: vectors of 8 dimensions leave much of them out."""
    draw = random.Random(0)
    with open(tmp_path / "toy.item", "w", encoding="utf-8") as file:
        file.write("item_id:token\ttitle:token\tbrand:token\n")
        for item in range(40):
            file.write(f"i{item}\t{' '.join(draw.sample([f'word{n}' for n in range(60)], 4))}\tmaker{item % 9}\n")
    return ItemTexts("toy", tmp_path, [f"i{item}" for item in range(40)], "item_id", None, "\t")


def rows_of(texts, items):
    """Rows of new items that have the text of some known ones."""
    lines = (texts.folder / "toy.item").read_text(encoding="utf-8").splitlines()[1:]
    cells = {line.split("\t")[0]: line.split("\t")[1:] for line in lines}
    return [{"item_id": f"n-{item}", "title": cells[item][0], "brand": cells[item][1]} for item in items]


@pytest.mark.parametrize("n_fitted", [None, 30])
def test_a_known_text_has_its_known_vector(texts, n_fitted):
    texts = texts._replace(fit_items=n_fitted and texts.items[:n_fitted])
    known = item_vectors(texts, LEXICAL, None)
    files = {path: path.read_bytes() for path in texts.folder.iterdir()}
    sentences = new_sentences(texts, rows_of(texts, ["i33", "i5"]))
    vectors = new_vectors(texts, LEXICAL, None, [*sentences, "title: word7 word8; brand: maker0"])
    assert vectors.dtype == np.float32 and vectors.shape == (3, 8)
    np.testing.assert_allclose(vectors[:2], known[[33, 5]], atol=2e-3)  # float16
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    assert {path: path.read_bytes() for path in texts.folder.iterdir()} == files


def test_a_model_encodes_new_sentences_if_it_still_encodes_known_ones_alike(texts, monkeypatch):
    encoder, encoding = LetterCounts(), LEXICAL._replace(encoder="some/letters", dtype="float32")
    monkeypatch.setattr(embedding, "load_encoder", lambda *_: encoder)
    item_vectors(texts, encoding, None)
    assert new_vectors(texts, encoding, None, ["title: aa ee e"])[0].tolist() == [2, 4, 1, 0, 0]
    monkeypatch.setattr(encoder, "encode", lambda sentences, **_: LetterCounts().encode(sentences) * 1.05)
    with pytest.raises(ValueError, match="some/letters now encodes the run's own items differently"):
        new_vectors(texts, encoding, None, ["title: aa ee e"])


def test_what_float16_cannot_hold_is_refused(texts, monkeypatch):
    encoder, encoding = LetterCounts(), LEXICAL._replace(encoder="some/letters")
    monkeypatch.setattr(embedding, "load_encoder", lambda *_: encoder)
    with pytest.raises(ValueError, match="some/letters gives values that overflow float16"):
        new_vectors(texts, encoding, None, ["title: " + 70_000 * "a"])


def test_sentences_are_built_as_those_of_known_items(folder):
    texts = ItemTexts("toy", folder, ["i1"], "item_id", ["brand", "title", "categories"], "\t")
    rows = [
        {"item_id": "a", "title": "Fine &amp; dry", "categories": "'Beauty', \"Women's\"", "brand": " Avalon  Co "},
        {"item_id": "b", "title": ["Two", "words"], "categories": ["Beauty", "", "Women's"], "brand": ""},
        {"item_id": "c", "title": "alone", "colour": "red"},
    ]
    assert new_sentences(texts, rows) == [
        "brand: Avalon Co; title: Fine & dry; categories: Beauty, Women's",
        "title: Two, words; categories: Beauty, Women's",
        "title: alone",
    ]


def test_rows_lose_the_types_of_their_names(tmp_path):
    file = tmp_path / "new.csv"
    file.write_text('\ufeffitem_id:token,title:token\na,"one, ""two"""\n\nb,\n', encoding="utf-8")
    expected = [{"item_id": "a", "title": 'one, "two"'}, {"item_id": "b", "title": ""}]
    assert read_new_items(file) == read_new_items(str(file)) == expected
    assert read_new_items([{"item_id": 7, "price:float": 2.5, "title": float("nan"), "tags": ("x", 1)}]) == [
        {"item_id": "7", "price": "2.5", "title": "", "tags": ["x", "1"]}
    ]
    with pytest.raises(ValueError, match="row 1 is a str, not a mapping"):
        read_new_items(["a"])
    with pytest.raises(ValueError, match="the list has no items"):
        read_new_items([])


def test_few_of_many_known_items_are_encoded_again(texts, monkeypatch):
    item_vectors(texts, LEXICAL, None)
    monkeypatch.setattr(new_items, "N_CHECKED", 5)
    asked = []
    encode = new_items.encode
    monkeypatch.setattr(
        new_items, "encode", lambda sentences, *rest: asked.append(sentences) or encode(sentences, *rest)
    )
    assert len(new_vectors(texts, LEXICAL, None, ["title: word1"])) == 1
    assert len(asked[0]) == 6

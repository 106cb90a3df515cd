import numpy as np
import pytest

from dataset_prep.lexical import lexical_vectors

SENTENCES = ["red lipstick matte", "matte red lipstick", "hair dryer", "ionic hair dryer"]


def test_rows_have_length_one_and_similar_texts_are_close():
    vectors = lexical_vectors(SENTENCES, 3)
    similarity = vectors @ vectors.T
    assert vectors.shape == (4, 3) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.diag(similarity), 1, rtol=1e-5)
    assert similarity[0, 1] > 0.5 > abs(similarity[0, 2])


def test_dimension_is_at_most_what_sentences_and_words_allow():
    assert lexical_vectors(SENTENCES, 100).shape == (4, 4)
    assert lexical_vectors(["one word"], 100).shape == (1, 1)


def test_same_sentences_give_same_vectors():
    np.testing.assert_array_equal(lexical_vectors(SENTENCES, 3), lexical_vectors(SENTENCES, 3))


def test_dimension_zero_is_an_error():
    with pytest.raises(ValueError, match="lexical_dim is 0"):
        lexical_vectors(SENTENCES, 0)

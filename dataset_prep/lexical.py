"""lexical: sentence vectors by TF-IDF and truncated SVD, without a language model or a network.

Reference:
    Scott Deerwester et al. "Indexing by Latent Semantic Analysis." in JASIS 1990.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize


def lexical_vectors(sentences: Sequence[str], dimension: int, fit_on: Sequence[str] | None = None) -> np.ndarray:
    """Fits TF-IDF and SVD on some sentences and encodes all of them; the same sentences give the same vectors.

    Args:
        sentences (sequence of str): distinct, none blank.
        dimension (int): size of a vector; the result has fewer dimensions if there are too few sentences or words.
        fit_on (sequence of str, optional): sentences to fit on, distinct, none blank; None fits on all.

    Returns:
        np.ndarray: normalized rows, float32, shape: [N, dimension].

    Raises:
        ValueError: no sentence has a word of two or more letters, or dimension is below 1.
    """
    if dimension < 1:
        raise ValueError(f"lexical_dim is {dimension}: give at least 1")
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    counts = words.fit_transform(sentences if fit_on is None else fit_on)  # [n_fitted, n_words]
    svd = TruncatedSVD(n_components=min(dimension, *counts.shape), random_state=0)
    fitted = svd.fit_transform(counts)
    vectors = fitted if fit_on is None else svd.transform(words.transform(sentences))
    return normalize(vectors).astype(np.float32)

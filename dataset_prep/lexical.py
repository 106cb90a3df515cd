"""lexical: sentence vectors without a language model or a network, by TF-IDF and truncated SVD.

Reference:
    Scott Deerwester et al. "Indexing by Latent Semantic Analysis." in JASIS 1990.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize


def lexical_vectors(sentences: Sequence[str], dimension: int) -> np.ndarray:
    """Fits on the sentences and encodes them; the same sentences give the same vectors.

    Args:
        sentences (sequence of str): distinct and not blank.
        dimension (int): dimensions wanted; fewer where sentences or words don't allow as many.

    Returns:
        np.ndarray: rows of length 1, float32, shape: [N, dimension].

    Raises:
        ValueError: the sentences hold no word of two or more letters, or dimension is below 1.
    """
    if dimension < 1:
        raise ValueError(f"lexical_dim is {dimension}: give at least 1")
    counts = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)).fit_transform(sentences)  # [N, n_words]
    svd = TruncatedSVD(n_components=min(dimension, *counts.shape), random_state=0)
    return normalize(svd.fit_transform(counts)).astype(np.float32)

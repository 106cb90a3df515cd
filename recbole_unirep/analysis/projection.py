"""Vectors in two dimensions by t-SNE, the same at every call.

Reference:
    Laurens van der Maaten, Geoffrey Hinton. "Visualizing Data using t-SNE", JMLR 9, 2008.
"""

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

PERPLEXITY = 30  # neighbours that count, scikit-learn's and the authors' usual value


def sample_rows(n: int, n_most: int, seed: int) -> np.ndarray:
    """Rows to show, in ascending order: all, or a random n_most of them, shape: [min(n, n_most)], int64."""
    if n <= n_most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size=n_most, replace=False))


def tsne(vectors, *, seed: int, metric: str) -> np.ndarray:
    """t-SNE to two dimensions, from the principal components.

    One thread computes it: sums in another order would lead elsewhere.

    Args:
        vectors (ndarray): finite numbers, shape: [N, D].
        seed (int): the same seed gives the same points.
        metric (str): distance between vectors, a name that scikit-learn knows, such as 'euclidean' or 'cosine'.

    Returns:
        np.ndarray: float32, shape: [N, 2]; all zero where all vectors are equal, which have no picture.

    Raises:
        ValueError: fewer than three vectors, or numbers that are not finite.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if len(vectors) < 3:
        raise ValueError(f"t-SNE places vectors among each other, {len(vectors)} were given: give at least 3")
    if (vectors == vectors[0]).all():
        return np.zeros((len(vectors), 2), dtype=np.float32)
    if vectors.shape[1] == 1:
        vectors = np.repeat(vectors, 2, axis=1)  # two principal components are asked for
    reduce = TSNE(perplexity=min(PERPLEXITY, (len(vectors) - 1) / 3), metric=metric, init="pca", random_state=seed)
    with threadpool_limits(limits=1):
        return reduce.fit_transform(vectors)

"""Projects vectors to two dimensions by t-SNE, with reproducible results.

Reference:
    Laurens van der Maaten, Geoffrey Hinton. "Visualizing Data using t-SNE", JMLR 9, 2008.
"""

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

PERPLEXITY = 30  # effective number of neighbours; the default of scikit-learn and usual value of the authors


def sample_rows(n: int, n_most: int, seed: int) -> np.ndarray:
    """Returns all rows, or a random n_most of them, in ascending order, shape: [min(n, n_most)], int64."""
    if n <= n_most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size=n_most, replace=False))


def tsne(vectors, *, seed: int, metric: str) -> np.ndarray:
    """Projects vectors to two dimensions by t-SNE, starting from their principal components.

    Runs on one thread: another order of summation would change the result.

    Args:
        vectors (ndarray): finite numbers, shape: [N, D].
        seed (int): the same seed gives the same points.
        metric (str): scikit-learn's name of the distance between vectors, such as 'euclidean' or 'cosine'.

    Returns:
        np.ndarray: float32, shape: [N, 2]; all zero if all vectors are equal.

    Raises:
        ValueError: fewer than three vectors, or a number that is not finite.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if len(vectors) < 3:
        raise ValueError(f"t-SNE needs several vectors, {len(vectors)} were given: give at least 3")
    if (vectors == vectors[0]).all():
        return np.zeros((len(vectors), 2), dtype=np.float32)
    if vectors.shape[1] == 1:
        vectors = np.repeat(vectors, 2, axis=1)  # init="pca" needs two dimensions
    reduce = TSNE(perplexity=min(PERPLEXITY, (len(vectors) - 1) / 3), metric=metric, init="pca", random_state=seed)
    with threadpool_limits(limits=1):
        return reduce.fit_transform(vectors)

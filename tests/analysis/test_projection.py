"""t-SNE is reproducible and handles degenerate vectors."""

import numpy as np
import pytest

from recbole_unirep.analysis.projection import sample_rows, tsne

VECTORS = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)


def test_the_same_seed_gives_the_same_points():
    first = tsne(VECTORS, seed=3, metric="euclidean")
    assert first.shape == (40, 2)
    assert np.isfinite(first).all()
    assert np.array_equal(first, tsne(VECTORS, seed=3, metric="euclidean"))


def test_two_clusters_stay_apart():
    clusters = np.concatenate([VECTORS[:20] + 100, VECTORS[20:]])
    points = tsne(clusters, seed=0, metric="euclidean")
    between = np.linalg.norm(points[:20].mean(axis=0) - points[20:].mean(axis=0))
    assert between > 2 * max(np.linalg.norm(part - part.mean(axis=0), axis=1).mean() for part in np.split(points, 2))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_vectors_of_one_dimension_are_projected(metric):
    assert np.isfinite(tsne(VECTORS[:, :1], seed=0, metric=metric)).all()


def test_equal_vectors_get_one_point():
    assert not tsne(np.ones((10, 4)), seed=0, metric="euclidean").any()


def test_too_few_vectors_are_an_error():
    with pytest.raises(ValueError, match="2 were given: give at least 3"):
        tsne(VECTORS[:2], seed=0, metric="euclidean")


def test_sampled_rows_are_all_or_a_seeded_part():
    assert sample_rows(4, 9, seed=0).tolist() == [0, 1, 2, 3]
    part = sample_rows(1000, 50, seed=0)
    assert len(set(part.tolist())) == 50
    assert (np.diff(part) > 0).all()
    assert np.array_equal(part, sample_rows(1000, 50, seed=0))
    assert not np.array_equal(part, sample_rows(1000, 50, seed=1))

"""Nearest codes and squared errors by hand."""

import numpy as np
import torch

from recbole_unirep.tokenizer.distance import NEARNESS, cosine, euclidean, nearest, squared_error


def test_cosine_ignores_length_and_euclidean_does_not():
    x, codebook = torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 0.0], [2.9, 0.5]])
    assert nearest(x, codebook, "cosine").item() == 0
    assert nearest(x, codebook, "euclidean").item() == 1
    assert nearest(100 * x, codebook, "cosine").item() == 0


def test_nearness_by_hand():
    x, codebook = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0], [-3.0, -4.0], [0.0, 1.0]])
    torch.testing.assert_close(cosine(x, codebook), 5 * torch.tensor([[24 / 25, -1.0, 4 / 5]]))
    # |x|^2 = 25 and squared distances 2, 100, 18
    torch.testing.assert_close(euclidean(x, codebook), (25 - torch.tensor([[2.0, 100.0, 18.0]])) / 2)


def test_nearness_ranks_like_distances_and_angles():
    x, codebook = torch.randn(7, 5, dtype=torch.double), torch.randn(4, 5, dtype=torch.double)
    squared = np.square(x.numpy()[:, None] - codebook.numpy()[None]).sum(axis=-1)
    expected = (np.square(x.numpy()).sum(axis=-1, keepdims=True) - squared) / 2
    np.testing.assert_allclose(euclidean(x, codebook).numpy(), expected, rtol=1e-10, atol=1e-12)
    assert nearest(x, codebook, "euclidean").tolist() == squared.argmin(axis=1).tolist()
    angles = torch.nn.functional.cosine_similarity(x[:, None], codebook[None], dim=-1)
    torch.testing.assert_close(cosine(x, codebook) / x.norm(dim=-1, keepdim=True), angles)


def test_zero_vectors_have_a_number_for_their_nearness():
    zeros, codebook = torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    for nearness in NEARNESS.values():
        assert nearness(zeros, codebook).isfinite().all()
        assert nearness(codebook, zeros).isfinite().all()
    assert cosine(zeros, codebook).tolist() == [[0.0, 0.0]]


def test_codes_are_int64_and_the_first_of_equally_near_ones():
    codes = nearest(torch.ones(2, 2), torch.ones(3, 2), "euclidean")
    assert codes.dtype == torch.int64
    assert codes.tolist() == [0, 0]


def test_squared_error_by_hand():
    x, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[3.0, 5.0], [0.0, 0.0]])
    assert squared_error(x, target, "sum").tolist() == [13.0, 0.0]
    assert squared_error(x, target, "mean").tolist() == [6.5, 0.0]

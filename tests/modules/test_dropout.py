"""Dropout from random bits: drop rate, expectation, gradients, and attention dropout."""

import pytest
import torch
from torch.nn import functional

from recbole_unirep.modules.dropout import Dropout, attention, dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_drop_rate_and_expectation(p):
    torch.manual_seed(0)
    x = torch.ones(1001, 999)  # the size is not a multiple of 4, the numbers per draw
    dropped = dropout(x, p, True)
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert abs((dropped == 0).float().mean() - p) < 5 * deviation
    assert abs(dropped.mean() - 1) < 5 * deviation / (1 - p)
    kept = dropped[dropped != 0]
    assert kept.unique().numel() == 1 and kept[0] == pytest.approx(1 / (1 - p), rel=1e-4)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(1)
    is_kept = dropout(torch.ones(400_000), 0.3, True) != 0
    for distance in (1, 2, 3, 4, 8):
        both = (is_kept[:-distance] & is_kept[distance:]).float().mean()
        assert both == pytest.approx(0.49, abs=0.005), distance


def test_gradients_use_the_same_mask():
    torch.manual_seed(2)
    x = torch.randn(37, 5, requires_grad=True)
    dropped = dropout(x, 0.4, True)
    upstream = torch.randn(37, 5)
    dropped.backward(upstream)
    torch.testing.assert_close(x.grad, torch.where(dropped == 0, 0, upstream * (dropped / x).detach()))


def test_same_seed_same_mask_and_identity_in_eval():
    x = torch.randn(50, 7)
    torch.manual_seed(3)
    one = dropout(x, 0.5, True)
    torch.manual_seed(3)
    assert torch.equal(one, dropout(x, 0.5, True))
    assert not torch.equal(one, dropout(x, 0.5, True))
    module = Dropout(0.5).eval()
    assert module(x) is x and Dropout(0.0)(x) is x
    assert not Dropout(1.0)(x).any()


def test_other_types_and_memory_layouts():
    for x in (torch.ones(64, 32, dtype=torch.bfloat16), torch.ones(32, 64).T):
        dropped = dropout(x, 0.5, True)
        assert dropped.dtype == x.dtype and dropped.shape == x.shape and set(dropped.unique().tolist()) == {0.0, 2.0}


def test_attention_equals_torch_without_dropout_and_on_average_with_it():
    torch.manual_seed(4)
    query, keys, values = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 6, 8), torch.randn(2, 3, 6, 8)
    bias = torch.randn(2, 1, 5, 6)
    bias[0, :, :, 4:] = -torch.inf
    whole = functional.scaled_dot_product_attention(query, keys, values, bias, scale=1.0)
    torch.testing.assert_close(attention(query, keys, values, bias, 0.0), whole)
    found = torch.stack([attention(query, keys, values, bias, 0.3) for _ in range(4000)])
    error = found.std(dim=0) / 4000**0.5
    assert ((found.mean(dim=0) - whole).abs() < 6 * error + 1e-6).all() and found.std(dim=0).max() > 0.1

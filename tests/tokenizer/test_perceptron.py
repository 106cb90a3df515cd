"""Perceptron: rows that fill up a CPU's bfloat16 kernels change neither values nor gradients."""

import pytest
import torch
from torch import nn

from recbole_unirep.tokenizer.perceptron import ROWS, Perceptron


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Perceptron([5, 7, 3])


def outcome(network, x, is_reduced):
    network.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_reduced):
        y = network(x)
    (y.float() ** 2).sum().backward()
    return [y, x.grad, *(parameter.grad.clone() for parameter in network.parameters())]


@pytest.mark.parametrize("n_rows", [0, 1, ROWS - 1, ROWS, ROWS + 1])
def test_filled_rows_change_nothing(network, n_rows):
    x = torch.randn(n_rows, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = nn.Sequential.forward(network, x)
    found = outcome(network, x, True)
    torch.testing.assert_close(found[0], expected)  # the same type, and equal up to its rounding
    for part, exact in zip(found, outcome(network, x, False)):
        torch.testing.assert_close(
            part.float(), exact, rtol=0.03, atol=0.03 * exact.abs().amax().item() if n_rows else 0
        )


def test_kernels_see_full_rows_in_bfloat16_only(network):
    seen = []
    network[0].register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    for is_reduced in (True, False):
        outcome(network, torch.randn(ROWS + 1, 5), is_reduced)
    assert seen == [2 * ROWS, ROWS + 1]


def test_parameters_have_the_names_of_a_sequence_of_layers(network):
    assert list(network.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]

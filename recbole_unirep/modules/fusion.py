"""recbole_unirep.modules.fusion: how the semantic and the ID part of an item become one embedding.

Reference:
    'concat': Lin et al. "Unified Semantic and ID Representation Learning for Deep Recommenders." arXiv 2502.16474,
        section 3.1. 'project' and 'mlp' are not from the paper.
    Cosine similarity with a temperature: Wu et al. "Unsupervised Feature Learning via Non-Parametric Instance
        Discrimination." CVPR 2018.
"""

from torch import nn
from torch.nn import functional

from recbole_unirep.tokenizer.perceptron import Perceptron


class ResidualPerceptron(nn.Module):
    """Residual MLP, x + W_2 relu(W_1 x + b_1) + b_2: lets few ID dimensions move an item in many directions.

    Args:
        width (int): size of x.
        hidden_units (int): units between the two layers.
    """

    def __init__(self, width, hidden_units):
        super().__init__()
        self.layers = Perceptron([width, hidden_units, width])

    def forward(self, x):
        return x + self.layers(x)


class UnitLength(nn.Module):
    """Normalizes vectors [..., H]; zeros stay zeros."""

    def forward(self, x):
        return functional.normalize(x, dim=-1)


def _concat(width, hidden_size, hidden_units):
    return nn.Identity()


def _project(width, hidden_size, hidden_units):
    return nn.Linear(width, hidden_size)


def _mlp(width, hidden_size, hidden_units):
    return ResidualPerceptron(width, hidden_units)


# name -> maker of a module from concatenated parts [M, width] to embeddings [M, H]
FUSIONS = {"concat": _concat, "project": _project, "mlp": _mlp}
SIMILARITIES = ("dot", "cosine")
KEEPS_WIDTH = ("concat", "mlp")


def make_fusion(name, width, hidden_size, hidden_units, similarity):
    """Module that turns concatenated parts [M, width] into embeddings [M, hidden_size].

    Args:
        name (str): a key of FUSIONS.
        width (int): size of the concatenated parts.
        hidden_size (int): size of an embedding.
        hidden_units (int): hidden units of fusion 'mlp'.
        similarity (str): a name in SIMILARITIES; with 'cosine' embeddings are normalized.

    Returns:
        nn.Module: the fusion.
    """
    fusion = FUSIONS[name](width, hidden_size, hidden_units)
    return nn.Sequential(fusion, UnitLength()) if similarity == "cosine" else fusion

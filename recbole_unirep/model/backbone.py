"""recbole_unirep.model.backbone: RecBole's sequential models and HSTU as backbones whose item table can be replaced.

Reference:
    Convolution over the last items in addition to attention: Jiang et al. "AdaMCT: Adaptive Mixture of CNN-Transformer
    for Sequential Recommendation." CIKM 2023. Ours comes before the first layer and is causal.
"""

import torch
from recbole.utils import get_model
from torch import nn

from recbole_unirep.model.hstu import HSTU
from recbole_unirep.settings.with_keys import with_keys

# name -> config key of the size of its item table
BACKBONES = {
    "SASRec": "hidden_size",
    "GRU4Rec": "embedding_size",
    "Caser": "embedding_size",
    "BERT4Rec": "hidden_size",
    "NARM": "embedding_size",
    "HSTU": "hidden_size",
}
OURS = {"HSTU": HSTU}


class LocalConvolution(nn.Module):
    """Causal depthwise convolution: a weighted sum, per dimension, of a position's embedding and the ones before it.

    Args:
        size (int): dimensions of an embedding.
        width (int): number of items in a sum, the position's own included.
    """

    def __init__(self, size, width):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, size).normal_(std=0.02))  # RecBole's initializer_range
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        """Returns the sums for embeddings x [B, L, H], shape: [B, L, H]; x is padded with zeros on the left."""
        width = len(self.weight)
        before = nn.functional.pad(x, (0, 0, width - 1, 0))  # [B, L + width - 1, H]
        return self.bias + sum(before[:, k : k + x.size(1)] * weight for k, weight in enumerate(self.weight))


def make_backbone(name, config, dataset, hidden_size):
    """Builds a sequential model with an item table of the given size; the caller replaces this table.

    Args:
        name (str): a key of BACKBONES.
        config (Config): holds the model's keys; not changed.
        dataset (recbole Dataset): the training part.
        hidden_size (int): dimensions of an item embedding.

    Returns:
        recbole SequentialRecommender: with loss_type CE if RecBole does not have the config's loss.

    Raises:
        ValueError: the number of heads does not divide the size.
    """
    if BACKBONES[name] == "hidden_size" and hidden_size % config["n_heads"]:
        raise ValueError(f"n_heads {config['n_heads']} does not divide {name}'s hidden size {hidden_size}: change one")
    loss_type = config["loss_type"] if config["loss_type"] in ("CE", "BPR") else "CE"
    model = OURS.get(name) or get_model(name)
    return model(with_keys(config, **{BACKBONES[name]: hidden_size, "loss_type": loss_type}), dataset)

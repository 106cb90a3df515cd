"""recbole_unirep.model.backbone: sequential models as readers of an item table put into them.

RecBole's are known by the table here. One of ours, or of another package, is a RecBole SequentialRecommender that says
itself what its table here would: `item_size_key` names the config key that sizes its `item_embedding`, which is
replaced; a causal one has `sequence_states`, item ids [B, L] to states [B, L, H], and reads items by
`scoring.model_contract.read_items`.

Reference:
    A convolution of the last items beside attention: Jiang et al. "AdaMCT: Adaptive Mixture of CNN-Transformer for
    Sequential Recommendation." CIKM 2023. Ours stands before the first layer and is causal.
"""

import torch
from recbole.utils import get_model
from torch import nn

from recbole_unirep.model.hstu import HSTU
from recbole_unirep.scoring.model_contract import declared_item_size_key, is_causal
from recbole_unirep.settings.extensions import extension_names, find_extension
from recbole_unirep.settings.with_keys import with_keys

OWN_BACKBONES = {"HSTU": HSTU}
BACKBONES = {  # name -> the config key that sizes its item table
    "SASRec": "hidden_size",
    "GRU4Rec": "embedding_size",
    "Caser": "embedding_size",
    "BERT4Rec": "hidden_size",
    "NARM": "embedding_size",
    **{name: backbone.item_size_key for name, backbone in OWN_BACKBONES.items()},
}


def backbone_names():
    """Names of all backbones: RecBole's, ours, then those of other packages (list of str)."""
    return [*BACKBONES, *extension_names("backbone")]


def backbone_class(name):
    """The backbone of that name: RecBole's, ours or another package's.

    Raises:
        ValueError: there is none, its package can't be imported, or several have that name.
    """
    extension = find_extension("backbone", name, is_taken=name in BACKBONES)
    if extension is None:
        if name not in BACKBONES:
            raise ValueError(f"backbone={name} is not known: choose one of {', '.join(backbone_names())}")
        return OWN_BACKBONES.get(name) or get_model(name)
    backbone = extension.load()
    if declared_item_size_key(backbone) is None:
        raise ValueError(
            f"{extension} has no item_size_key: set it to the config key that sizes its item table, such as "
            f"'hidden_size'"
        )
    return backbone


def item_size_key(name):
    """The config key that sizes the item table of the backbone of that name."""
    return BACKBONES.get(name) or backbone_class(name).item_size_key


def is_causal_backbone(name):
    """Whether the backbone of that name gives states at every position."""
    return is_causal(backbone_class(name))


def causal_backbones():
    """Names of the causal ones among RecBole's and ours (list of str)."""
    return list(filter(is_causal_backbone, BACKBONES))


class LocalConvolution(nn.Module):
    """What each position adds to its item's embedding: a weighted sum of it and those just before, by dimension.

    Args:
        size (int): dimensions of an embedding.
        width (int): items of a sum, the position's own among them.
    """

    def __init__(self, size, width):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, size).normal_(std=0.02))  # RecBole's initializer_range
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x):
        """Sums of embeddings x [B, L, H], shape: [B, L, H]; before the first one stand zeros."""
        width = len(self.weight)
        before = nn.functional.pad(x, (0, 0, width - 1, 0))  # [B, L + width - 1, H]
        return self.bias + sum(before[:, k : k + x.size(1)] * weight for k, weight in enumerate(self.weight))


def make_backbone(name, config, dataset, hidden_size):
    """A sequential model whose own item table has the given size, to be replaced by the caller.

    Args:
        name (str): see `backbone_names`.
        config (Config): its keys; not changed.
        dataset (recbole Dataset): the training part.
        hidden_size (int): dimensions of an item embedding.

    Returns:
        recbole SequentialRecommender: with loss_type CE where the config names a loss that RecBole has not.

    Raises:
        ValueError: the heads do not divide the size.
    """
    is_of_recbole = name in BACKBONES and name not in OWN_BACKBONES  # the others look at their keys themselves
    if is_of_recbole and BACKBONES[name] == "hidden_size" and hidden_size % config["n_heads"]:
        raise ValueError(f"n_heads {config['n_heads']} does not divide {name}'s hidden size {hidden_size}: change one")
    loss_type = config["loss_type"] if config["loss_type"] in ("CE", "BPR") else "CE"
    sizes = {item_size_key(name): hidden_size}
    return backbone_class(name)(with_keys(config, **sizes, loss_type=loss_type), dataset)

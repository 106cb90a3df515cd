"""recbole_unirep.model.backbone: sequential models as backbones whose item table can be replaced.

BACKBONES names the backbones of RecBole. A backbone of this or another package is a RecBole SequentialRecommender that
declares its properties: `item_size_key` is the config key of the size of its `item_embedding`, which is replaced. A
causal one has a method `sequence_states`, from item ids [B, L] to states [B, L, H], that looks items up with
`scoring.model_contract.read_items`.

Reference:
    Convolution over the last items in addition to attention: Jiang et al. "AdaMCT: Adaptive Mixture of CNN-Transformer
    for Sequential Recommendation." CIKM 2023. The convolution here comes before the first layer and is causal.
"""

import torch
from recbole.utils import get_model
from torch import nn

from recbole_unirep.model.bsarec import BSARec
from recbole_unirep.model.hstu import HSTU
from recbole_unirep.modules.dropout import replace_dropout
from recbole_unirep.scoring.model_contract import declared_item_size_key, is_causal, replaced, sequence_states
from recbole_unirep.settings.extensions import extension_names, find_extension
from recbole_unirep.settings.with_keys import with_keys

OWN_BACKBONES = {"HSTU": HSTU, "BSARec": BSARec}
BACKBONES = {  # name -> config key of the size of its item table
    "SASRec": "hidden_size",
    "GRU4Rec": "embedding_size",
    "Caser": "embedding_size",
    "BERT4Rec": "hidden_size",
    "NARM": "embedding_size",
    **{name: backbone.item_size_key for name, backbone in OWN_BACKBONES.items()},
}


def backbone_names():
    """Names of all backbones, with backbones of other packages last (list of str)."""
    return [*BACKBONES, *extension_names("backbone")]


def backbone_class(name):
    """Returns the class of a backbone of RecBole, of this package or of another one.

    Raises:
        ValueError: the backbone is unknown, its package can't be imported, or several backbones have that name.
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
    """Returns the config key of the size of a backbone's item table."""
    return BACKBONES.get(name) or backbone_class(name).item_size_key


def is_causal_backbone(name):
    """True if the backbone computes states at every position."""
    return is_causal(backbone_class(name))


def causal_backbones():
    """Names of the causal backbones of RecBole and of this package, for errors (list of str)."""
    return list(filter(is_causal_backbone, BACKBONES))


class LocalConvolution(nn.Module):
    """Causal depthwise convolution: a weighted sum, per dimension, of a position's embedding and the ones before it.

    Args:
        size (int): size of an embedding.
        width (int): number of items in a sum, including the item at the position.
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


class BackboneEnsemble(nn.Module):
    """Backbones of one kind over one item table, trained together; its states are the mean of theirs.

    Attributes:
        item_embedding (nn.Module): the item table that all of them read.
        members (nn.ModuleList): the backbones, without tables of their own.

    Args:
        backbones (list of SequentialRecommender): causal ones, of the same sizes. The first one's table is kept.
    """

    def __init__(self, backbones):
        super().__init__()
        self.item_embedding = backbones[0].item_embedding
        for backbone in backbones:
            del backbone.item_embedding
            replace_dropout(backbone)
        self.members = nn.ModuleList(backbones)

    def sequence_states(self, item_seq):
        """Returns the mean of the members' states at every position.

        Args:
            item_seq (Tensor): item ids, 0 pads on the right, shape: [B, L].

        Returns:
            Tensor: shape: [B, L, H].
        """
        members = [replaced(member, item_embedding=self.item_embedding) for member in self.members]
        return sum(sequence_states(member)(item_seq) for member in members) / len(members)


def make_backbone(name, config, dataset, hidden_size):
    """Builds a sequential model with an item table of the given size; the caller replaces this table.

    Args:
        name (str): a name of `backbone_names`.
        config (Config): holds the model's keys; not changed.
        dataset (recbole Dataset): the training part.
        hidden_size (int): size of an item embedding.

    Returns:
        recbole SequentialRecommender: with loss_type CE if RecBole does not have the config's loss.

    Raises:
        ValueError: the number of heads does not divide the size.
    """
    is_of_recbole = name in BACKBONES and name not in OWN_BACKBONES  # other backbones check their own keys
    if is_of_recbole and BACKBONES[name] == "hidden_size" and hidden_size % config["n_heads"]:
        raise ValueError(f"n_heads {config['n_heads']} does not divide {name}'s hidden size {hidden_size}: change one")
    loss_type = config["loss_type"] if config["loss_type"] in ("CE", "BPR") else "CE"
    sizes = {item_size_key(name): hidden_size}
    return backbone_class(name)(with_keys(config, **sizes, loss_type=loss_type), dataset)

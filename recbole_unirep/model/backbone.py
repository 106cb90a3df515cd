"""recbole_unirep.model.backbone: RecBole's sequential models as readers of an item table that we put into them."""

import copy

from recbole.utils import get_model

# name -> the config key that sizes its item table
BACKBONES = {
    "SASRec": "hidden_size",
    "GRU4Rec": "embedding_size",
    "Caser": "embedding_size",
    "BERT4Rec": "hidden_size",
    "NARM": "embedding_size",
}


def make_backbone(name, config, dataset, hidden_size):
    """A RecBole model whose own item table has the given size, to be replaced by the caller.

    Args:
        name (str): a key of BACKBONES.
        config (Config): its keys; not changed.
        dataset (recbole Dataset): the training part.
        hidden_size (int): dimensions of an item embedding.

    Returns:
        recbole SequentialRecommender: with loss_type CE where the config names a loss that RecBole has not.

    Raises:
        ValueError: the heads do not divide the size.
    """
    if BACKBONES[name] == "hidden_size" and hidden_size % config["n_heads"]:
        raise ValueError(f"n_heads {config['n_heads']} does not divide {name}'s hidden size {hidden_size}: change one")
    loss_type = config["loss_type"] if config["loss_type"] in ("CE", "BPR") else "CE"
    return get_model(name)(with_keys(config, **{BACKBONES[name]: hidden_size, "loss_type": loss_type}), dataset)


def with_keys(config, **changes):
    """A config that differs in some keys; the given one is not changed."""
    changed = copy.copy(config)
    changed.final_config_dict = {**config.final_config_dict, **changes}
    return changed

"""recbole_unirep.modules.cold_ids: ID embeddings of items that took no part in training."""

import torch
from torch.nn import functional as F

COLD_IDS = ("mean", "zero", "nearest", "untrained")


def cold_id_rows(kind, trained, n_cold, nearest):
    """Rows that stand for the ID embeddings of cold items.

    Args:
        kind (str): 'mean', 'zero' or 'nearest'.
        trained (Tensor): ID embeddings of the trained items, shape: [N, id_dim].
        n_cold (int): number of cold items.
        nearest (Tensor or None): for 'nearest', the place of each cold item's nearest one in `trained`, shape:
            [n_cold], int64.

    Returns:
        Tensor: shape: [n_cold, id_dim].
    """
    if kind == "nearest":
        return trained[nearest]
    row = trained.mean(dim=0) if kind == "mean" else trained.new_zeros(trained.shape[1])
    return row.expand(n_cold, -1)


def nearest_items(text, n_training_items):
    """Place among the trained items of the nearest by cosine of the text, for each cold item, shape: [n_cold], int64.

    A cold item without text gets the one that its zeros are nearest to, whichever that is.
    """
    unit = F.normalize(text.float(), dim=-1)
    trained = unit[1:n_training_items].T
    return torch.cat([(part @ trained).argmax(dim=-1) for part in unit[n_training_items:].split(1024)])

"""recbole_unirep.modules.cold_ids: ID embeddings of items that took no part in training."""

import torch
from torch.nn import functional as F

COLD_IDS = ("mean", "zero", "nearest", "untrained")


def nearest_items(text, n_training_items):
    """Place among the trained items of the nearest by cosine of the text, for each cold item, shape: [n_cold], int64.

    A cold item without text gets the one that its zeros are nearest to, whichever that is.
    """
    unit = F.normalize(text.float(), dim=-1)
    trained = unit[1:n_training_items].T
    return torch.cat([(part @ trained).argmax(dim=-1) for part in unit[n_training_items:].split(1024)])

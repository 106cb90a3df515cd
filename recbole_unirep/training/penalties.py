"""recbole_unirep.training.penalties: norms of weights in RecBole's losses.

Training rows give such a model its recommendation loss by `losses.recommendation_loss`; a penalty is added to it.
"""

import torch


def caser_penalty(model, batch):
    """Returns the penalty of RecBole's Caser: norms of its tables, its layers and its horizontal filters, shape: []."""
    weights = [model.user_embedding.weight, model.item_embedding.weight, model.conv_v.weight]
    weights += [model.fc1.weight, model.fc2.weight]
    return model.reg_weight * model.reg_loss(weights) + model.reg_loss_conv_h()


def hgn_penalty(model, batch):
    """Returns the penalty of RecBole's HGN: norms of its layers, and of the embeddings that the targets' prefixes read.

    RecBole reads every prefix, padded to max_length. An item counts as often as prefixes of targets hold it.
    """
    of_layers, of_embeddings = model.reg_weight
    layers = (model.w1, model.w2, model.w3, model.w4)
    penalty = of_layers * sum(torch.norm(layer.weight) for layer in layers)
    if not of_embeddings:
        return penalty
    row, place = batch.is_target.nonzero(as_tuple=True)
    n_prefixes = batch.is_target.flip(1).cumsum(dim=1).flip(1)  # that hold the item at a place
    squares = (n_prefixes * model.item_embedding(batch.inputs).square().sum(dim=-1)).sum()
    n_padding = (model.max_seq_length - 1 - place).sum()
    squares = squares + n_padding * model.item_embedding.weight[0].detach().square().sum()
    read = (model.user_embedding(batch.users[row]), model.item_embedding_for_prediction(batch.targets))
    return penalty + of_embeddings * (sum(map(torch.norm, read)) + squares.sqrt())


PENALTIES = {"Caser": caser_penalty, "HGN": hgn_penalty}

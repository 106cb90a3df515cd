"""recbole_unirep.training.penalties: parts of RecBole's losses that depend on weights alone.

Training rows give such a model its recommendation loss by `losses.recommendation_loss`; a penalty is added to it.
"""


def caser_penalty(model):
    """Returns the penalty of RecBole's Caser: norms of its tables, its layers and its horizontal filters, shape: []."""
    weights = [model.user_embedding.weight, model.item_embedding.weight, model.conv_v.weight]
    weights += [model.fc1.weight, model.fc2.weight]
    return model.reg_weight * model.reg_loss(weights) + model.reg_loss_conv_h()


PENALTIES = {"Caser": caser_penalty}

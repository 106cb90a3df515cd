"""recbole_unirep.training.losses: recommendation losses over training rows.

Reference:
    BCE: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018; UniRep's equation 2.
    BPR: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
"""

import torch
from torch.nn import functional as F

from recbole_unirep import parallel
from recbole_unirep.scoring.model_contract import CAUSAL, CLOZE, is_causal, sequence_states
from recbole_unirep.scoring.score_additions import place_among
from recbole_unirep.training.cloze import cloze_loss
from recbole_unirep.training.softmax import cross_entropy, sampled_cross_entropy


def bce(positive, negative):
    """Binary cross entropy of one positive and one negative a position (equation 2), mean over positions.

    Args:
        positive (Tensor): scores of the next items, shape: [P].
        negative (Tensor): scores of the negatives, shape: [P].
    """
    return (F.softplus(-positive) + F.softplus(negative)).mean()


def bpr(positive, negative):
    """Mean of -log sigmoid(positive - negative), shapes as in `bce`."""
    return F.softplus(negative - positive).mean()


PAIRWISE = {"BCE": bce, "BPR": bpr}
LOSSES = ("CE", *PAIRWISE, "SSM")


def is_row_loss(model_class, loss_type, trains_rows):
    """Whether only training in rows of users has this loss for this model.

    Args:
        model_class (type): class of the model.
        loss_type (str): name of the loss.
        trains_rows (bool): whether the run trains so.

    Raises:
        ValueError: it has, and the run does not.
    """
    needs_rows = loss_type == "SSM" or (loss_type == "BCE" and is_causal(model_class))
    if needs_rows and not trains_rows:
        raise ValueError(
            f"{model_class.__name__} with loss_type={loss_type} trains rows of users: use a model or backbone out of "
            f"{', '.join(CAUSAL)}, or another with sequence_states, with training_rows=user, or CE or BPR"
        )
    return needs_rows


def has_row_loss(model_class, loss_type):
    """Whether rows of users train this model: causal ones, and BERT4Rec with the softmax; arguments as above."""
    return is_causal(model_class) or (model_class.__name__ in CLOZE and loss_type == "CE")


def row_loss(model, batch, n_items, config):
    """Loss of one of RecBole's models, or of ours with the like table of items, on training rows.

    Args:
        model (recbole SequentialRecommender): with `has_row_loss`.
        batch (RowBatch): the rows.
        n_items (int): number of item ids that take part in training, padding included.
        config (Config): ours.

    Returns:
        Tensor: as `recommendation_loss` and `cloze_loss` say, shape: [].
    """
    states = sequence_states(model)
    if states is None:
        return cloze_loss(model, batch, n_items, config["ft_ratio"], config["training_rows"] == "target")
    return recommendation_loss(batch, states, model.item_embedding, n_items, config["loss_type"])


def recommendation_loss(batch, sequence_states, item_embedding, n_items, loss_type, additions_of=None):
    """Loss of one batch of training rows.

    Args:
        batch (RowBatch): B rows of L positions, P of them targets.
        sequence_states (callable): item ids [B, L] to states [B, L, H], causal.
        item_embedding (nn.Module): answers a call on ids and `.weight`.
        n_items (int): number of item ids, padding included; further rows of the table are special tokens.
        loss_type (str): a name in LOSSES; 'SSM' is the sampled softmax.
        additions_of (callable or None): rows [B, L + WINDOW], row and place [P] to ScoreAdditions; with 'CE' and 'SSM'.

    Returns:
        Tensor: mean over the positions, shape: []. Of several processes each has its rows' part, times their number:
        the mean of their losses and of their gradients is that of the whole batch.
    """
    share = batch.share(parallel.rank(), parallel.world_size())
    part = _mean_loss(share.batch, sequence_states, item_embedding, n_items, loss_type, additions_of)
    return part * (share.weight * parallel.world_size())


def _mean_loss(batch, sequence_states, item_embedding, n_items, loss_type, additions_of):
    """Mean loss over the positions of a batch, shape: []."""
    states = sequence_states(batch.inputs)[batch.is_target]  # [P, H]
    added = None
    if additions_of is not None:
        additions = additions_of(batch.whole_rows(), *batch.is_target.nonzero(as_tuple=True))
        scored = torch.arange(1, n_items, device=states.device) if loss_type == "CE" else batch.negatives
        added = additions.among(batch.targets, scored)
    if loss_type == "CE":
        return cross_entropy(states, item_embedding.weight[1:n_items], batch.targets - 1, added)
    positives = item_embedding(batch.targets)  # [P, H]
    if loss_type == "SSM":
        own = place_among(batch.targets, batch.negatives)
        return sampled_cross_entropy(states, positives, item_embedding(batch.negatives), batch.log_weights, own, added)
    positive = (states * positives).sum(dim=-1)  # [P]
    negative = (states * item_embedding(batch.negatives)).sum(dim=-1)  # [P]
    return PAIRWISE[loss_type](positive, negative)

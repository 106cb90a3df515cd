"""recbole_unirep.training.losses: recommendation losses over training rows.

Reference:
    BCE: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018; UniRep's equation 2.
    BPR: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
"""

import torch
from torch.nn import functional as F

from recbole_unirep import parallel
from recbole_unirep.scoring.model_contract import (
    CAUSAL,
    CLOZE,
    PREFIXES,
    SCORED_TABLES,
    is_causal,
    prefix_states,
    scored_table,
)
from recbole_unirep.scoring.score_additions import SoftmaxAdditions, columns_of
from recbole_unirep.training.cloze import cloze_loss
from recbole_unirep.training.penalties import PENALTIES
from recbole_unirep.training.softmax import cross_entropy, sampled_cross_entropy


def bce(positive, negative):
    """Returns the binary cross entropy of one positive and one negative per position (equation 2), mean over positions.

    Args:
        positive (Tensor): scores of the next items, shape: [P].
        negative (Tensor): scores of the negatives, shape: [P].
    """
    return (F.softplus(-positive) + F.softplus(negative)).mean()


def bpr(positive, negative):
    """Returns the mean of -log sigmoid(positive - negative); shapes as in `bce`."""
    return F.softplus(negative - positive).mean()


PAIRWISE = {"BCE": bce, "BPR": bpr}
LOSSES = ("CE", *PAIRWISE, "SSM")


def is_row_loss(model_class, loss_type, trains_rows):
    """True if this model has this loss only when it trains on user sequences.

    Args:
        model_class (type): class of the model.
        loss_type (str): name of the loss.
        trains_rows (bool): True if the run trains on user sequences.

    Raises:
        ValueError: the loss needs user sequences, but the run does not train on them.
    """
    needs_rows = loss_type == "SSM" or (loss_type == "BCE" and is_causal(model_class))
    if needs_rows and not trains_rows:
        raise ValueError(
            f"{model_class.__name__} with loss_type={loss_type} needs training on user sequences: use "
            f"{', '.join(CAUSAL)} or any class with a method sequence_states as model or backbone with "
            f"training_rows=user, or use loss_type CE or BPR"
        )
    return needs_rows


def has_row_loss(model_class, loss_type):
    """True if user sequences can train this model class by the loss.

    They can train causal classes by every loss, those of PREFIXES by CE and BPR, and BERT4Rec and HGN by CE. (HGN's BPR
    compares the target's row of one table with the negative's row of another.)
    """
    losses = {**dict.fromkeys(PREFIXES, ("CE", "BPR")), **dict.fromkeys((*CLOZE, *SCORED_TABLES), ("CE",))}
    return is_causal(model_class) or loss_type in losses.get(model_class.__name__, ())


def row_loss(model, batch, n_items, config):
    """Returns the loss of a RecBole model, or of our model with a plain item table, on training rows.

    Args:
        model (recbole SequentialRecommender): a model for which `has_row_loss` is True.
        batch (RowBatch): the rows.
        n_items (int): number of item ids that take part in training, padding included.
        config (Config): ours.

    Returns:
        Tensor: as returned by `recommendation_loss` or `cloze_loss`, shape: [].
    """
    states = prefix_states(model)
    if states is None:
        return cloze_loss(model, batch, n_items, config["ft_ratio"], config["training_rows"] == "target")
    loss = recommendation_loss(batch, states, scored_table(model), n_items, config["loss_type"])
    penalty = PENALTIES.get(type(model).__name__)
    return loss if penalty is None else loss + penalty(model, batch)


def recommendation_loss(batch, states_of, item_embedding, n_items, loss_type, additions_of=None, smoothing=0.0):
    """Returns the recommendation loss of one batch of training rows.

    Args:
        batch (RowBatch): B rows of L positions, P of which have a target.
        states_of (callable): see `model_contract.prefix_states`.
        item_embedding (nn.Module): maps ids to vectors when called, and has `.weight`.
        n_items (int): number of item ids, padding included; further rows of the table are special tokens.
        loss_type (str): a name in LOSSES; 'SSM' is the sampled softmax.
        additions_of (callable or None): maps rows [B, L + WINDOW], row [P] and place [P] to a list of ScoreAdditions;
            'CE' and 'SSM' only.
        smoothing (float): share of the target's probability that is spread evenly over the compared items (Szegedy et
            al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016); 'CE' and 'SSM' only.

    Returns:
        Tensor: mean over the P positions, shape: []. With several processes, each returns its rows' part of the loss
        times the number of processes, so the mean over processes is the loss of the whole batch.
    """
    share = batch.share(parallel.rank(), parallel.world_size())
    part = _mean_loss(share.batch, states_of, item_embedding, n_items, loss_type, additions_of, smoothing)
    return part * (share.weight * parallel.world_size())


def _mean_loss(batch, states_of, item_embedding, n_items, loss_type, additions_of, smoothing):
    """Returns the mean loss over the target positions of a batch, shape: []."""
    states = states_of(batch.inputs, batch.users, batch.is_target)  # [P, H]
    added = None
    if additions_of is not None:
        additions = additions_of(batch.whole_rows(), *batch.is_target.nonzero(as_tuple=True))
        scored = torch.arange(1, n_items, device=states.device) if loss_type == "CE" else batch.negatives
        added = SoftmaxAdditions.among(additions, batch.targets, scored)
    if loss_type == "CE":
        table = item_embedding.weight[1:n_items]
        loss = cross_entropy(states, table, batch.targets - 1, added)
        return loss + _smoothed(smoothing, states, table[batch.targets - 1], table) if smoothing else loss
    positives = item_embedding(batch.targets)  # [P, H]
    if loss_type == "SSM":
        negatives, own = item_embedding(batch.negatives), columns_of(batch.negatives)(batch.targets)
        loss = sampled_cross_entropy(states, positives, negatives, batch.log_weights, own, added)
        return loss + _smoothed(smoothing, states, positives, negatives) if smoothing else loss
    positive = (states * positives).sum(dim=-1)  # [P]
    negative = (states * item_embedding(batch.negatives)).sum(dim=-1)  # [P]
    return PAIRWISE[loss_type](positive, negative)


def _smoothed(smoothing, states, positives, table):
    """Returns what label smoothing adds to the softmax loss: its share of the target's score less the mean score.

    With (1 - s) on the target and s / N on each of N items, the cross entropy is that of the target plus
    s (score of the target - mean score).
    """
    return smoothing * (states * (positives - table.mean(dim=0))).sum(dim=-1).mean()

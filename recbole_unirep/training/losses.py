"""recbole_unirep.training.losses: recommendation losses at every position of a sequence.

Reference:
    BCE: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018; UniRep's equation 2.
    BPR: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
"""

from torch.nn import functional as F

from recbole_unirep.training.softmax import cross_entropy


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
LOSSES = ("CE", *PAIRWISE)


def recommendation_loss(batch, sequence_states, item_embedding, n_items, loss_type):
    """Loss of one batch of training rows.

    Args:
        batch (RowBatch): B rows of L positions, P of them targets.
        sequence_states (callable): item ids [B, L] to states [B, L, H], causal.
        item_embedding (nn.Module): answers a call on ids and `.weight`.
        n_items (int): number of item ids, padding included; further rows of the table are special tokens.
        loss_type (str): 'CE', 'BCE' or 'BPR'.

    Returns:
        Tensor: shape: [].
    """
    states = sequence_states(batch.inputs)[batch.is_target]  # [P, H]
    if loss_type == "CE":
        return cross_entropy(states, item_embedding.weight[1:n_items], batch.targets - 1)
    positive = (states * item_embedding(batch.targets)).sum(dim=-1)  # [P]
    negative = (states * item_embedding(batch.negatives)).sum(dim=-1)  # [P]
    return PAIRWISE[loss_type](positive, negative)

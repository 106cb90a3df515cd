"""recbole_unirep.training.losses: recommendation losses at every position of a sequence.

Reference:
    BCE: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018; UniRep's equation 2.
    BPR: Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
"""

import torch
from torch.nn import functional as F

from recbole_unirep import parallel


class _FusedCrossEntropy(torch.autograd.Function):
    """Mean cross entropy of `states @ table.T`, which keeps the two gradients instead of the logits."""

    @staticmethod
    def forward(ctx, states, table, targets):
        logits = states @ table.T  # [P, N]
        log_normaliser = logits.logsumexp(dim=-1)  # [P]
        row = torch.arange(len(targets), device=targets.device)
        loss = (log_normaliser - logits[row, targets]).mean()
        gradient = logits.sub_(log_normaliser[:, None]).exp_()  # softmax, in the logits' place
        gradient[row, targets] -= 1
        gradient /= len(targets)
        ctx.save_for_backward(gradient @ table, gradient.T @ states)
        return loss

    @staticmethod
    def backward(ctx, gradient):
        states_gradient, table_gradient = ctx.saved_tensors
        return gradient * states_gradient, gradient * table_gradient, None


def cross_entropy(states, table, targets):
    """Softmax cross entropy over the rows of a table.

    Args:
        states (Tensor): shape: [P, H].
        table (Tensor): one row an item, shape: [N, H].
        targets (Tensor): row of each position's next item, shape: [P], int64.

    Returns:
        Tensor: mean over positions, shape: [].
    """
    dtype = torch.promote_types(states.dtype, torch.float32)  # mixed precision would lose the small probabilities
    with torch.autocast(states.device.type, enabled=False):
        return _FusedCrossEntropy.apply(states.to(dtype), table.to(dtype), targets)


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
        Tensor: mean over the positions, shape: []. Of several processes each has its rows' part, times their number:
        the mean of their losses and of their gradients is that of the whole batch.
    """
    share = batch.share(parallel.rank(), parallel.world_size())
    part = _mean_loss(share.batch, sequence_states, item_embedding, n_items, loss_type)
    return part * (share.weight * parallel.world_size())


def _mean_loss(batch, sequence_states, item_embedding, n_items, loss_type):
    """Mean loss over the positions of a batch, shape: []."""
    states = sequence_states(batch.inputs)[batch.is_target]  # [P, H]
    if loss_type == "CE":
        return cross_entropy(states, item_embedding.weight[1:n_items], batch.targets - 1)
    positive = (states * item_embedding(batch.targets)).sum(dim=-1)  # [P]
    negative = (states * item_embedding(batch.negatives)).sum(dim=-1)  # [P]
    return PAIRWISE[loss_type](positive, negative)

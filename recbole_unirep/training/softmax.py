"""recbole_unirep.training.softmax: full and sampled softmax cross entropy without [positions, n_items] logits.

Positions are processed in chunks. Each chunk adds its part to the gradients, then its logits are discarded.

Reference:
    Bengio and Senecal, "Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model",
        IEEE Transactions on Neural Networks 2008.
    Jean et al., "On Using Very Large Target Vocabulary for Neural Machine Translation", ACL 2015.
    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019.

Shapes: P positions, N rows of the table, S sampled negatives, H hidden_size.
"""

import torch

CHUNK_CELLS = {"cpu": 2**21, "cuda": 2**27}  # logits in memory: fits a CPU's cache, is little memory on a GPU


class _FusedSoftmax(torch.autograd.Function):
    """Mean of -log(e^p / (e^p + sum of e^(s + w))), where p is a position's target score and s its scores of the rows.

    w is `log_weights`. `added_own` is part of p. Each tensor in `added` is part of s, at its (position, row) `pairs`.
    """

    @staticmethod
    def forward(ctx, states, positives, table, log_weights, own, chunk_rows, pairs, added_own, *added):
        positive = (states * positives).sum(dim=-1)  # [P]
        if added_own is not None:
            positive += added_own
        cuts = torch.arange(0, len(states) + chunk_rows, chunk_rows, device=states.device)
        first_pair = [torch.searchsorted(position, cuts).tolist() for position, _ in pairs]
        added_gradients = [torch.empty_like(part) for part in added]
        positive_share = torch.empty_like(positive)  # probability of the position's target
        states_gradient, table_gradient = torch.empty_like(states), torch.zeros_like(table)
        buffer = states.new_empty(min(chunk_rows, len(states)), len(table))
        loss = states.new_zeros(())
        for chunk, start in enumerate(range(0, len(states), chunk_rows)):
            rows = slice(start, start + chunk_rows)
            state, scores = states[rows], buffer[: len(states[rows])]  # [C, H], [C, N]
            torch.mm(state, table.T, out=scores)
            if log_weights is not None:
                scores += log_weights
            parts = [slice(*first[chunk : chunk + 2]) for first in first_pair]
            places = [
                (position[part] - start) * len(table) + column[part] for (position, column), part in zip(pairs, parts)
            ]
            for place, part, values in zip(places, parts, added):
                scores.view(-1).index_add_(0, place, values[part])
            has_own = (own[rows] >= 0).nonzero()[:, 0]
            scores[has_own, own[rows][has_own]] = -torch.inf  # the target counts once, through `positive`
            top = torch.maximum(scores.amax(dim=-1), positive[rows])  # [C]
            scores.sub_(top[:, None]).exp_()
            own_mass = (positive[rows] - top).exp()
            total = scores.sum(dim=-1) + own_mass
            loss += (top - positive[rows] + total.log()).sum()
            positive_share[rows] = own_mass / total
            scale = 1 / (total * len(states))[:, None]
            for place, part, gradient, (position, _) in zip(places, parts, added_gradients, pairs):
                torch.index_select(scores.view(-1), 0, place, out=gradient[part])
                gradient[part] *= scale[:, 0].index_select(0, position[part] - start)
            torch.mm(scores, table, out=states_gradient[rows]).mul_(scale)
            table_gradient.addmm_(scores.T, state * scale)
        pull = ((positive_share - 1) / len(states))[:, None]
        gradients = [states_gradient.addcmul_(pull, positives), pull * states, table_gradient]
        own_gradient = [] if added_own is None else [pull[:, 0]]
        ctx.save_for_backward(*gradients, *own_gradient, *added_gradients)
        return loss / len(states)

    @staticmethod
    def backward(ctx, gradient):
        parts = [gradient * part for part in ctx.saved_tensors]
        return *parts[:3], None, None, None, None, *(parts[3:] or [None])


def cross_entropy(states, table, targets, additions=None):
    """Returns the softmax cross entropy over all rows of a table.

    Args:
        states (Tensor): shape: [P, H].
        table (Tensor): one row per item, shape: [N, H].
        targets (Tensor): table row of each position's target, shape: [P], int64.
        additions (SoftmaxAdditions or None): values added to scores; its columns are rows of the table.

    Returns:
        Tensor: mean over positions, float32 or wider, shape: [].
    """
    return _softmax_loss(states, torch.nn.functional.embedding(targets, table), table, None, targets, additions)


def sampled_cross_entropy(states, positives, negatives, log_weights, own, additions=None):
    """Returns the sampled softmax cross entropy, with negatives that all positions share.

    A drawn negative counts e^score / (expected count), so the sum over negatives is an unbiased estimate of the sum
    over the catalogue. The target is always included without correction. If it was drawn too, it is not counted again.

    Args:
        states (Tensor): shape: [P, H].
        positives (Tensor): vectors of the targets, shape: [P, H].
        negatives (Tensor): vectors of the drawn items, each item once, shape: [S, H].
        log_weights (Tensor): log(times drawn / expected times) of each drawn item, shape: [S], float32.
        own (Tensor): index of each position's target among the negatives, -1 if it was not drawn, shape: [P], int64.
        additions (SoftmaxAdditions or None): values added to scores; its columns are indices of the negatives.

    Returns:
        Tensor: mean over positions, float32 or wider, shape: [].
    """
    return _softmax_loss(states, positives, negatives, log_weights, own, additions)


def _softmax_loss(states, positives, table, log_weights, own, additions):
    dtype = torch.promote_types(states.dtype, torch.float32)  # half precision would lose small probabilities
    if log_weights is not None:
        log_weights = log_weights.to(dtype)
    with torch.autocast(states.device.type, enabled=False):
        parts = states.to(dtype), positives.to(dtype), table.to(dtype)
        pairs, added = [], [None]
        if additions is not None:
            pairs = [(part.position, part.column) for part in additions.parts]
            added = [additions.own.to(dtype), *(part.value.to(dtype) for part in additions.parts)]
        return _FusedSoftmax.apply(*parts, log_weights, own, _chunk_rows(table), pairs, *added)


def _chunk_rows(table):
    """Returns the number of positions per chunk; its logits are at most as large as CHUNK_CELLS or as the table."""
    cells = CHUNK_CELLS.get(table.device.type, CHUNK_CELLS["cuda"])
    return max(cells // len(table), table.size(1), 1)

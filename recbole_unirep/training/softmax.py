"""recbole_unirep.training.softmax: full and sampled softmax cross entropy without [positions, n_items] logits.

Positions go through in chunks; of each only what it adds to the gradients is kept.

Reference:
    Bengio and Senecal, "Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model",
        IEEE Transactions on Neural Networks 2008.
    Jean et al., "On Using Very Large Target Vocabulary for Neural Machine Translation", ACL 2015.
    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019.

Shapes: P positions, N rows of the table, S sampled negatives, H hidden_size.
"""

import torch

CHUNK_CELLS = {"cpu": 2**21, "cuda": 2**27}  # logits held at once: what a CPU's cache holds, what a GPU can spare


class _FusedSoftmax(torch.autograd.Function):
    """Mean of -log(e^p / (e^p + sum of e^(s + w))), p a position's own score, s its scores of a table's rows.

    `added_own` is part of p; `added` of s, at the pairs of position and row that `pairs` names.
    """

    @staticmethod
    def forward(ctx, states, positives, table, added_own, added, log_weights, own, pairs, chunk_rows):
        positive = (states * positives).sum(dim=-1)  # [P]
        if pairs is not None:
            positive += added_own
            first_pair = torch.searchsorted(pairs[0], torch.arange(len(states) + 1, device=states.device))
            added_gradient = torch.empty_like(added)
        positive_share = torch.empty_like(positive)  # probability of the position's own item
        states_gradient, table_gradient = torch.empty_like(states), torch.zeros_like(table)
        buffer = states.new_empty(min(chunk_rows, len(states)), len(table))
        loss = states.new_zeros(())
        for start in range(0, len(states), chunk_rows):
            rows = slice(start, start + chunk_rows)
            state, scores = states[rows], buffer[: len(states[rows])]  # [C, H], [C, N]
            torch.mm(state, table.T, out=scores)
            if log_weights is not None:
                scores += log_weights
            if pairs is not None:
                part = slice(first_pair[start], first_pair[min(start + chunk_rows, len(states))])
                at = pairs[0][part] - start, pairs[1][part]
                scores.index_put_(at, added[part], accumulate=True)
            has_own = (own[rows] >= 0).nonzero()[:, 0]
            scores[has_own, own[rows][has_own]] = -torch.inf  # counted once, as the position's own
            top = torch.maximum(scores.amax(dim=-1), positive[rows])  # [C]
            scores.sub_(top[:, None]).exp_()
            own_mass = (positive[rows] - top).exp()
            total = scores.sum(dim=-1) + own_mass
            loss += (top - positive[rows] + total.log()).sum()
            positive_share[rows] = own_mass / total
            if pairs is not None:
                added_gradient[part] = scores[at] / total[at[0]] / len(states)
            scale = 1 / (total * len(states))[:, None]
            torch.mm(scores, table, out=states_gradient[rows]).mul_(scale)
            table_gradient.addmm_(scores.T, state * scale)
        pull = ((positive_share - 1) / len(states))[:, None]
        gradients = [states_gradient.addcmul_(pull, positives), pull * states, table_gradient]
        if pairs is not None:
            gradients += [pull[:, 0], added_gradient]
        ctx.save_for_backward(*gradients)
        return loss / len(states)

    @staticmethod
    def backward(ctx, gradient):
        parts = [gradient * part for part in ctx.saved_tensors]
        return *parts, *[None] * (9 - len(parts))


def cross_entropy(states, table, targets, additions=None):
    """Softmax cross entropy over the rows of a table.

    Args:
        states (Tensor): shape: [P, H].
        table (Tensor): one row an item, shape: [N, H].
        targets (Tensor): row of each position's next item, shape: [P], int64.
        additions (SoftmaxAdditions or None): what is added to scores; columns are rows of the table.

    Returns:
        Tensor: mean over positions, float32 at least, shape: [].
    """
    return _softmax_loss(states, torch.nn.functional.embedding(targets, table), table, None, targets, additions)


def sampled_cross_entropy(states, positives, negatives, log_weights, own, additions=None):
    """Softmax cross entropy whose normaliser is estimated from negatives that all positions share.

    A negative counts e^score / (expected count), so that the sum over negatives is an unbiased estimate of the sum
    over the catalogue. The position's own item is always there, so it is not corrected, and not counted again where
    it was drawn too.

    Args:
        states (Tensor): shape: [P, H].
        positives (Tensor): rows of the next items, shape: [P, H].
        negatives (Tensor): rows of the drawn items, each once, shape: [S, H].
        log_weights (Tensor): log(times drawn / expected times) of each drawn item, shape: [S], float32.
        own (Tensor): place of each position's next item among the negatives, -1 where it is not, shape: [P], int64.
        additions (SoftmaxAdditions or None): what is added to scores; columns are places among the negatives.

    Returns:
        Tensor: mean over positions, float32 at least, shape: [].
    """
    return _softmax_loss(states, positives, negatives, log_weights, own, additions)


def _softmax_loss(states, positives, table, log_weights, own, additions):
    dtype = torch.promote_types(states.dtype, torch.float32)  # mixed precision would lose the small probabilities
    if log_weights is not None:
        log_weights = log_weights.to(dtype)
    with torch.autocast(states.device.type, enabled=False):
        parts = states.to(dtype), positives.to(dtype), table.to(dtype)
        added, pairs = (None, None), None
        if additions is not None:
            added = additions.own.to(dtype), additions.value.to(dtype)
            pairs = additions.position, additions.column
        return _FusedSoftmax.apply(*parts, *added, log_weights, own, pairs, _chunk_rows(table))


def _chunk_rows(table):
    """Positions of a chunk: its logits take no more than CHUNK_CELLS or than the table itself does."""
    cells = CHUNK_CELLS.get(table.device.type, CHUNK_CELLS["cuda"])
    return max(cells // len(table), table.size(1), 1)

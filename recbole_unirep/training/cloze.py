"""recbole_unirep.training.cloze: masked item prediction of RecBole's BERT4Rec on user sequences.

RecBole masks every prefix of a user's history, in Python, item by item: an epoch reads a history of n items n times.
Here, as in the paper, an epoch reads each history once. Masks are drawn for the whole batch, and only masked positions
are scored.

Differences from RecBole 1.2.1:
    - A row without a mask gets one on its last item; in RecBole such a row has no loss.
    - A mask on the first item counts; RecBole mistakes its index, 0, for padding.
    - All masks of a row count; RecBole scores only the last mask_ratio * MAX_ITEM_LIST_LENGTH of them.
    - A user's last training item is included and may be masked; RecBole's rows end with the item before it.
    - Padding is not an item of the softmax; in RecBole it is.
    - Masking only the last item (`ft_ratio`) is drawn per row; in RecBole per batch.

Reference:
    Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer",
    CIKM 2019, arXiv 1904.06690, section 3.6.
"""

import torch
from torch.nn import functional as F

from recbole_unirep import parallel
from recbole_unirep.training.softmax import cross_entropy


def cloze_loss(model, batch, n_items, last_ratio, masks_all):
    """Returns the softmax cross entropy of the masked items of a batch of training rows.

    Args:
        model (recbole BERT4Rec): the model.
        batch (RowBatch): rows of items and their targets.
        n_items (int): number of item ids, padding included.
        last_ratio (float): RecBole's `ft_ratio`, the probability that only a row's last item is masked.
        masks_all (bool): True if every item of a row may be masked, including items that other rows mask.

    Returns:
        Tensor: mean over the masked positions, shape: []. With several processes, each returns the mean over its rows,
        times the fraction of targets in these rows, times the number of processes.
    """
    share = batch.share(parallel.rank(), parallel.world_size())
    items, may_be_masked = whole_rows(share.batch, model.max_seq_length)
    if masks_all:
        may_be_masked = items > 0
    is_masked = draw_masks(items, may_be_masked, model.mask_ratio, last_ratio)
    states = model(items.masked_fill(is_masked, model.mask_token))[is_masked]  # [P, H]
    scored = slice(1, n_items)
    table = torch.cat([model.item_embedding.weight[scored], model.output_bias[scored, None]], dim=1)  # [n, H + 1]
    states = F.pad(states, (0, 1), value=1.0)  # the added 1 multiplies the bias column
    return cross_entropy(states, table, items[is_masked] - 1) * (share.weight * parallel.world_size())


def whole_rows(batch, max_length):
    """Returns the items of each row, its last target included, and which of them may be masked.

    Args:
        batch (RowBatch): B rows.
        max_length (int): maximum number of items per row; older items are cut.

    Returns:
        tuple[Tensor, Tensor]: items, 0 pads on the right, shape: [B, L], int64; a mask [B, L], bool, True for the
            targets and for the first item of a row whose first position has a target, False for items that other rows
            mask.
    """
    length = (batch.inputs > 0).sum(dim=1, keepdim=True)  # without the last target, [B, 1]
    items = F.pad(batch.inputs, (0, 1)).scatter(1, length, batch.following[:, :1])
    may_be_masked = torch.cat([batch.is_target[:, :1], batch.is_target], dim=1)
    n_columns = min(items.size(1), max_length)
    first = (length + 1 - max_length).clamp(min=0)
    place = first + torch.arange(n_columns, device=items.device)
    return items.gather(1, place), may_be_masked.gather(1, place)


def draw_masks(items, may_be_masked, mask_ratio, last_ratio):
    """Draws masks: per row either each item with probability `mask_ratio`, or only the last item.

    Args:
        items (Tensor): 0 pads on the right, shape: [B, L].
        may_be_masked (Tensor): shape: [B, L], bool; True for every row's last item.
        mask_ratio (float): probability that an item is masked.
        last_ratio (float): probability that only a row's last item is masked.

    Returns:
        Tensor: shape: [B, L], bool. Every row has at least one mask: the last item if no other was drawn.
    """
    device = items.device
    position = torch.arange(items.size(1), device=device)
    is_last = position == (items > 0).sum(dim=1, keepdim=True) - 1
    drawn = may_be_masked & (torch.rand(items.shape, device=device) < mask_ratio)
    is_last_alone = torch.rand(len(items), 1, device=device) < last_ratio
    is_last_alone |= ~drawn.any(dim=1, keepdim=True)
    return torch.where(is_last_alone, is_last, drawn)

"""recbole_unirep.training.s3rec: the pre-training step of RecBole's S3Rec, drawn and counted in tensors.

RecBole builds every batch in Python, with a list of 0 and 1 over all attributes for every position, padding included,
and encodes and scores the padding too. Here the attributes are rows of one multi-hot matrix, masks and segments are
drawn for the whole batch, rows of like length are encoded together without their padding, and positions that no loss
counts are not scored. The objective and the distribution of masks, negatives and segments are RecBole's.

Where RecBole 1.2.1, and so this, differs from the S3-Rec paper and its authors' code:
    - The authors mask the last item of every sequence and the others with `mask_ratio`; RecBole masks every item with
      `mask_ratio`, so a short sequence may have no masked item at all.
    - The authors take the wrong segment out of all users' items, RecBole out of those of the batch; either may hold
      the row's own items.
    - The authors' longest sequence ends with the last training item, RecBole's with the item before it, because its
      rows are the histories before training targets.
    - RecBole pre-trains with padding on the left and fine-tunes with padding on the right, so that a position embedding
      is learned for one place and used for another; the authors pad on the left in both stages.
    - With an attribute of one value an item (`token`), RecBole gives an item without a value the last attribute; with
      several (`token_seq`) it gives it none, as the authors do.
    - Both draw the mask token as a negative item now and then, and both count one negative where the paper's
      contrastive loss sums over all of them.
    - RecBole's batch is `train_batch_size` (2048) sequences, the authors' 100; the losses are sums over it in both.

Reference:
    Zhou et al., "S3-Rec: Self-Supervised Learning for Sequential Recommendation with Mutual Information Maximization",
    CIKM 2020, arXiv 2008.07873. Authors' code: https://github.com/RUCAIBox/CIKM2020-S3Rec.
"""

from typing import NamedTuple

import torch
from torch.nn import functional

ROWS_AT_ONCE = 256  # rows of like length that are encoded together
LOSSES = ("associated_attribute", "masked_item", "masked_attribute", "segment")


class PretrainingBatch(NamedTuple):
    """Sequences that end at the last column, 0 pads on the left, each of shape: [B, L], int64.

    The fields are those of RecBole's `S3Rec.pretrain`, but for its features, which are rows of the attribute matrix.
    """

    masked_items: torch.Tensor
    pos_items: torch.Tensor
    neg_items: torch.Tensor
    masked_segment: torch.Tensor
    pos_segment: torch.Tensor
    neg_segment: torch.Tensor


class PretrainingStep:
    """The four losses of a batch of RecBole's S3Rec, for its trainer's `loss_func`.

    Args:
        model (recbole S3Rec): in stage 'pretrain', on its device.
    """

    def __init__(self, model):
        self.model = model
        self.attributes = attribute_matrix(model).to(model.item_embedding.weight.device)  # [n_items, n_attributes]
        self.weights = (model.aap_weight, model.mip_weight, model.map_weight, model.sp_weight)

    def __call__(self, interaction):
        """Weighted losses of one of RecBole's batches.

        Args:
            interaction (Interaction): item ids with padding on the right, and their number.

        Returns:
            tuple[Tensor, ...]: in the order of LOSSES, each of shape: [].
        """
        item_seq, length = interaction[self.model.ITEM_SEQ], interaction[self.model.ITEM_SEQ_LEN]
        losses = self.losses(draw_batch(item_seq, length, self.model.mask_token, self.model.mask_ratio))
        return tuple(weight * loss for weight, loss in zip(self.weights, losses))

    def losses(self, batch):
        """Losses before weighting, sums over the batch as RecBole's.

        Args:
            batch (PretrainingBatch): B sequences.

        Returns:
            tuple[Tensor, ...]: in the order of LOSSES, each of shape: [].
        """
        length = (batch.pos_items != 0).sum(dim=1)  # [B]
        parts = []
        for rows in length.argsort(descending=True, stable=True).split(ROWS_AT_ONCE):
            longest = int(length[rows[0]])
            parts.append(self._losses(*(part[rows, -longest:] for part in batch)))
        return tuple(torch.stack(losses).sum() for losses in zip(*parts))

    def _losses(self, masked_items, pos_items, neg_items, masked_segment, pos_segment, neg_segment):
        model, size = self.model, len(masked_items)
        states = self._states(torch.cat([masked_items, masked_segment, pos_segment, neg_segment]))  # [4 B, L, H]
        items, (context, right, wrong) = states[:size], states[size:, -1].split(size)

        is_masked = masked_items == model.mask_token
        is_seen = (masked_items != 0) & ~is_masked
        associated = self._attribute_loss(model.aap_norm(items[is_seen]), pos_items[is_seen])
        masked = self._attribute_loss(model.map_norm(items[is_masked]), pos_items[is_masked])
        item = _contrast(
            model.mip_norm(items[is_masked]),
            model.item_embedding(pos_items[is_masked]),
            model.item_embedding(neg_items[is_masked]),
        )
        return associated, item, masked, _contrast(model.sp_norm(context), right, wrong)

    def _attribute_loss(self, states, items):
        """Cross entropy of every attribute at every state; states [n, H], items [n]."""
        scores = states @ self.model.feature_embedding.weight.T  # [n, n_attributes]
        return functional.binary_cross_entropy_with_logits(scores, self.attributes[items].float(), reduction="sum")

    def _states(self, sequences):
        """RecBole's bidirectional forward of sequences that were cut on the left; [n, L] to [n, L, H]."""
        model = self.model
        place = torch.arange(model.max_seq_length - sequences.size(1), model.max_seq_length, device=sequences.device)
        hidden = model.dropout(model.LayerNorm(model.item_embedding(sequences) + model.position_embedding(place)))
        mask = model.get_attention_mask(sequences, bidirectional=True)
        return model.trm_encoder(hidden, mask, output_all_encoded_layers=False)[-1]


def attribute_matrix(model):
    """Which attributes an item has, as RecBole's S3Rec counts them.

    Args:
        model (recbole S3Rec): holds the column of attributes, `item_attribute`.

    Returns:
        Tensor: shape: [n_items, n_attributes], bool; the row of the padding item is empty.
    """
    codes = model.item_feat[model.FEATURE_FIELD].long()  # 0 is no attribute
    matrix = torch.zeros(len(codes), model.n_features + 1, dtype=torch.bool)
    matrix.scatter_(1, codes.reshape(len(codes), -1), True)
    matrix = matrix[:, 1:]
    if codes.dim() == 1:
        matrix[codes == 0, -1] = True  # RecBole's features[0 - 1] = 1
    matrix[0] = False
    return matrix


def draw_batch(item_seq, length, mask_token, mask_ratio):
    """Masks items and segments at random, by torch's generator.

    Args:
        item_seq (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
        length (Tensor): items of each row, at least 1, shape: [B], int64.
        mask_token (int): the id that masks; one more than the largest item id.
        mask_ratio (float): probability of an item to be masked.

    Returns:
        PretrainingBatch: B sequences.
    """
    place = torch.arange(item_seq.size(1), device=item_seq.device) - (item_seq.size(1) - length[:, None])  # [B, L]
    is_item = place >= 0
    items = item_seq.gather(1, place.clamp(min=0)) * is_item
    is_masked = is_item & (torch.rand(items.shape, device=items.device) < mask_ratio)
    neg_items = items.clone()
    neg_items[is_masked] = _other_items(items[is_masked.nonzero()[:, 0]], mask_token)

    in_batch = items[is_item]  # every row's items one after the other
    size = 1 + _below(length // 2)
    start = _below(length - size + 1)[:, None]
    source = (_below(len(in_batch) - size + 1)[:, None] + place - start).clamp(0, len(in_batch) - 1)
    in_segment = (place >= start) & (place < start + size[:, None])
    is_context = is_item & ~in_segment
    is_short = length[:, None] < 2  # one item has no context: it stays as it is, in all three

    def segments(inside, outside):
        return torch.where(is_short, items, torch.where(in_segment, inside, outside))

    masks = torch.where(is_context, mask_token, 0)
    return PretrainingBatch(
        masked_items=items.masked_fill(is_masked, mask_token),
        pos_items=items,
        neg_items=neg_items,
        masked_segment=segments(mask_token, items),
        pos_segment=segments(items, masks),
        neg_segment=segments(in_batch[source], masks),
    )


def _other_items(rows, largest):
    """An id of 1..largest that is not in the row, for each row of [n, L], shape: [n]."""
    drawn = torch.randint(1, largest + 1, (len(rows),), device=rows.device)
    again = (rows == drawn[:, None]).any(dim=1).nonzero()[:, 0]
    while len(again):
        drawn[again] = torch.randint(1, largest + 1, (len(again),), device=rows.device)
        again = again[(rows[again] == drawn[again, None]).any(dim=1)]
    return drawn


def _below(bound):
    """A whole number of 0..bound-1 for each bound, 0 where the bound is 0, shape and type as the bound's."""
    return (torch.rand(bound.shape, dtype=torch.float64, device=bound.device) * bound).long()


def _contrast(states, right, wrong):
    """How surely each state prefers the right vector, each of shape: [n, H]."""
    difference = torch.sigmoid((states * right).sum(dim=-1)) - torch.sigmoid((states * wrong).sum(dim=-1))
    return functional.binary_cross_entropy_with_logits(difference, torch.ones_like(difference), reduction="sum")

"""recbole_unirep.training.s3rec: the pre-training step of RecBole's S3Rec, vectorised.

RecBole builds every batch in Python, with a 0/1 list over all attributes for every position, and also encodes and
scores the padding. Here the attributes are rows of one multi-hot matrix, and masks and segments are drawn for the whole
batch. Rows of similar length are encoded together without padding, and only positions that enter a loss are scored. The
objective and the distribution of masks, negatives and segments are RecBole's.

Differences between RecBole 1.2.1 (and thus this module) and the S3-Rec paper and its authors' code:
    - The authors mask the last item of every sequence and the others with `mask_ratio`; RecBole masks every item with
      `mask_ratio`, so a short sequence may have no masked item at all.
    - The authors draw the negative segment from the items of all users, RecBole from the items of the batch. Either
      may contain the row's own items.
    - The authors' longest sequence ends with the last training item. RecBole's ends with the item before it, because
      its rows are the histories before training targets.
    - RecBole pre-trains with padding on the left and fine-tunes with padding on the right. A position embedding is thus
      learned at one place and used at a different one. The authors pad on the left in both stages.
    - If the attribute has one value per item (`token`), RecBole gives items without a value the last attribute. With
      several values (`token_seq`) it gives them none, as the authors do.
    - Both sometimes draw the mask token as a negative item. Both use one negative, while the paper's contrastive loss
      sums over all of them.
    - A batch has `train_batch_size` (2048) sequences in RecBole, 100 in the authors' code; the losses are sums over the
      batch in both.

Reference:
    Zhou et al., "S3-Rec: Self-Supervised Learning for Sequential Recommendation with Mutual Information Maximization",
    CIKM 2020, arXiv 2008.07873. Authors' code: https://github.com/RUCAIBox/CIKM2020-S3Rec.
"""

from typing import NamedTuple

import torch
from torch.nn import functional

ROWS_AT_ONCE = 256  # rows of similar length that are encoded together
LOSSES = ("associated_attribute", "masked_item", "masked_attribute", "segment")


class PretrainingBatch(NamedTuple):
    """Sequences that end at the last column, 0 pads on the left, shape of each: [B, L], int64.

    The fields are the arguments of RecBole's `S3Rec.pretrain`, without its features: these are rows of the attribute
    matrix.
    """

    masked_items: torch.Tensor
    pos_items: torch.Tensor
    neg_items: torch.Tensor
    masked_segment: torch.Tensor
    pos_segment: torch.Tensor
    neg_segment: torch.Tensor


class PretrainingStep:
    """Computes the four losses of RecBole's S3Rec for a batch; used as the trainer's `loss_func`.

    Args:
        model (recbole S3Rec): in stage 'pretrain', on its device.
    """

    def __init__(self, model):
        self.model = model
        self.attributes = attribute_matrix(model).to(model.item_embedding.weight.device)  # [n_items, n_attributes]
        self.weights = (model.aap_weight, model.mip_weight, model.map_weight, model.sp_weight)

    def __call__(self, interaction):
        """Returns the weighted losses of one of RecBole's batches.

        Args:
            interaction (Interaction): item ids with padding on the right, and sequence lengths.

        Returns:
            tuple[Tensor, ...]: in the order of LOSSES, each of shape: [].
        """
        item_seq, length = interaction[self.model.ITEM_SEQ], interaction[self.model.ITEM_SEQ_LEN]
        losses = self.losses(draw_batch(item_seq, length, self.model.mask_token, self.model.mask_ratio))
        return tuple(weight * loss for weight, loss in zip(self.weights, losses))

    def losses(self, batch):
        """Returns the losses before weighting, summed over the batch as in RecBole.

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
        """Returns the binary cross entropy of every attribute at every state; states [n, H], items [n]."""
        scores = states @ self.model.feature_embedding.weight.T  # [n, n_attributes]
        return functional.binary_cross_entropy_with_logits(scores, self.attributes[items].float(), reduction="sum")

    def _states(self, sequences):
        """Runs RecBole's bidirectional encoder on sequences whose left padding was cut; [n, L] to [n, L, H]."""
        model = self.model
        place = torch.arange(model.max_seq_length - sequences.size(1), model.max_seq_length, device=sequences.device)
        hidden = model.dropout(model.LayerNorm(model.item_embedding(sequences) + model.position_embedding(place)))
        mask = model.get_attention_mask(sequences, bidirectional=True)
        return model.trm_encoder(hidden, mask, output_all_encoded_layers=False)[-1]


def attribute_matrix(model):
    """Returns which attributes each item has, as RecBole's S3Rec encodes them.

    Args:
        model (recbole S3Rec): holds the attribute column, `item_attribute`.

    Returns:
        Tensor: shape: [n_items, n_attributes], bool; the row of the padding item is empty.
    """
    codes = model.item_feat[model.FEATURE_FIELD].long()  # 0 means no attribute
    matrix = torch.zeros(len(codes), model.n_features + 1, dtype=torch.bool)
    matrix.scatter_(1, codes.reshape(len(codes), -1), True)
    matrix = matrix[:, 1:]
    if codes.dim() == 1:
        matrix[codes == 0, -1] = True  # as RecBole does: features[0 - 1] = 1
    matrix[0] = False
    return matrix


def draw_batch(item_seq, length, mask_token, mask_ratio):
    """Masks items and segments at random, with torch's global generator.

    Args:
        item_seq (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
        length (Tensor): number of items per row, at least 1, shape: [B], int64.
        mask_token (int): id of the mask, one more than the largest item id.
        mask_ratio (float): probability that an item is masked.

    Returns:
        PretrainingBatch: B sequences.
    """
    place = torch.arange(item_seq.size(1), device=item_seq.device) - (item_seq.size(1) - length[:, None])  # [B, L]
    is_item = place >= 0
    items = item_seq.gather(1, place.clamp(min=0)) * is_item
    is_masked = is_item & (torch.rand(items.shape, device=items.device) < mask_ratio)
    neg_items = items.clone()
    neg_items[is_masked] = _other_items(items[is_masked.nonzero()[:, 0]], mask_token)

    in_batch = items[is_item]  # items of all rows, concatenated
    size = 1 + _below(length // 2)
    start = _below(length - size + 1)[:, None]
    source = (_below(len(in_batch) - size + 1)[:, None] + place - start).clamp(0, len(in_batch) - 1)
    in_segment = (place >= start) & (place < start + size[:, None])
    is_context = is_item & ~in_segment
    is_short = length[:, None] < 2  # a single item has no context: all three segments keep it unchanged

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
    """Draws for each row of [n, L] an id of 1..largest that is not in the row, shape: [n]."""
    drawn = torch.randint(1, largest + 1, (len(rows),), device=rows.device)
    again = (rows == drawn[:, None]).any(dim=1).nonzero()[:, 0]
    while len(again):
        drawn[again] = torch.randint(1, largest + 1, (len(again),), device=rows.device)
        again = again[(rows[again] == drawn[again, None]).any(dim=1)]
    return drawn


def _below(bound):
    """Draws an integer of 0..bound-1 for each bound, 0 for bound 0; shape and dtype of `bound`."""
    return (torch.rand(bound.shape, dtype=torch.float64, device=bound.device) * bound).long()


def _contrast(states, right, wrong):
    """Returns the contrastive loss of states against right and wrong vectors, shape of each: [n, H]."""
    difference = torch.sigmoid((states * right).sum(dim=-1)) - torch.sigmoid((states * wrong).sum(dim=-1))
    return functional.binary_cross_entropy_with_logits(difference, torch.ones_like(difference), reduction="sum")

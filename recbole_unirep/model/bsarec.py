r"""BSARec: self-attention mixed with a filter that rescales the high frequencies of the sequence.

Reference:
    Yehjin Shin, Jeongwhan Choi, Hyowon Wi, Noseong Park. "An Attentive Inductive Bias for Sequential Recommendation
        beyond the Self-Attention" (BSARec), AAAI 2024, arXiv:2312.10325, equations 6 to 11.

A layer is :math:`\alpha\,\mathrm{filter}(X) + (1 - \alpha)\,\mathrm{attention}(X)`, then a feed-forward network. The
filter keeps the c lowest frequencies of the sequence (LFC) and multiplies the rest (HFC) by a learned :math:`\beta^2`
per dimension. The c lowest frequencies are a linear map over the positions, computed once as a matrix [L, L].

The filter reads the whole sequence, so a state depends on later items: the model predicts the item after the last
position only, and trains on one row per target. Sequences are padded on the left to `MAX_ITEM_LIST_LENGTH`, as in the
paper: frequencies are relative to that length.

It is both a model with an item table and a backbone of UniRep (`--backbone=BSARec`).

Shapes: B rows, L = MAX_ITEM_LIST_LENGTH positions, H hidden_size, A heads.
"""

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.layers import FeedForward
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.scoring.model_contract import read_items
from recbole_unirep.training.losses import PAIRWISE
from recbole_unirep.training.softmax import cross_entropy


class BSARec(SequentialRecommender):
    """Self-attention with an attentive inductive bias.

    Args:
        config (Config): RecBole's or ours, with the keys of properties/model/BSARec.yaml.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: a size or share is out of range, or the loss is unknown.
    """

    item_size_key = "hidden_size"
    loss_names = ("recommendation",)

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        _check(config)
        size, self.loss_type = config["hidden_size"], config["loss_type"]
        self.n_training_items = n_training_items(dataset)
        self.item_embedding = nn.Embedding(self.n_items, size, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, size)
        self.norm = nn.LayerNorm(size, eps=config["layer_norm_eps"])
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["n_layers"]))
        self.register_buffer("low_pass", low_pass(self.max_seq_length, config["low_frequencies"]), persistent=False)
        std = config["initializer_range"]
        for part in self.modules():
            if isinstance(part, (nn.Linear, nn.Embedding)):
                nn.init.normal_(part.weight, std=std)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Returns the state at the last position.

        Args:
            item_seq (Tensor): item ids, 0 pads on the right, at most L columns, shape: [B, *], int64.
            item_seq_len (Tensor): number of items per row, shape: [B], int64.

        Returns:
            Tensor: shape: [B, H].
        """
        item_seq = padded_left(item_seq, item_seq_len, self.max_seq_length)
        position = torch.arange(self.max_seq_length, device=item_seq.device)
        x = self.dropout(self.norm(read_items(self, item_seq) + self.position_embedding(position)))
        is_seen = (position <= position[:, None]) & (item_seq > 0)[:, None]  # [B, L, L]
        for block in self.blocks[:-1]:
            x = block(x, is_seen, self.low_pass)
        return self.blocks[-1](x, is_seen[:, -1:], self.low_pass[-1:])[:, 0]  # later layers need no other position

    def row_losses(self, batch):
        """Returns the softmax loss over all items of rows with one target each, as a tuple of one.

        Args:
            batch (RowBatch): rows of training_rows 'target'.
        """
        length = (batch.inputs > 0).sum(dim=1)
        state = self.forward(batch.inputs, length)
        return (cross_entropy(state, self.item_embedding.weight[1 : self.n_training_items], batch.targets - 1),)

    def calculate_loss(self, interaction):
        """Returns the loss of one of RecBole's batches, shape: []."""
        state, target = self._last_state(interaction), interaction[self.POS_ITEM_ID]
        if self.loss_type == "CE":
            return cross_entropy(state, self.item_embedding.weight[1 : self.n_training_items], target - 1)
        items = (target, interaction[self.NEG_ITEM_ID])
        return PAIRWISE[self.loss_type](*((state * self.item_embedding(item)).sum(dim=-1) for item in items))

    def predict(self, interaction):
        return (self._last_state(interaction) * self.item_embedding(interaction[self.ITEM_ID])).sum(dim=-1)

    def full_sort_predict(self, interaction):
        return self._last_state(interaction) @ self.item_embedding.weight[: self.n_items].T

    def _last_state(self, interaction):
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])


class Block(nn.Module):
    """One layer: filter and attention side by side, then a feed-forward network (equations 6 to 11).

    Args:
        config (Config): keys of properties/model/BSARec.yaml.
    """

    def __init__(self, config):
        super().__init__()
        size, eps = config["hidden_size"], config["layer_norm_eps"]
        self.filter_share, self.n_heads = config["filter_share"], config["n_heads"]
        self.query, self.key, self.value, self.output = (nn.Linear(size, size) for _ in range(4))
        self.high_scale = nn.Parameter(torch.randn(size))  # its square is beta
        self.filter_norm, self.attention_norm = nn.LayerNorm(size, eps=eps), nn.LayerNorm(size, eps=eps)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        self.attention_dropout = nn.Dropout(config["attn_dropout_prob"])
        self.feed_forward = FeedForward(
            size, config["inner_size"], config["hidden_dropout_prob"], config["hidden_act"], eps
        )

    def forward(self, x, is_seen, low_pass):
        """Returns the states at the last Q positions.

        Args:
            x (Tensor): shape: [B, L, H].
            is_seen (Tensor): positions that each of the last Q positions attends to, shape: [B, Q, L], bool.
            low_pass (Tensor): their rows of the low-pass matrix, shape: [Q, L].

        Returns:
            Tensor: shape: [B, Q, H].
        """
        last = x[:, -len(low_pass) :]
        low = low_pass @ x
        filtered = low + self.high_scale.square() * (last - low)
        filtered = self.filter_norm(self.dropout(filtered) + last)
        attended = self.attention_norm(self.dropout(self._attend(last, x, is_seen)) + last)
        return self.feed_forward(self.filter_share * filtered + (1 - self.filter_share) * attended)

    def _attend(self, last, x, is_seen):
        query, key, value = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for part in (self.query(last), self.key(x), self.value(x))
        )  # [B, A, Q or L, H / A]
        scores = query @ key.transpose(-1, -2) / query.size(-1) ** 0.5
        # A finite number: a row of padding attends to nothing, and NaN would spread.
        scores = scores.masked_fill(~is_seen[:, None], -10_000.0)
        found = self.attention_dropout(functional.softmax(scores, dim=-1)) @ value
        return self.output(found.transpose(1, 2).flatten(-2))


def low_pass(length: int, n_frequencies: int) -> Tensor:
    """Returns the matrix that keeps the lowest frequencies of a sequence.

    Args:
        length (int): L.
        n_frequencies (int): number of frequencies to keep, from 0 on; more than L // 2 + 1 keep all.

    Returns:
        Tensor: M, so that M @ x equals irfft(rfft(x) with all higher frequencies set to 0), shape: [L, L].
    """
    spectrum = torch.fft.rfft(torch.eye(length, dtype=torch.float64), dim=0)
    spectrum[n_frequencies:] = 0
    return torch.fft.irfft(spectrum, n=length, dim=0).float()


def padded_left(item_seq: Tensor, item_seq_len: Tensor, length: int) -> Tensor:
    """Moves the items of each row to its end; [B, *], 0 pads on the right, to [B, length], 0 pads on the left."""
    place = torch.arange(length, device=item_seq.device) - length + item_seq_len[:, None]
    return item_seq.gather(1, place.clamp(min=0)) * (place >= 0)


def _check(config):
    size, n_heads = config["hidden_size"], config["n_heads"]
    if size % n_heads:
        raise ValueError(f"n_heads={n_heads} does not divide hidden_size={size}: change one")
    if config["loss_type"] not in ("CE", *PAIRWISE):
        raise ValueError(f"loss_type={config['loss_type']} is not known: choose one of CE, {', '.join(PAIRWISE)}")

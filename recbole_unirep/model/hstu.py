r"""HSTU: attention with SiLU weights instead of a softmax, gated by the current item, without a feed-forward layer.

Reference:
    Jiaqi Zhai et al. "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
        Recommendations" (HSTU), ICML 2024, arXiv:2402.17152, equations 1 to 3.

It is both a model with an item table and a backbone of UniRep (`--backbone=HSTU`). The paper's bias
:math:`rab^{p,t}` depends on positions and times. Sequences contain no times here (Amazon's times are days), so the bias
here depends on positions only.

Shapes: B rows, L positions, H hidden_size, A heads, E = H / A.
"""

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.scoring.model_contract import read_items
from recbole_unirep.training.losses import LOSSES, PAIRWISE
from recbole_unirep.training.softmax import cross_entropy


class HSTU(SequentialRecommender):
    """Hierarchical sequential transduction units.

    Args:
        config (Config): RecBole's or ours, with the keys of properties/model/HSTU.yaml.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: the number of heads does not divide the hidden size, or the loss is unknown.
    """

    item_size_key = "hidden_size"

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        size, n_heads = config["hidden_size"], config["n_heads"]
        if size % n_heads:
            raise ValueError(f"n_heads={n_heads} does not divide hidden_size={size}: change one")
        self.loss_type = config["loss_type"]
        if self.loss_type not in LOSSES:
            raise ValueError(f"loss_type={self.loss_type} is not known: choose one of {', '.join(LOSSES)}")
        self.item_embedding = nn.Embedding(self.n_items, size, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, size)
        dropouts = (config["hidden_dropout_prob"], config["attn_dropout_prob"])
        blocks = [Block(size, n_heads, self.max_seq_length, *dropouts) for _ in range(config["n_layers"])]
        self.blocks = nn.ModuleList(blocks)
        self.dropout = nn.Dropout(config["hidden_dropout_prob"])
        std = config["initializer_range"]
        for part in self.modules():
            if isinstance(part, (nn.Linear, nn.Embedding)):
                nn.init.normal_(part.weight, std=std)
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)

    def sequence_states(self, item_seq: Tensor) -> Tensor:
        """Returns the states at every position.

        Args:
            item_seq (Tensor): item ids, 0 pads on the right, shape: [B, L].

        Returns:
            Tensor: shape: [B, L, H].
        """
        position = torch.arange(item_seq.size(1), device=item_seq.device)
        x = read_items(self, item_seq)
        x = self.dropout(x * x.size(-1) ** 0.5 + self.position_embedding(position))
        is_seen = (position <= position[:, None]) & (item_seq > 0)[:, None]  # [B, L, L]
        distance = (position[:, None] - position).clamp(min=0)  # [L, L]
        for block in self.blocks:
            x = block(x, is_seen[:, None], distance)
        return x

    def forward(self, item_seq, item_seq_len):
        """Returns the state at the last position, shape: [B, H]."""
        return self.gather_indexes(self.sequence_states(item_seq), item_seq_len - 1)

    def calculate_loss(self, interaction):
        """Returns the loss of one of RecBole's batches, shape: [].

        Raises:
            ValueError: the loss is the sampled softmax, which needs training on user sequences.
        """
        if self.loss_type == "SSM":
            raise ValueError("loss_type=SSM needs training on user sequences: use training_rows=user, or CE or BPR")
        state, target = self._last_state(interaction), interaction[self.POS_ITEM_ID]
        if self.loss_type == "CE":
            return cross_entropy(state, self.item_embedding.weight[1 : self.n_items], target - 1)
        items = (target, interaction[self.NEG_ITEM_ID])
        return PAIRWISE[self.loss_type](*((state * self.item_embedding(item)).sum(dim=-1) for item in items))

    def predict(self, interaction):
        return (self._last_state(interaction) * self.item_embedding(interaction[self.ITEM_ID])).sum(dim=-1)

    def full_sort_predict(self, interaction):
        return self._last_state(interaction) @ self.item_embedding.weight[: self.n_items].T

    def _last_state(self, interaction):
        return self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])


class Block(nn.Module):
    """One block: projection, aggregation and transformation (equations 1 to 3).

    Args:
        size (int): H.
        n_heads (int): A.
        max_length (int): N, maximum number of positions. Attention weights are divided by it for any batch length.
        dropout (float): dropout rate of the block's output before the residual connection.
        attention_dropout (float): dropout rate of the attention weights.
    """

    def __init__(self, size, n_heads, max_length, dropout, attention_dropout):
        super().__init__()
        self.n_heads, self.max_length = n_heads, max_length
        self.norm = nn.LayerNorm(size)
        self.projection = nn.Linear(size, 4 * size)
        self.distance_bias = nn.Embedding(max_length, n_heads)
        self.found_norm = nn.LayerNorm(size)
        self.transformation = nn.Linear(size, size)
        self.dropout, self.attention_dropout = nn.Dropout(dropout), nn.Dropout(attention_dropout)

    def forward(self, x, is_seen, distance):
        """Maps states [B, L, H] to states [B, L, H]; is_seen [B, 1, L, L], bool; distance [L, L], int64."""
        gate, value, query, key = functional.silu(self.projection(self.norm(x))).chunk(4, dim=-1)  # [B, L, H] each
        value, query, key = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in (value, query, key))
        bias = self.distance_bias(distance).permute(2, 0, 1)  # [A, L, L]
        weights = functional.silu(query @ key.transpose(-1, -2) + bias) / self.max_length  # [B, A, L, L]
        found = self.attention_dropout(weights * is_seen) @ value  # [B, A, L, E]
        found = self.found_norm(found.transpose(1, 2).flatten(-2))
        return x + self.dropout(self.transformation(found * gate))

"""RunningMean: linear layers on the running mean of item embeddings; a model of its own and a UniRep backbone."""

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import nn
from torch.nn import functional

from recbole_unirep.scoring.model_contract import read_items


class RunningMean(SequentialRecommender):
    """RunningMean.yaml holds its keys."""

    item_size_key = "hidden_size"

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        size, self.loss_type = config["hidden_size"], config["loss_type"]
        self.item_embedding = nn.Embedding(self.n_items, size, padding_idx=0)
        self.layers = nn.Sequential(*(nn.Linear(size, size) for _ in range(config["n_maps"])))

    def sequence_states(self, item_seq):
        """States [B, L, H] at every position of item ids [B, L]."""
        is_item = (item_seq > 0)[..., None]
        total = (read_items(self, item_seq) * is_item).cumsum(dim=1)
        return self.layers(total / is_item.cumsum(dim=1).clamp(min=1))

    def forward(self, item_seq, item_seq_len):
        """States [B, H] at the last position."""
        return self.gather_indexes(self.sequence_states(item_seq), item_seq_len - 1)

    def calculate_loss(self, interaction):
        state, target = self._last_state(interaction), interaction[self.POS_ITEM_ID]
        if self.loss_type == "CE":
            return functional.cross_entropy(state @ self.item_embedding.weight.T, target)
        items = self.item_embedding(torch.stack([target, interaction[self.NEG_ITEM_ID]]))
        positive, negative = (state * items).sum(dim=-1)
        return functional.softplus(negative - positive).mean()

    def predict(self, interaction):
        return (self._last_state(interaction) * self.item_embedding(interaction[self.ITEM_ID])).sum(dim=-1)

    def full_sort_predict(self, interaction):
        return self._last_state(interaction) @ self.item_embedding.weight[: self.n_items].T

    def _last_state(self, interaction):
        return self(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])

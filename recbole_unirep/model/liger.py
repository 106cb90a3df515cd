"""LIGER: a generative model finds items by their semantic IDs, a dense vector ranks what it found and what is new.

Reference:
    Liu Yang et al. "Unifying Generative and Dense Retrieval for Sequential Recommendation", arXiv:2411.18814.

A history is read by its items' codes and their text. One state of it both writes the next ID and is compared, by
cosine, with the text of items. Ours where the paper leaves it open or has another: text is added to the last code of an
item, so that `decoder_only` never sees that of the item which it writes; the state is the one that predicts the first
code; the cosine is trained by a softmax over all items.

Shapes: B users, P targets, V levels, H hidden_size, D text dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.model.tiger import TIGER, Remembered
from recbole_unirep.modules.item_embedding import versions_of
from recbole_unirep.training.softmax import cross_entropy


class LIGER(TIGER):
    """TIGER with a dense side. Items that took no part in training are always among those that it ranks.

    Args:
        config (Config): ours; keys of properties/model/LIGER.yaml and TIGER.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: an option that is not in its range, or items without text vectors.
    """

    loss_names = ("id", "dense")

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.n_training_items = n_training_items(dataset)
        self.temperature, self.dense_weight = config["temperature"], config["dense_weight"]
        if self.temperature <= 0:
            raise ValueError(f"temperature={self.temperature} divides the cosines: give a number above 0")
        item_text, size = load_item_text(config, dataset), config["hidden_size"]
        self.text_encoder = item_text.encoder
        self.register_buffer("text", item_text.vectors)  # [n_items, D]
        n_dims = item_text.vectors.shape[1]
        self.read_text = nn.Sequential(nn.Linear(n_dims, size), nn.RMSNorm(size))
        self.item_side, self.user_side = nn.Linear(n_dims, size), nn.Linear(size, size)
        self._kept = None  # what the items' vectors were made of, and they

    @property
    def loss_weights(self):
        """Weights of the two losses."""
        return 1.0, self.dense_weight

    def losses(self, users, items, is_target, targets):
        states = self._states_of_row(users, items, is_target, targets)  # [P, V, H]
        n_items = self.n_training_items
        table = self._item_vectors(self.text[1:n_items])
        dense = cross_entropy(self._user_vectors(states[:, 0]), table, targets - 1)
        return self.code_loss(states, targets), self.dense_weight * dense

    def remember(self, users, items):
        remembered = super().remember(users, items)
        state = remembered.last
        if state is None:
            opening = torch.zeros(len(items), 1, dtype=torch.int64, device=items.device)
            state = self.stack.step(self.tokens(opening), remembered.memory, None, None)[0][:, 0]
        return Grounded(remembered, self._user_vectors(state))

    def catalogue_scores(self, memory):
        """Cosines of the items that the beams find and of those that are new; with `exact_ranking` of all items."""
        scores = memory.users.double() @ self._kept_vectors().T  # equal texts have equal scores
        if self.exact_ranking:
            is_ranked = torch.ones_like(scores, dtype=torch.bool)
        else:
            is_ranked = super().catalogue_scores(memory.remembered) > -torch.inf
            is_ranked[:, self.n_training_items :] = True
        is_ranked[:, 0] = False
        return scores.float().masked_fill(~is_ranked, -torch.inf)

    def candidate_scores(self, memory, items):
        """Cosines of each user's candidates [B, C], shape: [B, C]."""
        vectors = self._kept_vectors()[items]  # [B, C, H]
        return (vectors @ memory.users.double()[..., None])[..., 0].float()

    def _user_vectors(self, states):
        """Unit vectors of states [..., H], divided by the temperature."""
        return functional.normalize(self.user_side(states), dim=-1) / self.temperature

    @torch.no_grad()
    def _kept_vectors(self):
        """Unit vectors of all items, made once for all batches of an evaluation, float64, shape: [n_items, H]."""
        versions = versions_of((self.text, *self.item_side.parameters()))
        if self._kept is None or self._kept[0] != versions:
            self._kept = versions, self._item_vectors(self.text).double()
        return self._kept[1]

    def _item_vectors(self, text):
        """Unit vectors of texts, shape: [..., H]."""
        return functional.normalize(self.item_side(text), dim=-1)

    def _history(self, users, items):
        x, is_read = super()._history(users, items)
        last = slice(self.n_levels, None, self.n_levels)  # the last code of each item
        known = self.read_text(self.text[items]) * (items > 0)[..., None]
        return x.index_add(1, torch.arange(x.shape[1], device=x.device)[last], known), is_read


class Grounded(NamedTuple):
    """Histories that were read.

    Attributes:
        remembered (Remembered): for the decoder.
        users (Tensor): their dense vectors, shape: [B, H].
    """

    remembered: Remembered
    users: Tensor

"""LIGER: a generative model finds items by their semantic IDs; a dense vector ranks them, together with new items.

Reference:
    Liu Yang et al. "Unifying Generative and Dense Retrieval for Sequential Recommendation", arXiv:2411.18814.

A history is read by the codes and the text of its items. One state of it writes the next ID and is also compared, by
cosine, with the text of items. Where the paper differs or leaves it open:

- Text is added to the last code of an item, so that with `decoder_only` no state sees the text of the item it writes.
- The compared state is the one that predicts the first code.
- The cosine is trained by a softmax over all items in training.

Shapes: B users, P targets, V levels, H hidden_size, D text dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.model.autoregressive import AutoregressiveRecommender
from recbole_unirep.modules.id_transformer import Remembered
from recbole_unirep.modules.item_embedding import versions_of
from recbole_unirep.training.softmax import cross_entropy


class LIGER(AutoregressiveRecommender):
    """TIGER's network with a dense side. Items that took no part in training are always ranked.

    Args:
        config (Config): ours; keys of properties/model/LIGER.yaml and TIGER.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: an option is out of its range, or the items have no text vectors.
    """

    base_settings = ("TIGER",)
    loss_names = ("id", "dense")

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.temperature, self.dense_weight = config["temperature"], config["dense_weight"]
        if self.temperature <= 0:
            raise ValueError(f"temperature={self.temperature} divides the cosines: give a number above 0")
        item_text, size = load_item_text(config, dataset), config["hidden_size"]
        self.text_encoder = item_text.encoder
        self.register_buffer("text", item_text.vectors)  # [n_items, D]
        n_dims = item_text.vectors.shape[1]
        self.read_text = nn.Sequential(nn.Linear(n_dims, size), nn.RMSNorm(size))
        self.item_side, self.user_side = nn.Linear(n_dims, size), nn.Linear(size, size)
        self._kept = None  # vectors of all items, and the versions of the tensors they were made from

    @property
    def loss_weights(self):
        """Weights of the two losses."""
        return 1.0, self.dense_weight

    def losses(self, users, items, is_target, targets):
        states = self.target_states(users, items, is_target, targets)  # [P, V, H]
        table = self._item_vectors(self.text[1 : self.n_training_items])
        dense = cross_entropy(self._user_vectors(states[:, 0]), table, targets - 1)
        return self.transformer.code_loss(states, targets), self.dense_weight * dense

    def remember(self, users, items):
        remembered = super().remember(users, items)
        return Grounded(remembered, self._user_vectors(self.transformer.first_states(remembered)))

    def catalogue_scores(self, memory):
        """Cosines, shape: [B, n_items].

        -inf for padding and for items that the beams did not find, unless they are new; with `exact_ranking` for
        padding alone.
        """
        scores = memory.users.double() @ self._kept_vectors().T  # in float64, so that equal texts have equal scores
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

    def embedded(self, users, items):
        x, is_read = super().embedded(users, items)
        last = slice(self.ids.n_levels, None, self.ids.n_levels)  # the last code of each item
        known = self.read_text(self.text[items]) * (items > 0)[..., None]
        return x.index_add(1, torch.arange(x.shape[1], device=x.device)[last], known), is_read

    def _user_vectors(self, states):
        """Unit vectors of states [..., H], divided by the temperature."""
        return functional.normalize(self.user_side(states), dim=-1) / self.temperature

    @torch.no_grad()
    def _kept_vectors(self):
        """Unit vectors of all items, computed once per evaluation, float64, shape: [n_items, H]."""
        versions = versions_of((self.text, *self.item_side.parameters()))
        if self._kept is None or self._kept[0] != versions:
            self._kept = versions, self._item_vectors(self.text).double()
        return self._kept[1]

    def _item_vectors(self, text):
        """Unit vectors of texts [..., D], shape: [..., H]."""
        return functional.normalize(self.item_side(text), dim=-1)


class Grounded(NamedTuple):
    """Histories that have been read.

    Attributes:
        remembered (Remembered): for the decoder.
        users (Tensor): dense vectors of the users, shape: [B, H].
    """

    remembered: Remembered
    users: Tensor

"""TextKNN: recommends items whose text is similar to the user's last items; nothing is trained.

It is a baseline for models that use item text, above all on cold items. The score of an item is its mean cosine
similarity to the items of the user's history, where newer items have more weight.
"""

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import nn
from torch.nn import functional as F

from recbole_unirep.data.cold_items import LearnsNothing
from recbole_unirep.data.item_text import load_item_text


class TextKNN(LearnsNothing, SequentialRecommender):
    """Nearest neighbours of a user's history by item text.

    Args:
        config (Config): RecBole's or ours, with the keys of properties/model/TextKNN.yaml and of item text.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: `recency` is not between 0 and 1.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.recency = config["recency"]
        if not 0 < self.recency <= 1:
            raise ValueError(f"recency={self.recency} is out of range: give a number above 0, at most 1")
        text = load_item_text(config, dataset)
        self.text_encoder = text.encoder
        self.register_buffer("unit_text", F.normalize(text.vectors, dim=-1))  # [n_items, text_dim]
        self.sizes = [len(text.vectors)]  # sizes of the groups of items that are scored together
        self.nothing = nn.Parameter(torch.zeros(()))  # RecBole's trainer needs at least one parameter

    def calculate_loss(self, interaction):
        """Returns zero, because there is nothing to learn, shape: []."""
        return 0 * self.nothing

    def forward(self, item_seq, item_seq_len):
        """Returns the weighted mean of the unit text vectors of the history.

        Args:
            item_seq (Tensor): item ids, 0 pads on the right, shape: [B, L], int64.
            item_seq_len (Tensor): number of items, shape: [B], int64.

        Returns:
            Tensor: shape: [B, text_dim].
        """
        age = item_seq_len[:, None] - 1 - torch.arange(item_seq.size(1), device=item_seq.device)  # [B, L]
        weight = torch.where(age >= 0, self.recency ** age.clamp(min=0).float(), 0.0)
        weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
        return torch.bmm(weight[:, None], self.unit_text[item_seq]).squeeze(1)

    def predict(self, interaction):
        user = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return (user * self.unit_text[interaction[self.ITEM_ID]]).sum(dim=-1)

    def full_sort_predict(self, interaction):
        user = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return torch.cat([user @ part.T for part in self.unit_text.split(self.sizes)], dim=1)

    def add_items(self, new, sizes):
        """Appends new items; the scores of all other items stay bitwise equal.

        Args:
            new (NewItems): with text vectors.
            sizes (list of int): number of items of each batch of additions.
        """
        unit = F.normalize(new.text, dim=-1).to(self.unit_text)
        self.unit_text, self.sizes = torch.cat([self.unit_text, unit]), [*self.sizes, *sizes]

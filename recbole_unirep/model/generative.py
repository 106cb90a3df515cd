"""recbole_unirep.model.generative: base of models that predict the codes of the next item's semantic ID.

The score of an item is the log-likelihood of its ID. To rank the catalogue, a search finds the best IDs and all other
items rank below them; given candidates are scored exactly. With `exact_ranking` all items are scored exactly.

Shapes: B users, L items of a history, P targets, C candidates, V levels, H hidden_size, N items.
"""

from abc import abstractmethod

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType

from recbole_unirep import parallel
from recbole_unirep.analysis.codebook import codebook_report
from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.modules.written_ids import WrittenIDs
from recbole_unirep.semantic_ids.frozen_codes import FITTED, frozen_codes


class GenerativeRecommender(SequentialRecommender):
    """Base of models that predict codes of a tokenizer or a bundle.

    Args:
        config (Config): ours; keys of the model's yaml and its tokenizer's.
        dataset (recbole Dataset): the training part.

    Attributes:
        ids (WrittenIDs): of the items, made by `make_ids`; a subclass holds them.
        n_training_items (int): number of item ids that take part in training, padding included.
        text_encoder (str or None): the vectors behind the codes.

    Raises:
        ValueError: an option is out of its range.
    """

    input_type = InputType.PAIRWISE
    checkpoint_names = {}  # prefix of a part's tensors -> prefix that a checkpoint has for it
    ids: WrittenIDs

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.num_beams, self.exact_ranking = config["num_beams"], config["exact_ranking"]
        if config["loss_type"] != "CE":
            raise ValueError(
                f"loss_type={config['loss_type']} is not supported, {config['model']} has only CE: leave it out"
            )
        if not self.exact_ranking and self.num_beams < max(config["topk"]):
            raise ValueError(
                f"num_beams={self.num_beams} finds fewer items than topk={max(config['topk'])} asks for: raise "
                f"num_beams, or lower topk"
            )
        self.n_training_items = n_training_items(dataset)

    def make_ids(self, config, dataset) -> WrittenIDs:
        """IDs of the items by the tokenizer or bundle that the config names; records what they were made of."""
        frozen = frozen_codes(config, dataset)
        self.text_encoder, self._fitted = frozen.source, {FITTED: frozen.fitted}
        return self.written_ids(config, dataset, frozen)

    def written_ids(self, config, dataset, frozen) -> WrittenIDs:
        """IDs as the model predicts them: the tokenizer's codes, unless a subclass writes others.

        Args:
            config (Config): ours.
            dataset (recbole Dataset): the training part.
            frozen (FrozenCodes): of the items.
        """
        return WrittenIDs(frozen.codes, frozen.codebook_sizes)

    def take_fitted(self):
        """FittedCodes of the tokenizers behind the codes, by folder name; the model drops its reference to them."""
        fitted, self._fitted = self._fitted, {}
        return fitted

    @property
    @abstractmethod
    def item_table_parameters(self):
        """Learned numbers that are looked up by code, int."""

    @property
    @abstractmethod
    def code_vectors(self):
        """Embeddings of each level's codes, shape: [codebook_sizes[level], H] each."""

    @property
    def open_sizes(self):
        """Number of codes per level of `open_codes`, list of int."""
        return self.ids.open_sizes

    @property
    def open_codes(self):
        """Codes of the items as the tokenizer gave them, without the padding row; unused levels -1, shape: [N, V]."""
        return self.ids.open_codes

    @abstractmethod
    def id_loss(self, users, items, is_target, targets):
        """Negative log-likelihood of the codes of the targets' IDs, mean over levels and targets.

        Args:
            users (Tensor): user ids, shape: [B].
            items (Tensor): histories, 0 pads on the right, shape: [B, L].
            is_target (Tensor): positions that are followed by a target, shape: [B, L], bool.
            targets (Tensor): item ids in the order of `is_target`, shape: [P].

        Returns:
            Tensor: shape: [].
        """

    def losses(self, users, items, is_target, targets):
        """Weighted parts of the loss, shape: [] each; arguments as `id_loss`."""
        return (self.id_loss(users, items, is_target, targets),)

    @abstractmethod
    def remember(self, users, items):
        """Encodes the histories [B, L] of B users into what scoring needs."""

    @abstractmethod
    def catalogue_scores(self, memory):
        """Log-likelihood of each item's ID, -inf for padding and items not found, shape: [B, n_items]."""

    @abstractmethod
    def candidate_scores(self, memory, items):
        """Log-likelihood of the IDs of each user's candidates [B, C], shape: [B, C]."""

    def row_losses(self, batch):
        """Weighted parts of the loss of one batch of training rows, shape: [] each."""
        share = batch.share(parallel.rank(), parallel.world_size())
        part = share.batch
        losses = self.losses(part.users, part.inputs, part.is_target, part.targets)
        return tuple(loss * (share.weight * parallel.world_size()) for loss in losses)

    def calculate_loss(self, interaction):
        """Loss of one of RecBole's batches, shape: []."""
        items, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        is_target = torch.arange(items.shape[1], device=items.device) == length[:, None] - 1
        return sum(self.losses(interaction[self.USER_ID], items, is_target, interaction[self.POS_ITEM_ID]))

    def memory_of(self, interaction):
        """`remember` for the users of one of RecBole's batches."""
        items = interaction[self.ITEM_SEQ][:, : int(interaction[self.ITEM_SEQ_LEN].max())]
        return self.remember(interaction[self.USER_ID], items)

    def predict(self, interaction):
        """Exact log-likelihood of each row's item, shape: [B]."""
        return self.candidate_scores(self.memory_of(interaction), interaction[self.ITEM_ID][:, None])[:, 0]

    def full_sort_predict(self, interaction):
        """Scores of all items, see `catalogue_scores`, shape: [B, n_items]."""
        return self.catalogue_scores(self.memory_of(interaction))

    def codebook_report(self):
        """Usage and perplexity of each level, unique_item_coverage and collision_rate, over all items."""
        return codebook_report(self.open_codes.cpu().numpy(), self.open_sizes)

    def state_dict(self, *args, prefix="", **kwargs):
        """Tensors by their names in a checkpoint, such as `codes` for `ids.codes`; see `checkpoint_names`."""
        state = super().state_dict(*args, prefix=prefix, **kwargs)
        for name in [name for name in state if name.startswith(prefix)]:
            state[prefix + self._name_in_checkpoint(name.removeprefix(prefix))] = state.pop(name)
        return state

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for name in super().state_dict():
            stored = prefix + self._name_in_checkpoint(name)
            if stored in state_dict:
                state_dict[prefix + name] = state_dict.pop(stored)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _name_in_checkpoint(self, name):
        for part, stored in self.checkpoint_names.items():
            if name.startswith(part):
                return stored + name.removeprefix(part)
        return name


def exact_where_found(scores, exact):
    """Exact scores of the items that a search found, -inf for all others.

    Args:
        scores (Tensor): the search's scores, -inf for items that it did not find, shape: [B, n_items].
        exact (callable): item ids [B, C] to scores [B, C].

    Returns:
        Tensor: shape: [B, n_items].
    """
    n_most = int((scores > -torch.inf).sum(dim=1).max())
    found, items = scores.topk(n_most, dim=1)  # [B, C]
    values = exact(items).masked_fill(found == -torch.inf, -torch.inf)
    return torch.full_like(scores, -torch.inf).scatter(1, items, values)

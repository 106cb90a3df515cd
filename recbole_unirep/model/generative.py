"""recbole_unirep.model.generative: what models share that predict the codes of the next item's semantic ID.

An item's score is the log-likelihood of its ID. Ranking the catalogue takes the IDs that a search finds, everything
else below them; a candidate that is asked for gets the exact likelihood. With `exact_ranking` so does every item.

Shapes: B users, L items of a history, V levels, H hidden_size, N items.
"""

from abc import abstractmethod

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch.nn import functional

from recbole_unirep import parallel
from recbole_unirep.analysis.codebook import codebook_report
from recbole_unirep.generation.beam_search import beam_search
from recbole_unirep.generation.likelihood import candidate_log_likelihoods, catalogue_log_likelihoods
from recbole_unirep.generation.trie import ClosedCodes, PrefixTrie, close_codes
from recbole_unirep.semantic_ids.frozen_codes import FITTED, frozen_codes
from recbole_unirep.semantic_ids.ids import first_tokens


class GenerativeRecommender(SequentialRecommender):
    """Base of models that predict codes of a tokenizer or a bundle.

    Args:
        config (Config): ours; keys of the model's yaml and its tokenizer's.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: an option that is not in its range.
    """

    input_type = InputType.PAIRWISE
    trains_in_rows = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.num_beams, self.exact_ranking = config["num_beams"], config["exact_ranking"]
        if config["loss_type"] != "CE":
            raise ValueError(
                f"loss_type={config['loss_type']} is asked for, {config['model']} has CE alone: leave it out"
            )
        if not self.exact_ranking and self.num_beams < max(config["topk"]):
            raise ValueError(
                f"num_beams={self.num_beams} finds fewer items than topk={max(config['topk'])} asks for: raise "
                f"num_beams, or lower topk"
            )
        frozen = self.tokenized(config, dataset)
        self.text_encoder, self.fitted_codes = frozen.source, {FITTED: frozen.fitted}
        written, sizes = self.written_ids(config, dataset, frozen)
        closed = close_codes(written[1:], sizes)
        self._written_sizes = list(sizes)  # without the code that ends an ID
        self.codebook_sizes = closed.codebook_sizes
        self.n_levels = len(self.codebook_sizes)
        self.register_buffer("codes", functional.pad(closed.codes, (0, 0, 1, 0)))  # [n_items, V], row 0 is padding's
        # Checkpoints hold `is_past_end` under this name.
        self.register_buffer("is_certain", functional.pad(closed.is_past_end, (0, 0, 1, 0)))
        self.register_buffer("first_token", torch.tensor(first_tokens(self.codebook_sizes)), persistent=False)
        self._trie = None
        self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "_trie", None))

    def tokenized(self, config, dataset):
        """Codes of the items (FrozenCodes), by the tokenizer or bundle that the config names."""
        return frozen_codes(config, dataset)

    def written_ids(self, config, dataset, frozen):
        """IDs as they are predicted: the tokenizer's codes, where a subclass makes nothing else of them.

        Returns:
            tuple[Tensor, list of int]: row 0 is padding's, unused levels hold -1, shape: [n_items, V]; and the codes of
            each level, shape: [V].
        """
        return frozen.codes, frozen.codebook_sizes

    @property
    def is_past_end(self):
        """Levels past the end of each item's ID, row 0 is padding's, shape: [n_items, V], bool."""
        return self.is_certain

    @property
    def trie(self):
        """Semantic IDs of all items."""
        if self._trie is None or self._trie.leaf.device != self.codes.device:
            self._trie = PrefixTrie(ClosedCodes(*self.ranked_codes, self.codebook_sizes))
        return self._trie

    @property
    def ranked_codes(self):
        """Closed codes of what is ranked, shape: [N, V], and which levels are past an ID's end, shape: [N, V]."""
        return self.codes[1:], self.is_past_end[1:]

    @property
    def item_table_parameters(self):
        """Learned numbers addressed by code; a subclass has `tokens`, a vector of each."""
        return sum(self.codebook_sizes) * self.tokens.embedding_dim

    @property
    def code_vectors(self):
        """Learned vectors of each level's codes, shape: [codebook_sizes[level], H] each."""
        return self.tokens.weight[1 : 1 + sum(self.codebook_sizes)].split(self.codebook_sizes)

    @property
    def open_sizes(self):
        """Codes of each level of `open_codes`, list of int."""
        return self._written_sizes

    @property
    def open_codes(self):
        """Codes of the items without padding as the tokenizer gave them, unused levels -1, shape: [N, V]."""
        codes = self.codes[1:]
        return codes.masked_fill(codes >= torch.tensor(self._written_sizes, device=codes.device), -1)

    @abstractmethod
    def id_loss(self, users, items, is_target, targets):
        """Negative log-likelihood of the codes of the targets' IDs, mean over levels and targets.

        Args:
            users (Tensor): user ids, shape: [B].
            items (Tensor): histories, 0 pads on the right, shape: [B, L].
            is_target (Tensor): behind which positions a target follows, shape: [B, L], bool.
            targets (Tensor): item ids in the order of `is_target`, shape: [P].

        Returns:
            Tensor: shape: [].
        """

    def losses(self, users, items, is_target, targets):
        """Parts of the loss, arguments as above; their weights are in them."""
        return (self.id_loss(users, items, is_target, targets),)

    @abstractmethod
    def remember(self, users, items):
        """What is known of B users once their histories [B, L] are read."""

    @abstractmethod
    def catalogue_scores(self, memory):
        """Log-likelihood of each item's ID, -inf where it was not found, column 0 padding's, shape: [B, n_items]."""

    @abstractmethod
    def candidate_scores(self, memory, items):
        """Log-likelihood of the IDs of each user's candidates [B, C], shape: [B, C]."""

    def row_losses(self, batch):
        """Parts of the loss of one batch of training rows, shape: [] each."""
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
        """What is known of the users of a batch."""
        items = interaction[self.ITEM_SEQ][:, : int(interaction[self.ITEM_SEQ_LEN].max())]
        return self.remember(interaction[self.USER_ID], items)

    def predict(self, interaction):
        """Exact log-likelihood of each item's ID, shape: [B]."""
        return self.candidate_scores(self.memory_of(interaction), interaction[self.ITEM_ID][:, None])[:, 0]

    def full_sort_predict(self, interaction):
        return self.catalogue_scores(self.memory_of(interaction))

    def codebook_report(self):
        """Usage and perplexity of each level, unique_item_coverage and collision_rate, over all items."""
        return codebook_report(self.open_codes.cpu().numpy(), self.open_sizes)

    def _of_items(self, of_leaves):
        """Scores of IDs [B, n_leaves] as those of their items, shape: [B, n_items]."""
        return functional.pad(of_leaves[:, self.trie.leaf], (1, 0), value=-torch.inf)


class AutoregressiveRecommender(GenerativeRecommender):
    """Base of models that write an ID code by code; a subclass gives `id_loss`, `remember` and `decoder`."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.scores_at_once = config["scores_at_once"]

    @abstractmethod
    def decoder(self, memory):
        """A `generation.beam_search.Decoder` of the remembered users."""

    def catalogue_scores(self, memory):
        """Of the beams, or with `exact_ranking` of all IDs, their prefixes read once."""
        decoder, trie = self.decoder(memory), self.trie
        if self.exact_ranking:
            n_numbers = len(decoder) * max(*self.codebook_sizes, decoder.n_kept)
            n_at_once = max(1, self.scores_at_once // n_numbers)
            return self._of_items(catalogue_log_likelihoods(decoder, trie, n_at_once))
        leaf, log_probability = beam_search(decoder, trie, self.num_beams)
        of_leaves = log_probability.new_full((len(leaf), trie.n_leaves), -torch.inf)
        return self._of_items(of_leaves.scatter_reduce_(1, leaf, log_probability, "amax"))

    def candidate_scores(self, memory, items):
        return candidate_log_likelihoods(self.decoder(memory), self.codes[items], self.is_past_end[items])


def exact_where_found(scores, exact):
    """Scores of items that a search found, in place of what the search made of them; -inf everywhere else.

    Args:
        scores (Tensor): -inf where an item was not found, shape: [B, n_items].
        exact (callable): item ids [B, C] to scores [B, C].

    Returns:
        Tensor: shape: [B, n_items].
    """
    n_most = int((scores > -torch.inf).sum(dim=1).max())
    found, items = scores.topk(n_most, dim=1)  # [B, C]
    values = exact(items).masked_fill(found == -torch.inf, -torch.inf)
    return torch.full_like(scores, -torch.inf).scatter(1, items, values)

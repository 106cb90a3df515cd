r"""ActionPiece: TIGER whose history is written in tokens of features that occur together, within items and across them.

Reference:
    Yupeng Hou et al. "ActionPiece: Contextually Tokenizing Action Sequences for Generative Recommendation", ICML 2025,
        arXiv:2502.13581.

An item is a set of features, here the codes of its semantic ID. Its features are written down in an order drawn anew
each time (set permutation regularization), then merged by the rules that `feature_merges` learns from the training
sequences, so that an item's tokens depend on its neighbours. Ranking reads each history in several orders.

The next item is written by the tokens of its own features merged among themselves; each place has the softmax over the
tokens that some item has there. Ours where the paper has another: scores are the mean of the probabilities under all
orders, exact for candidates and for what the beams of any order find, where the authors' code adds up reciprocal
logarithms of ranks.

Shapes: B users, L items of a history, F features of an item, V places of a written ID, Q orders, S tokens, H
hidden_size.
"""

import math

import numpy as np
import torch
from torch.nn import functional

from recbole_unirep.data.cooccurrence import n_training
from recbole_unirep.model.generative import exact_where_found
from recbole_unirep.model.tiger import TIGER
from recbole_unirep.modules.feature_merges import FeatureMerges, learn_merges
from recbole_unirep.semantic_ids.ids import first_tokens


class ActionPiece(TIGER):
    """Encoder and decoder over merged features.

    Args:
        config (Config): ours; keys of properties/model/ActionPiece.yaml and TIGER.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part, which `build_for_rows` or `build` made.

    Raises:
        ValueError: an option that is not in its range, or stock RecBole's dataset.
    """

    def __init__(self, config, dataset):
        if config["decoder_only"]:
            raise ValueError(
                "decoder_only=True reads items and goes on in one stack, ActionPiece's merges span items: leave it out"
            )
        super().__init__(config, dataset)
        draw = torch.Generator().manual_seed(config["seed"])
        shape = (config["n_segmentations"], self.max_seq_length, self.features.shape[1])
        self.register_buffer("orders", torch.rand(shape, generator=draw).argsort(dim=-1))  # [Q, L, F]

    def written_ids(self, config, dataset, frozen):
        features, sizes = frozen.codes, list(frozen.codebook_sizes)
        if frozen.is_appended:
            features, sizes[-1] = scattered(features, config["n_hash_buckets"]), config["n_hash_buckets"]
        n_features = sum(sizes)
        if config["vocabulary_size"] < n_features:
            raise ValueError(
                f"vocabulary_size={config['vocabulary_size']} is less than the {n_features} features: give at least as "
                f"many"
            )
        tokens = torch.where(features < 0, 0, features + torch.tensor(first_tokens(sizes)))
        self.register_buffer("features", tokens)  # [n_items, F], row 0 is padding's
        sequences, n_first = dataset.sequences, n_training(dataset, "ActionPiece's vocabulary")
        is_training = sequences.is_among_first(n_first)
        ends = np.concatenate([[0], np.cumsum(is_training)])[sequences.offsets]
        sets = tokens.numpy()[sequences.items[is_training]]
        pairs = learn_merges(sets, ends, n_features, config["vocabulary_size"] - n_features)
        self.merges = FeatureMerges(torch.from_numpy(pairs), n_features)

        written = self.merges.of_sets(tokens[1:])  # [N, F]
        levels = [level[level > 0].unique() for level in written.unbind(dim=1) if level.any()]
        self.register_buffer("level_tokens", torch.full((len(levels), 1 + max(map(len, levels))), self.n_id_tokens))
        codes = torch.full((len(tokens), len(levels)), -1)
        for place, level in enumerate(levels):
            self.level_tokens[place, : len(level)] = level
            of_items = written[:, place].contiguous()
            codes[1:, place] = torch.where(of_items > 0, torch.searchsorted(level, of_items), -1)
        return codes, list(map(len, levels))

    @property
    def n_id_tokens(self):
        """Features, merges and the token that ends an ID, which is the last."""
        return self.merges.n_tokens + 1

    @property
    def item_table_parameters(self):
        """Learned numbers addressed by feature or merge."""
        return self.merges.n_tokens * self.tokens.embedding_dim

    def token_of(self, level, code):
        return self.level_tokens[level, code]

    def remember(self, users, items):
        """Each history in every order, one behind the other: B * Q rows."""
        n_orders = len(self.orders)
        return super().remember(users.repeat_interleave(n_orders), items.repeat_interleave(n_orders, dim=0))

    def catalogue_scores(self, memory):
        found = self._over_orders(super().catalogue_scores(memory))
        if self.exact_ranking:
            return found
        return exact_where_found(found, lambda items: self.candidate_scores(memory, items))

    def candidate_scores(self, memory, items):
        return self._over_orders(super().candidate_scores(memory, items.repeat_interleave(len(self.orders), dim=0)))

    def _over_orders(self, scores):
        """Logarithm of the mean probability: [B * Q, ..] to [B, ..]."""
        n_orders = len(self.orders)
        return scores.unflatten(0, (-1, n_orders)).logsumexp(dim=1) - math.log(n_orders)

    @property
    def code_vectors(self):
        return [self.vectors_of_level(level) for level in range(self.n_levels)]

    def vectors_of_level(self, level):
        return self.tokens.weight[self.level_tokens[level, : self.codebook_sizes[level]]]

    def tokens_of(self, items):
        place = torch.arange(self.n_levels, device=items.device)
        return self.level_tokens[place, self.codes[items]]

    def _history(self, users, items):
        features = self.features[items]  # [B, L, F]
        if self.training:
            order = torch.rand(features.shape, device=items.device).argsort(dim=-1)
        else:
            row = torch.arange(len(items), device=items.device) % len(self.orders)
            order = self.orders[row, : items.shape[1]]
        flat = features.gather(-1, order).flatten(1)  # [B, L * F]
        flat = flat.gather(1, (flat == 0).int().argsort(dim=1, stable=True))  # side by side
        tokens = functional.pad(self.merges.segment(flat), (1, 0))
        is_read = tokens > 0
        is_read[:, 0], tokens[:, 0] = True, self.user_token[users]
        return self.tokens(tokens), is_read


def scattered(codes, n_buckets):
    """Codes whose last one, which numbers the items of an ID, is drawn from buckets instead, anew for each ID.

    Numbers from 0 on would make one feature of nearly all items.

    Args:
        codes (Tensor): row 0 is padding's, shape: [n_items, V].
        n_buckets (int): buckets to draw from.

    Raises:
        ValueError: more items share an ID than there are buckets.
    """
    if codes[:, -1].max() >= n_buckets:
        raise ValueError(
            f"{int(codes[:, -1].max()) + 1} items share an ID, n_hash_buckets={n_buckets} tells fewer apart: raise it"
        )
    codes, drawn = codes.clone(), {}
    for row, (*own, number) in enumerate(codes[1:].tolist(), start=1):
        known = tuple(code + 1 for code in own)
        if known not in drawn:
            drawn[known] = np.random.default_rng(known).permutation(n_buckets)
        codes[row, -1] = int(drawn[known][number])
    return codes

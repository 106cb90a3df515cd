"""ActionPiece: histories written in tokens of features that occur together, within items and across them.

Reference:
    Yupeng Hou et al. "ActionPiece: Contextually Tokenizing Action Sequences for Generative Recommendation", ICML 2025,
        arXiv:2502.13581.

An item is a set of features, here the codes of its semantic ID. Its features are written in an order resampled each
time (set permutation regularization), then merged by the rules that `feature_merges` learns from the training
sequences, so that an item's tokens depend on its neighbours. Ranking reads each history in several orders.

The next item is written in the tokens of its own features, merged among themselves. Each level has a softmax over the
tokens that some item has there. Unlike the authors' code, which adds up reciprocal logarithms of ranks, the score of an
item is the mean of its probabilities under all orders, exact for candidates and for the items that the beams of any
order find.

Shapes: N items, B users, L items of a history, F features of an item, V levels of a written ID, Q orders, S tokens, H
hidden_size.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.data.cooccurrence import n_training
from recbole_unirep.model.autoregressive import AutoregressiveRecommender
from recbole_unirep.model.generative import exact_where_found
from recbole_unirep.modules.feature_merges import FeatureMerges, learn_merges
from recbole_unirep.modules.written_ids import WrittenIDs
from recbole_unirep.semantic_ids.ids import first_tokens


class ActionPiece(AutoregressiveRecommender):
    """TIGER's encoder and decoder over merged features.

    Args:
        config (Config): ours; keys of properties/model/ActionPiece.yaml and TIGER.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part, which `build_for_rows` or `build` made.

    Raises:
        ValueError: an option is out of its range, or the dataset is stock RecBole's.
    """

    base_settings = ("TIGER",)

    def __init__(self, config, dataset):
        if config["decoder_only"]:
            raise ValueError(
                "decoder_only=True predicts behind each item, but ActionPiece's merges span items: leave it out"
            )
        super().__init__(config, dataset)
        draw = torch.Generator().manual_seed(config["seed"])
        shape = (config["n_segmentations"], self.max_seq_length, self.features.shape[1])
        self.register_buffer("orders", torch.rand(shape, generator=draw).argsort(dim=-1))  # [Q, L, F]

    def written_ids(self, config, dataset, frozen):
        """Learns the merges and writes every item in them."""
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
        self.register_buffer("features", tokens)  # [N + 1, F], row 0 is padding
        sequences, n_first = dataset.sequences, n_training(dataset, "ActionPiece's vocabulary")
        is_training = sequences.is_among_first(n_first)
        ends = np.concatenate([[0], np.cumsum(is_training)])[sequences.offsets]
        sets = tokens.numpy()[sequences.items[is_training]]
        pairs = learn_merges(sets, ends, n_features, config["vocabulary_size"] - n_features)
        self.merges = FeatureMerges(torch.from_numpy(pairs), n_features)
        return MergedIDs(self.merges.of_sets(tokens[1:]), self.merges.n_tokens)

    @property
    def item_table_parameters(self):
        """Learned numbers that are looked up by feature or merge, int."""
        return self.merges.n_tokens * self.transformer.tokens.embedding_dim

    def remember(self, users, items):
        """Encodes each history in every order; a user's orders are consecutive rows, B * Q in all."""
        n_orders = len(self.orders)
        return super().remember(users.repeat_interleave(n_orders), items.repeat_interleave(n_orders, dim=0))

    def catalogue_scores(self, memory):
        found = self._over_orders(super().catalogue_scores(memory))
        if self.exact_ranking:
            return found
        return exact_where_found(found, lambda items: self.candidate_scores(memory, items))

    def candidate_scores(self, memory, items):
        return self._over_orders(super().candidate_scores(memory, items.repeat_interleave(len(self.orders), dim=0)))

    def embedded(self, users, items):
        """Histories in merged tokens: in random orders in training, in the orders `orders` otherwise."""
        features = self.features[items]  # [B, L, F]
        if self.training:
            order = torch.rand(features.shape, device=items.device).argsort(dim=-1)
        else:
            row = torch.arange(len(items), device=items.device) % len(self.orders)
            order = self.orders[row, : items.shape[1]]
        flat = features.gather(-1, order).flatten(1)  # [B, L * F]
        flat = flat.gather(1, (flat == 0).int().argsort(dim=1, stable=True))  # padding moves to the end
        tokens = functional.pad(self.merges.segment(flat), (1, 0))
        is_read = tokens > 0
        is_read[:, 0], tokens[:, 0] = True, self.user_token[users]
        return self.transformer.tokens(tokens), is_read

    def _over_orders(self, scores):
        """Logarithm of the mean probability over orders: [B * Q, ...] to [B, ...]."""
        n_orders = len(self.orders)
        return scores.unflatten(0, (-1, n_orders)).logsumexp(dim=1) - math.log(n_orders)


class MergedIDs(WrittenIDs):
    """IDs in one vocabulary of features and merges; a code is the place of a token among those that a level has.

    Args:
        tokens (Tensor): of each item, 0 pads on the right, int64, shape: [N, V].
        n_known (int): features and merges; the next token ends an ID.
    """

    def __init__(self, tokens: Tensor, n_known: int):
        levels = [level[level > 0].unique() for level in tokens.unbind(dim=1) if level.any()]
        codes = torch.full((1 + len(tokens), len(levels)), -1)
        table = torch.full((len(levels), 1 + max(map(len, levels))), n_known + 1)
        for place, level in enumerate(levels):
            table[place, : len(level)] = level
            of_items = tokens[:, place].contiguous()
            codes[1:, place] = torch.where(of_items > 0, torch.searchsorted(level, of_items), -1)
        super().__init__(codes, list(map(len, levels)))
        self.register_buffer("level_tokens", table)  # [V, most codes of a level]
        self._n_tokens = n_known + 1

    @property
    def n_tokens(self):
        return self._n_tokens

    def tokens_of(self, items):
        place = torch.arange(self.n_levels, device=items.device)
        return self.level_tokens[place, self.codes[items]]

    def token_of(self, level, code):
        return self.level_tokens[level, code]

    def level_rows(self, level):
        return self.level_tokens[level, : self.codebook_sizes[level]]


def scattered(codes, n_buckets):
    """Codes with the last one, which numbers the items that share an ID, replaced by a random bucket.

    Numbers that count from 0 would give nearly all items the same feature.

    Args:
        codes (Tensor): row 0 is padding, shape: [N + 1, V].
        n_buckets (int): buckets to draw from.

    Returns:
        Tensor: shape: [N + 1, V].

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

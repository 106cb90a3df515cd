"""EAGER's two streams: one decoder writes an item's semantic ID, one its behaviour ID, and both vote on items.

Reference:
    Ye Wang et al. "EAGER: Two-Stream Generative Recommender with Behavior-Semantic Collaboration", KDD 2024,
        arXiv:2406.14017.

A shared encoder reads the history item by item; each decoder writes the next item's codes in its own vocabulary, of the
text or of who takes what together. Ours where the paper has another: the behaviour codes are of the graph of items that
follow each other, where the paper has a trained two-tower model's; an item is read as the sum of the vectors of its
codes in both vocabularies; confidence is the likelihood itself, and an item's score the mean of its probabilities in
both streams, exact for candidates and for what the beams of either find. The paper's two auxiliary tasks, contrast of
whole codes and transfer between the streams, are left out.

Shapes: B users, L items of a history, P targets, H hidden_size.
"""

import math
from typing import NamedTuple

import torch
from torch.nn import functional

from recbole_unirep.model.backbone import with_keys
from recbole_unirep.model.generative import exact_where_found
from recbole_unirep.model.tiger import TIGER, Remembered
from recbole_unirep.runs.folder import BEHAVIOUR_FITTED
from recbole_unirep.semantic_ids.catalogue import GRAPH, graph
from recbole_unirep.semantic_ids.frozen_codes import FITTED, fitted_codes, has_kept, load_fitted, of_fitted
from recbole_unirep.tokenizer.base import shipped_defaults
from recbole_unirep.tokenizer.rqkmeans import RQKMeans


class EAGER(TIGER):
    """TIGER with a second decoder; its own codes are the semantic ones.

    Args:
        config (Config): ours; keys of properties/model/EAGER.yaml and TIGER.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part, which `build_for_rows` or `build` made.

    Raises:
        ValueError: an option that is not in its range, or stock RecBole's dataset.
    """

    loss_names = ("semantic", "behaviour")

    def __init__(self, config, dataset):
        if config["decoder_only"]:
            raise ValueError("decoder_only=True has one stack, EAGER has two decoders: leave it out")
        super().__init__(config, dataset)
        self.behaviour = Behaviour(with_keys(config, n_user_tokens=0), dataset)
        self.fitted_codes[BEHAVIOUR_FITTED] = self.behaviour.fitted_codes.pop(FITTED)

    @property
    def item_table_parameters(self):
        """Learned numbers addressed by code, of both streams."""
        return super().item_table_parameters + self.behaviour.item_table_parameters

    def losses(self, users, items, is_target, targets):
        x, is_read = self._history(users, items)
        encoded, streams = self.encoder(x, is_read), (self, self.behaviour)
        return tuple(stream.code_loss(stream.written_states(encoded, is_read, targets), targets) for stream in streams)

    def remember(self, users, items):
        x, is_read = self._history(users, items)
        encoded, streams = self.encoder(x, is_read), (self, self.behaviour)
        return BothRemembered(*(Remembered(stream.stack.remember(encoded, is_read), None) for stream in streams))

    def catalogue_scores(self, memory):
        found = _mean(super().catalogue_scores(memory.semantic), self.behaviour.catalogue_scores(memory.behaviour))
        if self.exact_ranking:
            return found
        return exact_where_found(found, lambda items: self.candidate_scores(memory, items))

    def candidate_scores(self, memory, items):
        behaviour = self.behaviour.candidate_scores(memory.behaviour, items)
        return _mean(super().candidate_scores(memory.semantic, items), behaviour)

    def _history(self, users, items):
        """Users' tokens and items, a vector each, shape: [B, 1 + L, H], and which of them are read."""
        vectors = sum(stream.tokens(stream.tokens_of(items)).sum(dim=-2) for stream in (self, self.behaviour))
        opening = self.tokens(self.user_token[users])[:, None]
        return torch.cat([opening, vectors], dim=1), functional.pad(items > 0, (1, 0), value=True)


class Behaviour(TIGER):
    """The decoder of the behaviour codes."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.encoder = None  # EAGER's reads for both

    def tokenized(self, config, dataset):
        fitted = (
            load_fitted(config, BEHAVIOUR_FITTED) if has_kept(config, BEHAVIOUR_FITTED) else self._fit(config, dataset)
        )
        return of_fitted(fitted, dataset, is_appended=True)

    def _fit(self, config, dataset):
        """RQKMeans over the graph of items."""
        vectors = graph(dataset, config["behaviour_dim"], config["seed"])  # [N, behaviour_dim]
        is_known = vectors.any(dim=1)
        sizes = {"n_levels": config["behaviour_levels"], "codebook_size": config["behaviour_codebook_size"]}
        if sizes["codebook_size"] > is_known.sum():
            raise ValueError(
                f"behaviour_codebook_size={sizes['codebook_size']} is more than the {int(is_known.sum())} items that "
                f"training holds: lower it"
            )
        settings = {**shipped_defaults("RQKMeans"), **sizes, "fit_seed": config["seed"]}
        tokenizer = RQKMeans(**settings).fit(vectors[is_known])
        record = {"vectors": [GRAPH]}
        return fitted_codes(tokenizer, vectors, is_known, dataset, "append", settings, record)


class BothRemembered(NamedTuple):
    """Histories that were read, as each decoder looks at them."""

    semantic: Remembered
    behaviour: Remembered


def _mean(one, other):
    """Logarithm of the mean of two probabilities."""
    return torch.logaddexp(one, other) - math.log(2)

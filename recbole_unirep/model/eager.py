"""EAGER's two streams: one decoder writes an item's semantic ID, one its behaviour ID, and both score items.

Reference:
    Ye Wang et al. "EAGER: Two-Stream Generative Recommender with Behavior-Semantic Collaboration", KDD 2024,
        arXiv:2406.14017.

A shared encoder reads the history item by item. Each decoder writes the next item's codes in its own vocabulary: codes
of the text, or codes of which items users interact with together. Differences from the paper:

- Behaviour codes come from the graph of items that follow each other, not from a trained two-tower model.
- An item is read as the sum of the vectors of its codes in both vocabularies.
- Confidence is the likelihood itself. An item's score is the mean of its probabilities in both streams, exact for
  candidates and for the items that the beams of either stream find.
- The two auxiliary tasks, contrast of whole codes and transfer between the streams, are left out.

Shapes: B users, L items of a history, P targets, H hidden_size.
"""

import math
from typing import NamedTuple

import torch
from torch.nn import functional

from recbole_unirep.model.autoregressive import AutoregressiveRecommender, t5_stacks, token_table
from recbole_unirep.model.generative import exact_where_found
from recbole_unirep.modules.id_transformer import IDTransformer, Remembered
from recbole_unirep.modules.written_ids import WrittenIDs
from recbole_unirep.runs.folder import BEHAVIOUR_FITTED
from recbole_unirep.semantic_ids.catalogue import GRAPH, graph
from recbole_unirep.semantic_ids.frozen_codes import fitted_codes, has_kept, load_fitted, of_fitted
from recbole_unirep.tokenizer.base import shipped_defaults
from recbole_unirep.tokenizer.rqkmeans import RQKMeans


class EAGER(AutoregressiveRecommender):
    """One encoder and two decoders: `transformer` writes semantic IDs, `behaviour` behaviour IDs.

    Args:
        config (Config): ours; keys of properties/model/EAGER.yaml and TIGER.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part, which `build_for_rows` or `build` made.

    Raises:
        ValueError: an option is out of its range, or the dataset is stock RecBole's.
    """

    base_settings = ("TIGER",)
    checkpoint_names = {**AutoregressiveRecommender.checkpoint_names, "behaviour.ids.": "behaviour."}
    loss_names = ("semantic", "behaviour")

    def __init__(self, config, dataset):
        if config["decoder_only"]:
            raise ValueError("decoder_only=True has one stack, EAGER needs two decoders: leave it out")
        super().__init__(config, dataset)
        codes = behaviour_codes(config, dataset)
        self._fitted[BEHAVIOUR_FITTED] = codes.fitted
        ids = WrittenIDs(codes.codes, codes.codebook_sizes)
        tokens = token_table(config, 1 + ids.n_tokens)
        _, stack = t5_stacks(
            config
        )  # the encoder is unused, but drawing it keeps the weights that a seed has always had
        self.behaviour = IDTransformer(ids, tokens, None, stack)

    @property
    def streams(self):
        """The semantic and the behaviour stream, IDTransformer each."""
        return self.transformer, self.behaviour

    @property
    def item_table_parameters(self):
        """Learned numbers that are looked up by code, of both streams, int."""
        return sum(stream.n_code_parameters for stream in self.streams)

    def losses(self, users, items, is_target, targets):
        encoded, is_read = self._encoded(users, items)
        return tuple(
            stream.code_loss(stream.written_states(encoded, is_read, targets), targets) for stream in self.streams
        )

    def remember(self, users, items):
        history = self._encoded(users, items)
        return BothRemembered(*(stream.remember_encoded(*history) for stream in self.streams))

    def catalogue_scores(self, memory):
        found = _mean(*(self.scores_by(stream, own) for stream, own in zip(self.streams, memory)))
        if self.exact_ranking:
            return found
        return exact_where_found(found, lambda items: self.candidate_scores(memory, items))

    def candidate_scores(self, memory, items):
        return _mean(*(stream.candidate_scores(own, items) for stream, own in zip(self.streams, memory)))

    def embedded(self, users, items):
        """Histories as the encoder reads them: a vector of the user, then one per item.

        Returns:
            tuple[Tensor, Tensor]: vectors, shape: [B, 1 + L, H], and False where they pad, shape: [B, 1 + L].
        """
        vectors = sum(stream.tokens(stream.ids.tokens_of(items)).sum(dim=-2) for stream in self.streams)
        opening = self.transformer.tokens(self.user_token[users])[:, None]
        return torch.cat([opening, vectors], dim=1), functional.pad(items > 0, (1, 0), value=True)

    def _encoded(self, users, items):
        """Output of the encoder, shape: [B, 1 + L, H], and False where the history pads, shape: [B, 1 + L]."""
        x, is_read = self.embedded(users, items)
        return self.transformer.encoder(x, is_read), is_read

    def _load_from_state_dict(self, state_dict, prefix, *args):
        # Older checkpoints hold user tokens for the behaviour decoder, which reads no histories.
        state_dict.pop(f"{prefix}behaviour.user_token", None)
        super()._load_from_state_dict(state_dict, prefix, *args)


def behaviour_codes(config, dataset):
    """Behaviour codes of the items, as kept by the run or from a new fit.

    Args:
        config (Config): ours; see `frozen_codes.of_run`.
        dataset (recbole Dataset): the training part.

    Returns:
        FrozenCodes: an additional level resolves collisions.
    """
    fitted = (
        load_fitted(config, BEHAVIOUR_FITTED) if has_kept(config, BEHAVIOUR_FITTED) else fit_behaviour(config, dataset)
    )
    return of_fitted(fitted, dataset, is_appended=True)


def fit_behaviour(config, dataset):
    """FittedCodes of RQKMeans over the graph of items that follow each other; arguments as in `behaviour_codes`.

    Raises:
        ValueError: there are fewer items in training than clusters, or the dataset is stock RecBole's.
    """
    vectors = graph(dataset, config["behaviour_dim"], config["seed"])  # [N, behaviour_dim]
    is_known = vectors.any(dim=1)
    sizes = {"n_levels": config["behaviour_levels"], "codebook_size": config["behaviour_codebook_size"]}
    if sizes["codebook_size"] > is_known.sum():
        raise ValueError(
            f"behaviour_codebook_size={sizes['codebook_size']} is more than the {int(is_known.sum())} items in "
            f"training: lower it"
        )
    settings = {**shipped_defaults("RQKMeans"), **sizes, "fit_seed": config["seed"]}
    tokenizer = RQKMeans(**settings).fit(vectors[is_known])
    record = {"vectors": [GRAPH]}
    return fitted_codes(tokenizer, vectors, is_known, dataset, "append", settings, record)


class BothRemembered(NamedTuple):
    """Histories that have been read, for each decoder."""

    semantic: Remembered
    behaviour: Remembered


def _mean(one, other):
    """Logarithm of the mean of two probabilities, given their logarithms."""
    return torch.logaddexp(one, other) - math.log(2)

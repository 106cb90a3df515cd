"""recbole_unirep.model.autoregressive: base of models that hold an IDTransformer and write IDs code by code.

Shapes: B users, L items of a history, P targets, V levels, S tokens, H hidden_size.
"""

from zlib import crc32

import torch
from torch import nn

from recbole_unirep.model.generative import GenerativeRecommender
from recbole_unirep.modules.id_transformer import IDTransformer
from recbole_unirep.modules.t5 import BlockSizes, T5Stack


class AutoregressiveRecommender(GenerativeRecommender):
    """Base of TIGER and of the models that train or rank the same network in another way.

    Such a model sets `base_settings = ("TIGER",)`, so that its yaml holds only the keys that differ from TIGER.yaml.

    Args:
        config (Config): ours; keys of properties/model/TIGER.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part.

    Attributes:
        transformer (IDTransformer): reads histories, writes IDs.

    Raises:
        ValueError: an option is out of its range.
    """

    checkpoint_names = {"transformer.ids.": "", "transformer.": ""}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.scores_at_once = config["scores_at_once"]
        ids = self.make_ids(config, dataset)
        n_known, n_user_tokens = 1 + ids.n_tokens, config["n_user_tokens"]
        check_transformer(config)
        self.register_buffer("user_token", user_tokens(dataset, n_known, n_user_tokens))
        tokens = token_table(config, n_known + n_user_tokens)
        self.transformer = IDTransformer(ids, tokens, *t5_stacks(config))

    @property
    def ids(self):
        """The IDs that the transformer writes."""
        return self.transformer.ids

    @property
    def item_table_parameters(self):
        return self.transformer.n_code_parameters

    @property
    def code_vectors(self):
        return [self.transformer.code_vectors(level) for level in range(self.ids.n_levels)]

    def embedded(self, users, items):
        """Histories as the network reads them: a token of the user, then the tokens of the items' IDs.

        Args:
            users (Tensor): user ids, shape: [B].
            items (Tensor): 0 pads on the right, shape: [B, L].

        Returns:
            tuple[Tensor, Tensor]: vectors, shape: [B, S, H], and False where they pad, shape: [B, S].
        """
        return self.transformer.embedded(self.user_token[users], items)

    def target_states(self, users, items, is_target, targets):
        """States that predict each code of the targets, shape: [P, V, H]; arguments as `id_loss`."""
        inputs = self.transformer.row_inputs(items, is_target, targets)
        return self.transformer.target_states(*self.embedded(users, inputs), is_target, targets)

    def id_loss(self, users, items, is_target, targets):
        return self.transformer.code_loss(self.target_states(users, items, is_target, targets), targets)

    def remember(self, users, items):
        return self.transformer.remember(*self.embedded(users, items))

    def catalogue_scores(self, memory):
        return self.scores_by(self.transformer, memory)

    def scores_by(self, transformer, memory):
        """Scores of the catalogue by one transformer: of its beams, or of every ID with `exact_ranking`."""
        if self.exact_ranking:
            return transformer.exact_scores(memory, self.scores_at_once)
        return transformer.beam_scores(memory, self.num_beams)

    def candidate_scores(self, memory, items):
        return self.transformer.candidate_scores(memory, items)


def check_transformer(config):
    """Raises ValueError if keys of the network exclude each other."""
    if config["training_rows"] == "user" and not config["decoder_only"]:
        raise ValueError(
            "training_rows=user has several targets in a row, and the encoder would see the later ones: use "
            "training_rows=target, or decoder_only=True"
        )
    n_buckets, max_distance = config["distance_buckets"], config["max_distance"]
    if n_buckets < 4 or max_distance <= n_buckets // 2:
        raise ValueError(
            f"distance_buckets={n_buckets} and max_distance={max_distance} do not go together: give at least 4 "
            f"buckets, and a max_distance above half their number"
        )


def token_table(config, n_tokens):
    """Embeddings of n_tokens tokens, nn.Embedding with weights of shape [n_tokens, H]."""
    tokens = nn.Embedding(n_tokens, config["hidden_size"])
    nn.init.normal_(tokens.weight, std=config["token_init_std"])
    return tokens


def t5_stacks(config):
    """The stack that reads histories, None with `decoder_only`, and the one that writes IDs: two T5Stacks."""
    decoder_only = config["decoder_only"]
    shared = {
        "n_layers": config["n_layers"],
        "sizes": BlockSizes(config["hidden_size"], config["n_heads"], config["head_size"], config["inner_size"]),
        "dropout": config["dropout_prob"],
        "n_buckets": config["distance_buckets"],
        "max_distance": config["max_distance"],
    }
    encoder = None if decoder_only else T5Stack(is_causal=False, reads_memory=False, **shared)
    return encoder, T5Stack(is_causal=True, reads_memory=not decoder_only, **shared)


def user_tokens(dataset, first, n_tokens):
    """Token of each user, by a hash of the user's name; many users may share a token, to keep their number small.

    Args:
        dataset (recbole Dataset): any part.
        first (int): the first of these tokens.
        n_tokens (int): number of different tokens; with 0 all users have the padding token 0.

    Returns:
        Tensor: int64, shape: [n_users].
    """
    names = map(str, dataset.field2id_token[dataset.uid_field])
    return torch.tensor([first + crc32(name.encode()) % n_tokens if n_tokens else 0 for name in names])

r"""TIGER: a transformer that reads a history's semantic IDs and writes the next one.

Reference:
    Shashank Rajput et al. "Recommender Systems with Generative Retrieval" (TIGER), NeurIPS 2023, arXiv:2305.05065.

The paper's is T5: an encoder over the history, a decoder over the next ID; it takes one target a row. With
`decoder_only` one causal stack reads the history and goes on with the ID, so that a row of a user trains all of its
targets in one pass.

The softmax is over the codes of a level, not over all tokens: which level comes next is known.

Shapes: B users, L items of a history, P targets, V levels, S tokens, H hidden_size.
"""

from typing import NamedTuple
from zlib import crc32

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.model.generative import AutoregressiveRecommender
from recbole_unirep.modules.t5 import BlockSizes, Memory, T5Stack
from recbole_unirep.semantic_ids.ids import first_tokens


class TIGER(AutoregressiveRecommender):
    """Generative retrieval by a T5 over semantic IDs.

    Args:
        config (Config): ours; keys of properties/model/TIGER.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: an option that is not in its range.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.decoder_only = config["decoder_only"]
        if config["training_rows"] == "user" and not self.decoder_only:
            raise ValueError(
                "training_rows=user has several targets in a row, TIGER's encoder would read the later ones: use "
                "training_rows=target, or decoder_only=True"
            )
        n_buckets, max_distance = config["distance_buckets"], config["max_distance"]
        if n_buckets < 4 or max_distance <= n_buckets // 2:
            raise ValueError(
                f"distance_buckets={n_buckets} and max_distance={max_distance} do not go together: give at least 4 "
                f"buckets, and a distance above half their number"
            )
        size = config["hidden_size"]
        self.first_tokens = first_tokens(self.codebook_sizes)
        n_known, n_user_tokens = 1 + self.n_id_tokens, config["n_user_tokens"]
        self.register_buffer("user_token", user_tokens(dataset, n_known, n_user_tokens))
        self.tokens = nn.Embedding(n_known + n_user_tokens, size)
        nn.init.normal_(self.tokens.weight, std=config["token_init_std"])
        shared = {
            "n_layers": config["n_layers"],
            "sizes": BlockSizes(size, config["n_heads"], config["head_size"], config["inner_size"]),
            "dropout": config["dropout_prob"],
            "n_buckets": config["distance_buckets"],
            "max_distance": config["max_distance"],
        }
        self.encoder = None
        if not self.decoder_only:
            self.encoder = T5Stack(is_causal=False, reads_memory=False, **shared)
        self.stack = T5Stack(is_causal=True, reads_memory=not self.decoder_only, **shared)

    @property
    def n_id_tokens(self):
        """Tokens that items are read and written by."""
        return sum(self.codebook_sizes)

    def id_loss(self, users, items, is_target, targets):
        return self.code_loss(self._states_of_row(users, items, is_target, targets), targets)

    def code_loss(self, states, targets):
        """Negative log-likelihood of the targets' codes [P] by the states before them [P, V, H]."""
        codes, is_past_end = self.codes[targets], self.is_past_end[targets]
        loss = 0.0
        for level in range(self.n_levels):
            of_code = functional.cross_entropy(self.logits(states[:, level], level), codes[:, level], reduction="none")
            loss = loss + of_code.masked_fill(is_past_end[:, level], 0).mean()
        return loss / self.n_levels

    def remember(self, users, items):
        x, is_read = self._history(users, items)
        if not self.decoder_only:
            return Remembered(self.stack.remember(self.encoder(x, is_read), is_read), None)
        states, memory = self.stack.read_history(x, is_read)
        return Remembered(memory, states[torch.arange(len(x), device=x.device), memory.length - 1])

    def decoder(self, memory):
        return _Decoder(self, *memory)

    def logits(self, states, level):
        """Of a level's codes, by the tokens' own vectors as in T5, shape: [..., codebook_sizes[level]]."""
        return (states * self.tokens.embedding_dim**-0.5) @ self.vectors_of_level(level).T

    def vectors_of_level(self, level):
        """Of its codes' tokens, shape: [codebook_sizes[level], H]."""
        first = self.first_tokens[level]
        return self.tokens.weight[first : first + self.codebook_sizes[level]]

    def token_of(self, level, code):
        """Token of codes [...] of a level, shape: [...]."""
        return code + self.first_tokens[level]

    def _states_of_row(self, users, items, is_target, targets):
        """Decoder states that predict each code of the targets, shape: [P, V, H]."""
        if not self.decoder_only:
            x, is_read = self._history(users, items)
            return self.written_states(self.encoder(x, is_read), is_read, targets)
        following = torch.zeros_like(items).masked_scatter_(is_target, targets)
        whole = functional.pad(items, (0, 1))
        whole[:, 1:] = torch.where(is_target, following, whole[:, 1:])  # the last target is no input
        x, is_read = self._history(users, whole)
        states = self.stack(x[:, :-1], is_read[:, :-1])  # [B, (L + 1) * V, H]
        return states.unflatten(1, (-1, self.n_levels))[:, 1:][is_target]

    def written_states(self, encoded, is_read, targets):
        """Decoder states that predict each code of the targets, one a history that the encoder has read.

        Args:
            encoded (Tensor): the encoder's states, shape: [P, S, H].
            is_read (Tensor): False where tokens pad, shape: [P, S], bool.
            targets (Tensor): item ids, shape: [P].

        Returns:
            Tensor: shape: [P, V, H].
        """
        written = functional.pad(self.tokens_of(targets)[:, :-1], (1, 0))  # token 0 opens, as in T5
        memory = self.stack.remember(encoded, is_read)
        return self.stack(self.tokens(written), torch.ones_like(written, dtype=torch.bool), memory)

    def _history(self, users, items):
        """Embedded tokens of users and their items, shape: [B, 1 + L * V, H], and which of them are read."""
        tokens = torch.cat([self.user_token[users][:, None], self.tokens_of(items).flatten(1)], dim=1)
        is_read = functional.pad((items > 0).repeat_interleave(self.n_levels, dim=1), (1, 0), value=True)
        return self.tokens(torch.where(is_read, tokens, 0)), is_read

    def tokens_of(self, items):
        """Tokens of items' IDs, shape: [..., V]."""
        return self.codes[items] + self.first_token


class Remembered(NamedTuple):
    """Histories that were read.

    Attributes:
        memory (Memory): keys and values.
        last (Tensor or None): state at the history's end, where one stack reads and writes, shape: [B, H].
    """

    memory: Memory
    last: Tensor


class _Decoder:
    """Prefixes of the next ID, see `generation.beam_search.Decoder`."""

    def __init__(self, model, memory, last):
        self.model, self.memory, self.last = model, memory, last
        keys = memory.layers[0].keys  # [B, A, S, E]
        self.n_kept = 2 * len(memory.layers) * keys.shape[1] * keys.shape[3] * model.n_levels

    def __len__(self):
        return len(self.memory.length)

    def start(self):
        self.level, self.path = 0, None
        if self.last is not None:
            return self.model.logits(self.last[:, None], 0)
        return self._read(torch.zeros(len(self), 1, dtype=torch.int64, device=self.memory.length.device), None)

    def step(self, parent, code):
        token = self.model.token_of(self.level, code)
        self.level += 1
        return self._read(token, parent)

    def _read(self, token, parent):
        state, self.path = self.model.stack.step(self.model.tokens(token), self.memory, self.path, parent)
        return self.model.logits(state, self.level)


def user_tokens(dataset, first, n_tokens):
    """A token for each user by a hash of the user's name: many share one, so that their number stays small.

    Args:
        dataset (recbole Dataset): any part.
        first (int): the first of these tokens.
        n_tokens (int): different tokens; with 0 all users have token 0, the padding's.

    Returns:
        Tensor: int64, shape: [n_users].
    """
    names = map(str, dataset.field2id_token[dataset.uid_field])
    return torch.tensor([first + crc32(name.encode()) % n_tokens if n_tokens else 0 for name in names])

"""recbole_unirep.modules.id_transformer: T5 over the tokens of semantic IDs, which reads histories and writes IDs.

With an encoder, one stack reads the history and a second one writes the ID (T5, one target per row). Without, a single
causal stack reads the history and continues with the ID, and one row trains all targets of a user.

Each level has a softmax over its codes only, because the next level is known.

Shapes: B users, L items of a history, P targets, V levels, S tokens, H hidden_size.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.generation.beam_search import beam_search
from recbole_unirep.generation.likelihood import candidate_log_likelihoods, catalogue_log_likelihoods
from recbole_unirep.modules.t5 import Memory, T5Stack
from recbole_unirep.modules.written_ids import WrittenIDs


class Remembered(NamedTuple):
    """Histories that have been read.

    Attributes:
        memory (Memory): keys and values.
        last (Tensor or None): state at the end of each history, where one stack reads and writes, shape: [B, H].
    """

    memory: Memory
    last: Tensor | None


class IDTransformer(nn.Module):
    """Token vectors, an optional encoder, and the stack that writes the codes of one set of IDs.

    Args:
        ids (WrittenIDs): the IDs to write.
        tokens (nn.Embedding): a vector per token; row 0 opens an ID and pads; other tokens can follow those of
            the IDs.
        encoder (T5Stack or None): reads histories; None if `stack` reads them, or if another part's encoder does.
        stack (T5Stack): causal; reads the encoder's output if there is one.
    """

    def __init__(self, ids: WrittenIDs, tokens: nn.Embedding, encoder: T5Stack | None, stack: T5Stack):
        super().__init__()
        self.ids, self.tokens, self.encoder, self.stack = ids, tokens, encoder, stack

    @property
    def n_code_parameters(self) -> int:
        """Learned numbers that are looked up by code."""
        return sum(self.ids.codebook_sizes) * self.tokens.embedding_dim

    def embedded(self, opening: Tensor, items: Tensor) -> tuple:
        """Histories as embedded tokens: an opening token, then the IDs of the items.

        Args:
            opening (Tensor): tokens, int64, shape: [B].
            items (Tensor): 0 pads on the right, int64, shape: [B, L].

        Returns:
            tuple[Tensor, Tensor]: vectors, shape: [B, 1 + L * V, H], and False where they pad, shape: [B, 1 + L * V].
        """
        tokens = torch.cat([opening[:, None], self.ids.tokens_of(items).flatten(1)], dim=1)
        is_read = functional.pad((items > 0).repeat_interleave(self.ids.n_levels, dim=1), (1, 0), value=True)
        return self.tokens(torch.where(is_read, tokens, 0)), is_read

    def row_inputs(self, items: Tensor, is_target: Tensor, targets: Tensor) -> Tensor:
        """Items to embed for `target_states`: the inputs of a row, and without an encoder its last target too.

        Args:
            items (Tensor): histories, 0 pads on the right, int64, shape: [B, L].
            is_target (Tensor): positions that are followed by a target, shape: [B, L], bool.
            targets (Tensor): item ids in the order of `is_target`, int64, shape: [P].

        Returns:
            Tensor: shape: [B, L] or [B, L + 1].
        """
        if self.encoder is not None:
            return items
        following = torch.zeros_like(items).masked_scatter_(is_target, targets)
        whole = functional.pad(items, (0, 1))
        whole[:, 1:] = torch.where(is_target, following, whole[:, 1:])  # the last target is no input
        return whole

    def target_states(self, x: Tensor, is_read: Tensor, is_target: Tensor, targets: Tensor) -> Tensor:
        """States that predict each code of the targets.

        Args:
            x, is_read (Tensor): embedded `row_inputs`, see `embedded`.
            is_target, targets (Tensor): see `row_inputs`.

        Returns:
            Tensor: shape: [P, V, H].
        """
        if self.encoder is not None:
            return self.written_states(self.encoder(x, is_read), is_read, targets)
        states = self.stack(x[:, :-1], is_read[:, :-1])  # [B, (L + 1) * V, H]
        return states.unflatten(1, (-1, self.ids.n_levels))[:, 1:][is_target]

    def written_states(self, encoded: Tensor, is_read: Tensor, targets: Tensor) -> Tensor:
        """States that predict each code of the targets, one target per encoded history.

        Args:
            encoded (Tensor): output of an encoder, shape: [P, S, H].
            is_read (Tensor): False where tokens pad, shape: [P, S], bool.
            targets (Tensor): item ids, int64, shape: [P].

        Returns:
            Tensor: shape: [P, V, H].
        """
        written = functional.pad(self.ids.tokens_of(targets)[:, :-1], (1, 0))  # token 0 opens, as in T5
        memory = self.stack.remember(encoded, is_read)
        return self.stack(self.tokens(written), torch.ones_like(written, dtype=torch.bool), memory)

    def code_loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood of the codes of targets [P], mean over levels and targets.

        Args:
            states (Tensor): that predict them, shape: [P, V, H].
            targets (Tensor): item ids, int64, shape: [P].

        Returns:
            Tensor: shape: [].
        """
        codes, is_past_end = self.ids.codes[targets], self.ids.is_past_end[targets]
        loss = 0.0
        for level in range(self.ids.n_levels):
            of_code = functional.cross_entropy(self.logits(states[:, level], level), codes[:, level], reduction="none")
            loss = loss + of_code.masked_fill(is_past_end[:, level], 0).mean()
        return loss / self.ids.n_levels

    def remember(self, x: Tensor, is_read: Tensor) -> Remembered:
        """Reads embedded histories, arguments as `embedded` returns them."""
        if self.encoder is not None:
            return self.remember_encoded(self.encoder(x, is_read), is_read)
        states, memory = self.stack.read_history(x, is_read)
        return Remembered(memory, states[torch.arange(len(x), device=x.device), memory.length - 1])

    def remember_encoded(self, encoded: Tensor, is_read: Tensor) -> Remembered:
        """Keys and values of histories that an encoder has read [B, S, H]."""
        return Remembered(self.stack.remember(encoded, is_read), None)

    def first_states(self, remembered: Remembered) -> Tensor:
        """States that predict the first code, shape: [B, H]."""
        if remembered.last is not None:
            return remembered.last
        return self.stack.step(self.tokens(opening_tokens(remembered.memory)), remembered.memory, None, None)[0][:, 0]

    def logits(self, states: Tensor, level: int) -> Tensor:
        """Logits of a level's codes, by the tokens' own vectors as in T5, shape: [..., codebook_sizes[level]]."""
        return (states * self.tokens.embedding_dim**-0.5) @ self.code_vectors(level).T

    def code_vectors(self, level: int) -> Tensor:
        """Vectors of the codes of one level, shape: [codebook_sizes[level], H]."""
        return self.tokens.weight[self.ids.level_rows(level)]

    def decoder(self, remembered: Remembered) -> "IDDecoder":
        """A `generation.beam_search.Decoder` of the remembered users."""
        return IDDecoder(self, *remembered)

    def beam_scores(self, remembered: Remembered, n_beams: int) -> Tensor:
        """Log-likelihood of the IDs that a beam search finds, -inf for other items, shape: [B, 1 + ranked rows]."""
        trie = self.ids.trie
        leaf, log_probability = beam_search(self.decoder(remembered), trie, n_beams)
        of_leaves = log_probability.new_full((len(leaf), trie.n_leaves), -torch.inf)
        return self.ids.item_scores(of_leaves.scatter_reduce_(1, leaf, log_probability, "amax"))

    def exact_scores(self, remembered: Remembered, scores_at_once: int) -> Tensor:
        """Log-likelihood of every ID, each prefix read once, shape: [B, 1 + ranked rows].

        Args:
            remembered (Remembered): of B users.
            scores_at_once (int): approximate maximum of numbers held in memory.
        """
        decoder = self.decoder(remembered)
        n_numbers = len(decoder) * max(*self.ids.codebook_sizes, decoder.n_kept)
        n_at_once = max(1, scores_at_once // n_numbers)
        return self.ids.item_scores(catalogue_log_likelihoods(decoder, self.ids.trie, n_at_once))

    def candidate_scores(self, remembered: Remembered, items: Tensor) -> Tensor:
        """Log-likelihood of the IDs of each user's candidates [B, C], shape: [B, C]."""
        return candidate_log_likelihoods(self.decoder(remembered), self.ids.codes[items], self.ids.is_past_end[items])


class IDDecoder:
    """Prefixes of the next ID, see `generation.beam_search.Decoder`.

    Args:
        transformer (IDTransformer): writes them.
        memory (Memory): of B users.
        last (Tensor or None): see `Remembered`.
    """

    def __init__(self, transformer, memory, last):
        self.transformer, self.memory, self.last = transformer, memory, last
        keys = memory.layers[0].keys  # [B, A, S, E]
        self.n_kept = 2 * len(memory.layers) * keys.shape[1] * keys.shape[3] * transformer.ids.n_levels

    def __len__(self):
        return len(self.memory.length)

    def start(self):
        self.level, self.path = 0, None
        if self.last is not None:
            return self.transformer.logits(self.last[:, None], 0)
        return self._read(opening_tokens(self.memory), None)

    def step(self, parent, code):
        token = self.transformer.ids.token_of(self.level, code)
        self.level += 1
        return self._read(token, parent)

    def _read(self, token, parent):
        vectors = self.transformer.tokens(token)
        state, self.path = self.transformer.stack.step(vectors, self.memory, self.path, parent)
        return self.transformer.logits(state, self.level)


def opening_tokens(memory):
    """Token 0, which opens every ID, once per user, int64, shape: [B, 1]."""
    return torch.zeros_like(memory.length)[:, None]

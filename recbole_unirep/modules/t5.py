"""recbole_unirep.modules.t5: T5's stacks, trained over whole sequences and read out prefix by prefix.

Reference:
    Colin Raffel et al. "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (T5), JMLR
        2020, arXiv:1910.10683: no biases, scale-only normalization before each part, products that are not scaled, one
        table of relative positions for all layers.

`step` adds one token to each of n prefixes of a user. The prefixes share what was read before them (the encoder's
output, or the history in a decoder-only stack): its keys and values are kept once per user, not once per prefix.

Shapes: B users, S tokens, H hidden_size, A heads, E head_size, n prefixes of each user, T their length.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.modules.dropout import Dropout, attention

EPSILON = 1e-6


class KeysAndValues(NamedTuple):
    """Keys and values of one attention layer, shape: [B, A, S, E] each."""

    keys: Tensor
    values: Tensor


class Memory(NamedTuple):
    """State that all prefixes of a user share.

    Attributes:
        layers (list of KeysAndValues): one per layer.
        is_read (Tensor): False where tokens pad, shape: [B, S], bool.
        length (Tensor): number of tokens per user, shape: [B], int64.
    """

    layers: list
    is_read: Tensor
    length: Tensor


class BlockSizes(NamedTuple):
    """Sizes of a block.

    Attributes:
        hidden_size (int): H.
        n_heads (int): A.
        head_size (int): E, size of a head; A * E need not be H.
        inner_size (int): of the feed-forward part.
    """

    hidden_size: int
    n_heads: int
    head_size: int
    inner_size: int


class T5Stack(nn.Module):
    """Encoder, decoder over an encoder's output, or decoder without encoder.

    Args:
        n_layers (int): blocks.
        sizes (BlockSizes): of each block.
        dropout (float): of each part's output, of attention and inside the feed-forward part.
        is_causal (bool): whether a token attends only to the tokens before it.
        reads_memory (bool): whether each block also attends to another stack's output.
        n_buckets (int): number of relative positions that are distinguished.
        max_distance (int): larger distances share a bucket.
    """

    def __init__(
        self,
        *,
        n_layers: int,
        sizes: BlockSizes,
        dropout: float,
        is_causal: bool,
        reads_memory: bool,
        n_buckets: int,
        max_distance: int,
    ):
        super().__init__()
        self.is_causal, self.n_buckets, self.max_distance = is_causal, n_buckets, max_distance
        self.distance_bias = nn.Embedding(n_buckets, sizes.n_heads)
        nn.init.normal_(self.distance_bias.weight, std=sizes.hidden_size**-0.5)
        self.blocks = nn.ModuleList(_Block(*sizes, dropout, reads_memory) for _ in range(n_layers))
        self.norm = nn.RMSNorm(sizes.hidden_size, eps=EPSILON)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, is_read: Tensor, memory: Memory | None = None) -> Tensor:
        """Reads whole sequences.

        Args:
            x (Tensor): embedded tokens, shape: [B, S, H].
            is_read (Tensor): False where tokens pad, shape: [B, S], bool.
            memory (Memory or None): the other stack's output, by `remember`.

        Returns:
            Tensor: shape: [B, S, H].
        """
        return self._read(x, is_read, memory)[0]

    def read_history(self, x: Tensor, is_read: Tensor) -> tuple:
        """Reads histories and keeps what later prefixes attend to; for a decoder without encoder.

        Returns:
            tuple[Tensor, Memory]: states, shape: [B, S, H], and the kept keys and values.
        """
        states, layers = self._read(x, is_read, None)
        return states, Memory(layers, is_read, is_read.sum(dim=1))

    def remember(self, states: Tensor, is_read: Tensor) -> Memory:
        """Keys and values of another stack's output [B, S, H], for a stack with `reads_memory`."""
        layers = [block.memory_attention.keys_and_values(states) for block in self.blocks]
        return Memory(layers, is_read, is_read.sum(dim=1))

    def _read(self, x, is_read, memory):
        n_tokens = x.shape[1]
        place = torch.arange(n_tokens, device=x.device)
        bias = self._bias(place - place[:, None]) + _hidden(is_read)[:, None, None]  # [B, A, S, S]
        if self.is_causal:
            bias = bias.masked_fill(place > place[:, None], -torch.inf)
        memory_bias = None if memory is None else _hidden(memory.is_read)[:, None, None]  # [B, 1, 1, S']
        x, layers = self.dropout(x), []
        for place_of_block, block in enumerate(self.blocks):
            other = None if memory is None else memory.layers[place_of_block]
            x, own = block(x, bias, other, memory_bias)
            layers.append(own)
        return self.dropout(self.norm(x)), layers

    def step(self, x: Tensor, memory: Memory, path: list | None, parent: Tensor | None) -> tuple:
        """Appends a token to each prefix.

        Args:
            x (Tensor): embedded tokens, shape: [B, n, H].
            memory (Memory): of the history.
            path (list or None): keys and values that the last step returned; None at the first token.
            parent (Tensor or None): the prefix of that step that each prefix extends, int64, shape: [B, n].

        Returns:
            tuple[Tensor, list]: states, shape: [B, n, H], and the prefixes' keys and values per layer, shape:
            [B, n, T, A, E] each.
        """
        length = 0 if path is None else path[0].keys.shape[2]
        own_bias = self._bias(torch.arange(-length, 1, device=x.device))  # [A, T]
        is_own_history = not hasattr(self.blocks[0], "memory_attention")
        past_bias = _hidden(memory.is_read)[:, None]  # [B, 1, S]
        if is_own_history:
            place = torch.arange(memory.is_read.shape[1], device=x.device)
            distance = place - (memory.length + length)[:, None]  # [B, S]
            past_bias = past_bias + self._bias(distance).transpose(0, 1)  # [B, A, S]
        longer = []
        for block, shared, layer in zip(self.blocks, memory.layers, path or [None] * len(self.blocks)):
            before = layer and KeysAndValues(*(_of_parents(part, parent) for part in layer))
            x, own = block.step(x, before, own_bias, shared, past_bias)
            longer.append(own)
        return self.norm(x), longer

    def _bias(self, distance):
        """Attention bias of tokens at these distances [...], key minus query, shape: [A, ...]."""
        return self.distance_bias(self._bucket(distance)).movedim(-1, 0)

    def _bucket(self, distance):
        """T5's buckets: one per small distance; larger distances share buckets of exponentially growing width."""
        n_buckets, offset = self.n_buckets, 0
        if self.is_causal:
            distance = (-distance).clamp(min=0)
        else:
            n_buckets //= 2
            offset = (distance > 0) * n_buckets
            distance = distance.abs()
        n_exact = n_buckets // 2
        share = (distance.clamp(min=1) / n_exact).log() / math.log(self.max_distance / n_exact)
        far = n_exact + (share * (n_buckets - n_exact)).long()
        return offset + torch.where(distance < n_exact, distance, far.clamp(max=n_buckets - 1))


class _Block(nn.Module):
    """Self-attention, attention to memory if there is one, and a feed-forward part, each with a residual connection."""

    def __init__(self, hidden_size, n_heads, head_size, inner_size, dropout, reads_memory):
        super().__init__()
        self.attention = _Attention(hidden_size, n_heads, head_size, dropout)
        self.norm = nn.RMSNorm(hidden_size, eps=EPSILON)
        if reads_memory:
            self.memory_attention = _Attention(hidden_size, n_heads, head_size, dropout)
            self.memory_norm = nn.RMSNorm(hidden_size, eps=EPSILON)
        self.feed_forward_norm = nn.RMSNorm(hidden_size, eps=EPSILON)
        self.inner = nn.Linear(hidden_size, inner_size, bias=False)
        self.outer = nn.Linear(inner_size, hidden_size, bias=False)
        nn.init.normal_(self.inner.weight, std=hidden_size**-0.5)
        nn.init.normal_(self.outer.weight, std=inner_size**-0.5)
        self.dropout = Dropout(dropout)

    def forward(self, x, bias, memory, memory_bias):
        normed = self.norm(x)
        own = self.attention.keys_and_values(normed)
        x = x + self.dropout(self.attention(normed, own, bias))
        if memory is not None:
            x = x + self.dropout(self.memory_attention(self.memory_norm(x), memory, memory_bias))
        return x + self._feed_forward(x), own

    def step(self, x, before, own_bias, shared, past_bias):
        normed = self.norm(x)
        own = self.attention.with_own(normed, before)
        if hasattr(self, "memory_attention"):
            x = x + self.attention.over_prefixes(normed, own, own_bias)
            x = x + self.memory_attention(self.memory_norm(x), shared, past_bias[:, None])
        else:
            x = x + self.attention.over_prefixes(normed, own, own_bias, shared, past_bias)
        return x + self._feed_forward(x), own

    def _feed_forward(self, x):
        inner = functional.relu(self.inner(self.feed_forward_norm(x)))
        return self.dropout(self.outer(self.dropout(inner)))


class _Attention(nn.Module):
    def __init__(self, hidden_size, n_heads, head_size, dropout):
        super().__init__()
        self.shape, self.dropout = (n_heads, head_size), dropout
        width = n_heads * head_size
        self.query, self.key, self.value = (nn.Linear(hidden_size, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, hidden_size, bias=False)
        nn.init.normal_(self.query.weight, std=(hidden_size * head_size) ** -0.5)
        nn.init.normal_(self.key.weight, std=hidden_size**-0.5)
        nn.init.normal_(self.value.weight, std=hidden_size**-0.5)
        nn.init.normal_(self.output.weight, std=width**-0.5)

    def keys_and_values(self, x):
        """Keys and values of tokens [B, S, H]."""
        return KeysAndValues(*(part(x).unflatten(-1, self.shape).transpose(1, 2) for part in (self.key, self.value)))

    def forward(self, x, memory, bias):
        """Attention of tokens [B, S, H] to keys and values, shape: [B, S, H]; bias [B, A or 1, S or 1, S']."""
        query = self.query(x).unflatten(-1, self.shape).transpose(1, 2)
        found = attention(query, *memory, bias.to(query.dtype), self.dropout if self.training else 0.0)
        return self.output(found.transpose(1, 2).flatten(-2))

    def with_own(self, x, before):
        """Keys and values of prefixes, extended by those of their new tokens [B, n, H], shape: [B, n, T, A, E] each."""
        own = [part(x).unflatten(-1, self.shape)[:, :, None] for part in (self.key, self.value)]
        return KeysAndValues(*own) if before is None else KeysAndValues(*map(_joined, before, own))

    def over_prefixes(self, x, own, own_bias, shared=None, past_bias=None):
        """Attention of new tokens [B, n, H] to their prefixes and, if given, to the history that these share."""
        query = self.query(x).unflatten(-1, self.shape)  # [B, n, A, E]
        # Prefixes have few tokens: elementwise products take a seventh of the time of many small matmuls.
        products = (query[:, :, None] * own.keys).sum(dim=-1) + own_bias.T  # [B, n, T, A]
        if shared is None:
            found = (products.softmax(dim=2)[..., None] * own.values).sum(dim=2)
        else:
            past = query.transpose(1, 2) @ shared.keys.transpose(-1, -2) + past_bias[:, :, None]  # [B, A, n, S]
            weights = torch.cat([past, products.permute(0, 3, 1, 2)], dim=-1).softmax(dim=-1)
            past, products = weights.split([past.shape[-1], products.shape[2]], dim=-1)
            found = (products.permute(0, 2, 3, 1)[..., None] * own.values).sum(dim=2)
            found = found + (past @ shared.values).transpose(1, 2)
        return self.output(found.flatten(-2))


def _joined(before, own):
    return torch.cat([before, own], dim=2)


def _of_parents(part, parent):
    """Keys or values of the parents [B, n] among prefixes [B, n', T, A, E], shape: [B, n, T, A, E]."""
    first = part.shape[1] * torch.arange(len(part), device=part.device)[:, None]
    return part.flatten(0, 1).index_select(0, (first + parent).flatten()).unflatten(0, parent.shape)


def _hidden(is_read):
    """0 where a token is read, -inf where it pads."""
    return torch.zeros_like(is_read, dtype=torch.float32).masked_fill(~is_read, -torch.inf)

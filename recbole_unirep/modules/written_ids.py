"""recbole_unirep.modules.written_ids: the semantic IDs of a catalogue as a model predicts them.

Shapes: N items, B users, V levels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recbole_unirep.generation.trie import ClosedCodes, PrefixTrie, close_codes
from recbole_unirep.semantic_ids.ids import first_tokens


class WrittenIDs(nn.Module):
    """Frozen codes of the items, their prefix tree, and the tokens that write them.

    Levels share no tokens: a code's token is the code shifted by the sizes of the levels before it.

    Args:
        codes (Tensor): row 0 is padding, unused levels hold -1, int64, shape: [N + 1, V].
        codebook_sizes (list of int): codes per level, shape: [V].
        ranked (slice): rows that are ranked; by default all but padding.

    Attributes:
        codes (Tensor): codes of the IDs, all with V levels; a special code ends an ID that stops early, int64, shape:
            [N + 1, V].
        is_past_end (Tensor): True past the end of an ID, where only one code can follow, shape: [N + 1, V], bool.
        codebook_sizes (list of int): codes per level, including the special code, shape: [V].
        open_sizes (list of int): codes per level without the special code, shape: [V].
    """

    def __init__(self, codes: Tensor, codebook_sizes: list, ranked: slice = slice(1, None)):
        super().__init__()
        closed = close_codes(codes[1:], codebook_sizes)
        self.codebook_sizes, self.open_sizes = closed.codebook_sizes, list(codebook_sizes)
        self.first_tokens = first_tokens(self.codebook_sizes)
        self.register_buffer("codes", functional.pad(closed.codes, (0, 0, 1, 0)))
        # Checkpoints hold `is_past_end` under this name.
        self.register_buffer("is_certain", functional.pad(closed.is_past_end, (0, 0, 1, 0)))
        self.register_buffer("first_token", torch.tensor(self.first_tokens), persistent=False)
        self.ranked, self._trie = ranked, None
        self.register_load_state_dict_post_hook(lambda module, _: setattr(module, "_trie", None))

    @property
    def is_past_end(self) -> Tensor:
        """True past the end of an ID, shape: [N + 1, V], bool."""
        return self.is_certain

    @property
    def n_levels(self) -> int:
        """V."""
        return len(self.codebook_sizes)

    @property
    def n_tokens(self) -> int:
        """Number of tokens without padding, which is token 0."""
        return sum(self.codebook_sizes)

    @property
    def trie(self) -> PrefixTrie:
        """Prefix tree of the ranked rows, rebuilt when a checkpoint is loaded or the device changes."""
        if self._trie is None or self._trie.leaf.device != self.codes.device:
            rows = self.codes[self.ranked], self.is_past_end[self.ranked]
            self._trie = PrefixTrie(ClosedCodes(*rows, self.codebook_sizes))
        return self._trie

    @property
    def open_codes(self) -> Tensor:
        """Codes as they were given, without the padding row; unused levels hold -1, shape: [N, V]."""
        codes = self.codes[1:]
        return codes.masked_fill(codes >= torch.tensor(self.open_sizes, device=codes.device), -1)

    def tokens_of(self, items: Tensor) -> Tensor:
        """Tokens of the items' IDs, shape: [..., V]."""
        return self.codes[items] + self.first_token

    def token_of(self, level: int, code: Tensor) -> Tensor:
        """Tokens of codes [...] of one level, shape: [...]."""
        return code + self.first_tokens[level]

    def level_rows(self, level: int):
        """Rows of a token table that belong to the codes of one level, in order: a slice or an int64 tensor."""
        first = self.first_tokens[level]
        return slice(first, first + self.codebook_sizes[level])

    def item_scores(self, leaf_scores: Tensor) -> Tensor:
        """Scores of the trie's leaves [B, n_leaves] as scores of the ranked items, padding's first at -inf.

        Returns:
            Tensor: shape: [B, 1 + ranked rows].
        """
        return functional.pad(leaf_scores[:, self.trie.leaf], (1, 0), value=-torch.inf)

"""ItemIDTokens: the digits of an item's number, under a random numbering.

Reference:
    Shijie Geng et al. "Recommendation as Language Processing (RLP): A Unified Pretrain, Personalized Prompt & Predict
        Paradigm" (P5), RecSys 2022, arXiv:2203.13366 (item numbers cut into pieces).
    Wenyue Hua et al. "How to Index Item IDs for Recommendation Foundation Models", arXiv:2305.06569: numbers in the
        order of the file leak which items go together.

Items are therefore numbered in the order of a hash, not of the file or of their tokens.
"""

import numpy as np

from recbole_unirep.tokenizer.assigned import AssignedTokenizer, token_hashes


class ItemIDTokens(AssignedTokenizer):
    """Every item has its own ID: its number among the fitted items, written in base codebook_size.

    Args:
        codebook_size (int): the base, at least 2; there are as many levels as the largest number has digits.
        fit_seed (int): of the numbering.
    """

    def __init__(self, *, codebook_size: int, fit_seed: int):
        super().__init__()
        if codebook_size < 2:
            raise ValueError(f"codebook_size={codebook_size} is not a base of numbers: give 2 or more")
        self.codebook_size, self.fit_seed = codebook_size, fit_seed

    @property
    def n_levels(self):
        """Digits of the largest number; 0 before `fit`."""
        return n_digits(len(self._known()), self.codebook_size) if len(self.knowledge) else 0

    def _learned(self, items):
        hashes = np.unique(token_hashes(items.tokens, self.fit_seed))
        if len(hashes) < len(set(items.tokens)):
            raise ValueError(f"two items have the same hash under fit_seed={self.fit_seed}: choose another seed")
        return hashes.tolist()

    def _codes(self, items):
        known, asked = np.array(self._known(), dtype=np.uint64), token_hashes(items.tokens, self.fit_seed)
        number = np.searchsorted(known, asked).clip(max=len(known) - 1)
        is_new = known[number] != asked
        if is_new.any():
            raise ValueError(
                f"item {items.tokens[int(is_new.argmax())]!r} has no number: ItemIDTokens numbers only the items "
                f"that fit saw; fit again with it"
            )
        places = self.codebook_size ** np.arange(self.n_levels - 1, -1, -1)
        return (number[:, None] // places % self.codebook_size).astype(np.int64)


def n_digits(count: int, base: int) -> int:
    """Digits that the numbers 0..count-1 take in a base, at least 1."""
    digits = 1
    while base**digits < count:
        digits += 1
    return digits

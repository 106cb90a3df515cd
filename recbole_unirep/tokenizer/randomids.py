"""RandomIDs: codes that say nothing about an item, the control for every semantic ID.

Reference:
    Shashank Rajput et al. "Recommender Systems with Generative Retrieval", NeurIPS 2023, arXiv:2305.05065, section 4.2
        (random IDs).
"""

import numpy as np

from recbole_unirep.tokenizer.assigned import AssignedTokenizer, token_hashes


class RandomIDs(AssignedTokenizer):
    """Each level's code is a hash of seed, level and item token.

    Args:
        n_levels (int): codes in an ID.
        codebook_size (int): codes a level may choose from.
        fit_seed (int): of the hash.
    """

    def __init__(self, *, n_levels: int, codebook_size: int, fit_seed: int):
        super().__init__()
        self.n_levels, self.codebook_size, self.fit_seed = n_levels, codebook_size, fit_seed

    def _learned(self, items):
        return []

    def _codes(self, items):
        levels = [token_hashes(items.tokens, f"{self.fit_seed}/{level}") for level in range(self.n_levels)]
        return (np.stack(levels, axis=1) % self.codebook_size).astype(np.int64)

"""A decoder whose logits depend only on user and prefix: every likelihood can be computed by hand."""

import pytest
import torch


class TableDecoder:
    """Decoder with random logits, seeded by user and prefix.

    Args:
        n_users (int): B.
        codebook_sizes (list of int): number of codes per level.
        noise (float): difference between equal prefixes at different beam positions; imitates rounding of a product.
    """

    def __init__(self, n_users, codebook_sizes, noise=0.0):
        self.n_users, self.sizes, self.noise = n_users, codebook_sizes, noise
        self.steps = 0

    def __len__(self):
        return self.n_users

    def logits_of(self, user, prefix):
        """Logits of the code after a prefix, shape: [K]."""
        seed = hash((user, *prefix)) % 2**31
        return 2 * torch.randn(self.sizes[len(prefix)], generator=torch.Generator().manual_seed(seed))

    def start(self):
        self.prefixes = [[()] for _ in range(self.n_users)]
        return self._logits()

    def step(self, parent, code):
        self.steps += parent.shape[1]
        self.prefixes = [
            [before[p] + (c,) for p, c in zip(of_user.tolist(), codes.tolist())]
            for before, of_user, codes in zip(self.prefixes, parent, code)
        ]
        return self._logits()

    def _logits(self):
        logits = [torch.stack([self.logits_of(user, p) for p in own]) for user, own in enumerate(self.prefixes)]
        place = torch.arange(len(self.prefixes[0]))[:, None]
        return torch.stack(logits) + self.noise * place * torch.linspace(0, 1, self.sizes[len(self.prefixes[0][0])])

    def log_likelihood(self, user, codes, n_real):
        """Log-likelihood of the first `n_real` codes of an ID, by hand."""
        parts = [self.logits_of(user, tuple(codes[:level])).log_softmax(-1)[codes[level]] for level in range(n_real)]
        return sum(parts)


@pytest.fixture
def decoder():
    return TableDecoder

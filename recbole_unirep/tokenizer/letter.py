"""LETTER: an RQ-VAE whose codes also know who takes what, and are spread.

Reference:
    Wenjie Wang et al. "Learnable Item Tokenization for Generative Recommendation" (LETTER), CIKM 2024,
        arXiv:2405.07314, equations 3 to 5. Written from the paper; what it leaves open is said where it is filled.

Shapes: N items, B items of a step, D code_dim, K codebook_size, L levels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.tokenizer.balancedrqkmeans import balanced_assignment
from recbole_unirep.tokenizer.rqvae import RQVAE

CLUSTER_ITERATIONS = 10  # rounds of the constrained k-means over a level's codes; ours


class LETTER(RQVAE):
    """RQ-VAE with a contrast of quantized and collaborative vectors, and one that spreads the codes.

    A vector is [text ; collaborative]. The collaborative part is read by `fit` alone: codes are those of the text, so
    that new items get theirs, too. Levels search by Euclidean distance, and gradients move the codebooks.

    Args:
        text_dim (int): dimensions of both parts together.
        collaborative_dim (int): how many of the last ones are collaborative; code_dim must equal it (equation 4
            multiplies both).
        collaborative_weight (float): alpha of equation 3; zero vectors (nobody has taken the item yet) take no part.
        diversity_weight (float): beta of equation 3.
        code_clusters (int): groups of equal size that the codes of a level are put into, anew each epoch (equation 5),
            at least two codes each.
        n_levels, codebook_size, code_dim, encoder_sizes, commitment_weight, fit_epochs, fit_batch_size,
            fit_learning_rate, fit_seed: see `RQVAE`.

    Raises:
        ValueError: an option goes against another.
    """

    is_trained = False  # `fit` needs the collaborative vectors; inside a recommender its codes stand still
    is_collaborative = True

    def __init__(
        self,
        *,
        text_dim: int,
        collaborative_dim: int,
        collaborative_weight: float,
        diversity_weight: float,
        code_clusters: int,
        n_levels: int,
        codebook_size: int,
        code_dim: int,
        encoder_sizes: list,
        commitment_weight: float,
        fit_epochs: int,
        fit_batch_size: int,
        fit_learning_rate: float,
        fit_seed: int,
    ):
        if collaborative_dim != code_dim:
            raise ValueError(
                f"collaborative_dim={collaborative_dim} and code_dim={code_dim} meet in a product: make them equal"
            )
        if not 0 < collaborative_dim < text_dim:
            raise ValueError(
                f"vectors have {text_dim} dimensions, of which collaborative_dim={collaborative_dim} leaves none to "
                f"the text: join both, text first"
            )
        if not 0 < code_clusters <= codebook_size // 2:
            raise ValueError(
                f"code_clusters={code_clusters} of codebook_size={codebook_size} codes leaves some without another: "
                f"give at most half as many"
            )
        super().__init__(
            text_dim=text_dim - collaborative_dim,
            n_levels=n_levels,
            codebook_size=codebook_size,
            code_dim=code_dim,
            encoder_sizes=encoder_sizes,
            level_metrics=["euclidean"],
            commitment_weight=commitment_weight,
            residual_gradient="detached",
            codebook_gradient=False,
            gradient_estimator="straight_through",
            codebook_update="gradient",
            codebook_decay=0.0,
            codebook_init="kmeans",
            text_scaling="standard",
            loss_reduction="mean",
            fit_epochs=fit_epochs,
            fit_batch_size=fit_batch_size,
            fit_learning_rate=fit_learning_rate,
            fit_dead_code_steps=0,
            fit_seed=fit_seed,
        )
        self.collaborative_dim = collaborative_dim
        self.collaborative_weight, self.diversity_weight = collaborative_weight, diversity_weight
        self.code_clusters = code_clusters
        self.register_buffer("is_fitted", torch.zeros((), dtype=torch.bool))

    def fit(self, x: Tensor) -> "LETTER":
        self.is_fitted.fill_(len(x) > 0)
        return super().fit(x)

    def decode(self, codes: Tensor) -> Tensor:
        """Text embeddings that codes [N, L] stand for, and zeros for the collaborative part, shape: [N, text_dim]."""
        return functional.pad(super().decode(codes), (0, self.collaborative_dim))

    def _begin_epoch(self, generator):
        """Groups the codes of each level anew, shape: [L, K]."""
        clusters = [equal_clusters(book, self.code_clusters, generator) for book in self.quantizer.codebooks.detach()]
        self._clusters = torch.stack(clusters)

    def _regularization(self, x, vectors, codes, generator):
        loss = self.collaborative_weight * collaborative_loss(vectors, x[:, self.text_dim :].to(vectors.dtype))
        for book, code, cluster in zip(self.quantizer.codebooks, codes.unbind(dim=-1), self._clusters):
            loss = loss + self.diversity_weight * diversity_loss(book, code, cluster, generator)
        return loss

    def _read_text(self, x):
        width = self.text_dim + self.collaborative_dim
        if x.shape[-1] != width:
            raise ValueError(
                f"vectors have {x.shape[-1]} dimensions, the tokenizer was made for text_dim {width}, of which "
                f"{self.collaborative_dim} are collaborative: join text and collaborative vectors"
            )
        if not self.is_fitted:
            raise ValueError("LETTER has seen no vectors yet: call fit first")
        return super()._read_text(x[..., : self.text_dim])


def collaborative_loss(vectors: Tensor, collaborative: Tensor) -> Tensor:
    """Equation 4: each item's quantized vector finds its collaborative one among those of the batch.

    Args:
        vectors (Tensor): quantized, shape: [B, D].
        collaborative (Tensor): zeros where an item has none, shape: [B, D].

    Returns:
        Tensor: mean over the items that have one, 0 where none has, shape: [].
    """
    has_one = collaborative.any(dim=-1)
    vectors, collaborative = vectors[has_one], collaborative[has_one]
    if not len(vectors):
        return vectors.sum()
    own = torch.arange(len(vectors), device=vectors.device)
    return functional.cross_entropy(vectors @ collaborative.T, own)


def diversity_loss(codebook: Tensor, code: Tensor, cluster: Tensor, generator: torch.Generator) -> Tensor:
    """Equation 5: an item's code is drawn to another one of its cluster and away from all the others.

    Args:
        codebook (Tensor): of a level, shape: [K, D].
        code (Tensor): the items' codes, int64, shape: [B].
        cluster (Tensor): cluster of each code, at least two in each, int64, shape: [K].
        generator (torch.Generator): draws the other one, on the CPU.

    Returns:
        Tensor: mean over the items, shape: [].
    """
    own = torch.arange(len(codebook), device=code.device) == code[:, None]  # [B, K]
    is_other = (cluster[code][:, None] == cluster) & ~own
    other = torch.multinomial(is_other.float().cpu(), 1, generator=generator)[:, 0].to(code.device)
    scores = (codebook[code] @ codebook.T).masked_fill(own, -torch.inf)
    return functional.cross_entropy(scores, other)


@torch.no_grad()
def equal_clusters(codebook: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Clusters of equal size, by the constrained k-means of OneRec's Algorithm 1; the paper leaves the method open.

    Args:
        codebook (Tensor): codes, shape: [K, D].
        n_clusters (int): at most K.
        generator (torch.Generator): draws the first centres, on the CPU.

    Returns:
        Tensor: cluster of each code, int64, shape: [K].
    """
    centres = codebook[torch.randperm(len(codebook), generator=generator)[:n_clusters].to(codebook.device)]
    for _ in range(CLUSTER_ITERATIONS):
        cluster, centres = balanced_assignment(codebook, centres)
    return cluster

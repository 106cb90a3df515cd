"""recbole_unirep.generation.id_graph: search for likely IDs in a graph of similar IDs.

Reference:
    Yupeng Hou et al. "Generating Long Semantic IDs in Parallel for Recommendation" (RPG), KDD 2025, arXiv:2506.05781,
        section 2.3: beams start at random IDs, move to their neighbours and keep the likeliest, several times.

The cost does not grow with the catalogue. The search is approximate: it may miss the likeliest IDs.

Shapes: M distinct IDs, V levels, B users, n beams, G neighbours of an ID.
"""

import torch
from torch import Tensor

PRODUCTS_AT_ONCE = 2**24


@torch.no_grad()
def id_graph(vectors: Tensor, tokens: Tensor, n_neighbours: int) -> Tensor:
    """The most similar IDs of each ID, by the sum over levels of the dot products of their codes' vectors.

    Args:
        vectors (Tensor): of the tokens, row 0 is padding, shape: [n_tokens, H].
        tokens (Tensor): of the IDs, 0 pads, int64, shape: [M, V].
        n_neighbours (int): G; at most M - 1 are returned.

    Returns:
        Tensor: most similar first, without the ID itself, int64, shape: [M, G].
    """
    vectors = vectors.index_fill(0, torch.zeros(1, dtype=torch.int64, device=vectors.device), 0)
    concatenated = vectors[tokens].flatten(1)  # [M, V * H]
    n_ids, found = len(tokens), []
    for rows in torch.arange(n_ids, device=tokens.device).split(max(1, PRODUCTS_AT_ONCE // n_ids)):
        products = concatenated[rows] @ concatenated.T
        products[torch.arange(len(rows), device=rows.device), rows] = -torch.inf
        found.append(products.topk(min(n_neighbours, n_ids - 1), dim=1).indices)
    return torch.cat(found)


@torch.no_grad()
def graph_search(log_p: Tensor, tokens: Tensor, graph: Tensor, n_beams: int, n_steps: int, seed: int) -> tuple:
    """Likely IDs of each user.

    Args:
        log_p (Tensor): log-probability of every token, 0 for padding, shape: [B, n_tokens].
        tokens (Tensor): of the IDs, shape: [M, V].
        graph (Tensor): neighbours of each ID, shape: [M, G].
        n_beams (int): IDs to keep; n is smaller if there are fewer.
        n_steps (int): times that the beams move to their neighbours.
        seed (int): draws the IDs to start from, the same for every user.

    Returns:
        tuple[Tensor, Tensor]: distinct IDs, best first, int64, shape: [B, n], and their log-likelihoods.
    """
    n_ids = len(tokens)
    start = torch.randperm(n_ids, generator=torch.Generator().manual_seed(seed))[:n_beams].to(tokens.device)
    beams = start.expand(len(log_p), -1)
    for _ in range(n_steps):
        reached = torch.cat([beams, graph[beams].flatten(1)], dim=1).sort(dim=1).values  # [B, n * (1 + G)]
        is_again = torch.nn.functional.pad(reached[:, 1:] == reached[:, :-1], (1, 0))
        score = _log_likelihoods(log_p, tokens, reached).masked_fill(is_again, -torch.inf)
        beams = reached.gather(1, score.topk(len(start), dim=1).indices)
    score, order = _log_likelihoods(log_p, tokens, beams).sort(dim=1, descending=True, stable=True)
    return beams.gather(1, order), score


def _log_likelihoods(log_p, tokens, ids):
    """Log-likelihood of IDs [B, n], summed over levels, shape: [B, n]."""
    return sum(log_p.gather(1, level[ids]) for level in tokens.T)

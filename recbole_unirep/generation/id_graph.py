"""recbole_unirep.generation.id_graph: searches likely IDs in a graph of similar IDs.

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
    """Finds the most similar IDs of each ID. Similarity: dot product of code vectors, summed over levels.

    Args:
        vectors (Tensor): token vectors, row 0 is padding, shape: [n_tokens, H].
        tokens (Tensor): tokens of the IDs, 0 pads, int64, shape: [M, V].
        n_neighbours (int): G; at most M - 1 neighbours are returned.

    Returns:
        Tensor: indices of IDs, most similar first, without the ID itself, int64, shape: [M, G].
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
    """Searches the graph for the likeliest IDs per user.

    Args:
        log_p (Tensor): log-probability of every token, 0 for padding, shape: [B, n_tokens].
        tokens (Tensor): tokens of the IDs, shape: [M, V].
        graph (Tensor): neighbours of each ID, shape: [M, G].
        n_beams (int): IDs to keep; n is smaller if there are fewer IDs.
        n_steps (int): number of moves to neighbours.
        seed (int): seed of the random start IDs, which are the same for every user.

    Returns:
        tuple[Tensor, Tensor]: distinct IDs, best first, int64, shape: [B, n]; their log-likelihoods, shape: [B, n].
    """
    n_ids = len(tokens)
    start = torch.randperm(n_ids, generator=torch.Generator().manual_seed(seed))[:n_beams].to(tokens.device)
    beams = start.expand(len(log_p), -1)
    for _ in range(n_steps):
        reached = torch.cat([beams, graph[beams].flatten(1)], dim=1).sort(dim=1).values  # [B, n * (1 + G)]
        is_duplicate = torch.nn.functional.pad(reached[:, 1:] == reached[:, :-1], (1, 0))
        score = _log_likelihoods(log_p, tokens, reached).masked_fill(is_duplicate, -torch.inf)
        beams = reached.gather(1, score.topk(len(start), dim=1).indices)
    score, order = _log_likelihoods(log_p, tokens, beams).sort(dim=1, descending=True, stable=True)
    return beams.gather(1, order), score


def _log_likelihoods(log_p, tokens, ids):
    """Log-likelihood of IDs [B, n], summed over levels, shape: [B, n]."""
    return sum(log_p.gather(1, level[ids]) for level in tokens.T)

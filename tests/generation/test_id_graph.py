"""The graph of similar IDs and its search, checked against all pairs and all IDs."""

import torch

from recbole_unirep.generation.id_graph import graph_search, id_graph

#                      the last two IDs are shorter
TOKENS = torch.tensor([[1, 4], [1, 5], [2, 4], [2, 5], [3, 6], [3, 0], [2, 0]])


def test_neighbours_have_the_largest_products_summed_over_levels():
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(7, 5, generator=draw)
    graph = id_graph(vectors, TOKENS, 3)
    similarity = torch.zeros(7, 7)
    for a in range(7):
        for b in range(7):
            for one, other in zip(TOKENS[a].tolist(), TOKENS[b].tolist()):
                similarity[a, b] += vectors[one] @ vectors[other] if one and other else 0
    similarity.fill_diagonal_(-torch.inf)
    assert torch.equal(graph, similarity.topk(3, dim=1).indices)
    assert id_graph(vectors, TOKENS, 100).shape == (7, 6)


def test_a_complete_graph_finds_the_likeliest_ids_in_one_step():
    draw = torch.Generator().manual_seed(1)
    log_p = torch.randn(4, 7, generator=draw).index_fill(1, torch.tensor([0]), 0)
    graph = id_graph(torch.randn(7, 5, generator=draw), TOKENS, 6)
    every = torch.stack([log_p[:, a] + log_p[:, b] for a, b in TOKENS.tolist()], dim=1)
    ids, score = graph_search(log_p, TOKENS, graph, n_beams=3, n_steps=1, seed=5)
    best, order = every.sort(dim=1, descending=True)
    assert torch.equal(ids, order[:, :3])
    torch.testing.assert_close(score, best[:, :3])


def test_the_search_follows_the_graph_and_keeps_no_id_twice():
    """On a ring, each step reaches one more ID on either side; the likeliest ID is three steps away."""
    n_ids = 11
    tokens = torch.arange(1, n_ids + 1)[:, None]
    ring = torch.stack([(torch.arange(n_ids) + 1) % n_ids, (torch.arange(n_ids) - 1) % n_ids], dim=1)
    start = int(torch.randperm(n_ids, generator=torch.Generator().manual_seed(0))[0])
    distance = (torch.arange(n_ids) - start - 3) % n_ids
    log_p = torch.nn.functional.pad(-torch.minimum(distance, n_ids - distance).float(), (1, 0))[None]
    for n_steps in range(5):
        ids, score = graph_search(log_p, tokens, ring, n_beams=1, n_steps=n_steps, seed=0)
        assert ids.item() == (start + min(n_steps, 3)) % n_ids and score.item() == -max(3 - n_steps, 0)
    ids, _ = graph_search(log_p, tokens, ring, n_beams=20, n_steps=2, seed=0)
    assert sorted(ids[0].tolist()) == list(range(n_ids))

"""Ranks of held-out targets match a naive loop, for every kind of scorer and any block size."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_unirep.scoring import scorers
from recbole_unirep.scoring.evaluation import PROTOCOLS

N_USERS, N_ITEMS = 41, 160


def draw_scores(n_levels, shape=(N_USERS, N_ITEMS)):
    scores = torch.randint(n_levels, shape, generator=torch.Generator().manual_seed(n_levels)).float()
    scores[:, 0] = 1e9  # padding is never a candidate
    return scores


def draw_factors(shape=(N_USERS, N_ITEMS), dim=24, seed=0):
    """Random states and an item table in which every fifth item equals another item."""
    generator = torch.Generator().manual_seed(seed)
    states, table = torch.randn(shape[0], dim, generator=generator), torch.randn(shape[1], dim, generator=generator)
    table[5::5] = table[3::5][: len(table[5::5])]
    return states, table


def exact_scores(states, table):
    """Dot products of state and item in exact fractions, rounded once."""
    rows, columns = ([[Fraction(x) for x in row] for row in part.tolist()] for part in (states, table))
    scores = [[float(sum(a * b for a, b in zip(row, column))) for column in columns] for row in rows]
    return torch.tensor(scores, dtype=torch.float64).float()


def candidates_of(data, protocol, row):
    """Item ids among which a row's target is ranked, target included."""
    user, target, n_earlier = (part[row].item() for part in data.targets)
    catalogue = set(range(1, len(data.item_tokens)))
    return {
        "uni99": {target, *data.candidates[row].tolist()},
        "full": catalogue,
        "full_unseen": (catalogue - set(data.sequences.of(user)[:n_earlier].tolist())) | {target},
    }[protocol]


def assert_naive(rankings, data, scores, n_top):
    """Asserts that sorting the candidates by descending score, then by priority, gives these rankings."""
    for protocol, ranking in rankings.items():
        for row, (user, target, _) in enumerate(zip(*(part.tolist() for part in data.targets))):
            items = candidates_of(data, protocol, row)
            key = {item: (-scores[user, item].item(), data.tie_priority[item].item()) for item in items}
            order = sorted(items, key=key.get)
            equal = Counter(score for score, _ in key.values())[key[target][0]]
            first = sum(score < key[target][0] for score, _ in key.values())
            assert ranking.ranks[row] == 1 + order.index(target), protocol
            assert ranking.mean_ranks[row] == first + (equal + 1) / 2, protocol
            assert ranking.n_candidates[row] == len(items), protocol
            assert ranking.items[row].tolist() == order[:n_top], protocol


def assert_same(found, expected):
    for protocol, ranking in expected.items():
        for name, part in ranking._asdict().items():
            assert torch.equal(getattr(found[protocol], name), part), (protocol, name)


@pytest.mark.parametrize("n_levels", [1, 3, 40, 100_000])
def test_rankings_match_a_naive_loop(make_targets, rank, n_levels):
    data, scores = make_targets(), draw_scores(n_levels)
    assert_naive(rank(scores, data, n_top=20), data, scores, 20)


@pytest.mark.parametrize("n_levels", [1, 3, 100_000])
def test_the_order_of_a_candidate_row_does_not_depend_on_which_item_is_the_target(make_targets, rank, n_levels):
    """Each of a row's 100 items is the target once: the ranks are 1 to 100, and the best items stay the same."""
    data, scores = make_targets(), draw_scores(n_levels)
    rows = torch.cat([data.targets.items[:, None], data.candidates], dim=1)  # [n, 100]
    target_ranks, best = [], []
    for column in range(rows.size(1)):
        swapped = rows.roll(-column, dims=1)
        data.targets, data._candidates = data.targets._replace(items=swapped[:, 0]), swapped[:, 1:]
        ranking = rank(scores, data, ["uni99"], n_top=20)["uni99"]
        target_ranks.append(ranking.ranks)
        best.append(ranking.items)
    found = torch.stack(target_ranks).sort(dim=0).values
    assert torch.equal(found, torch.arange(1, 101)[:, None].expand(-1, len(rows)))
    assert all(torch.equal(items, best[0]) for items in best)


@pytest.mark.parametrize("block", [1, 7, 2048])
def test_a_causal_model_is_ranked_by_exact_dot_products(make_targets, rank, monkeypatch, block):
    """Equal items tie and the target never beats itself; float32 products of varying shapes do not ensure this."""
    monkeypatch.setattr("recbole_unirep.scoring.scores.BLOCK", block)
    data, (states, table) = make_targets(), draw_factors()
    rankings = rank((states, table), data, n_top=20)
    assert_naive(rankings, data, exact_scores(states, table), 20)
    assert (rankings["full"].mean_ranks % 1 > 0).any()  # ties with one other item


@pytest.mark.parametrize("block", [1, 7, 2048])
@pytest.mark.parametrize("bias", [-3.0, 0.37])
def test_the_repeat_bias_is_added_to_items_of_the_history(make_targets, rank, monkeypatch, block, bias):
    monkeypatch.setattr("recbole_unirep.scoring.scores.BLOCK", block)
    data, (states, table), bias = make_targets(), draw_factors(), torch.tensor(bias)
    rankings, plain = rank((states, table, bias), data, n_top=20), rank((states, table), data, n_top=20)
    scores, user = exact_scores(states, table), torch.arange(N_USERS)
    exact = (states.double() * table[:N_USERS].double()).sum(dim=1) + bias
    scores[user, user] = exact.float()
    assert_naive(rankings, data, scores, 20)
    assert not torch.equal(rankings["full"].items, plain["full"].items)
    assert_same(rank((states, table, torch.tensor(0.0)), data, n_top=20), plain)


@pytest.mark.parametrize("protocols", [["uni99"], ["full"], ["full_unseen", "uni99"]])
@pytest.mark.parametrize("model", [draw_scores(9), draw_factors()], ids=["scores", "factors"])
def test_a_protocol_gives_the_same_ranks_alone_and_with_others(make_targets, rank, model, protocols):
    data = make_targets()
    expected = rank(model, data, n_top=5)
    found = rank(model, data, protocols, batch_size=50, n_top=5)
    assert list(found) == protocols
    assert_same(found, {protocol: expected[protocol] for protocol in protocols})


@pytest.mark.parametrize("scores_at_once", [1, 7, 160, 1000])
@pytest.mark.parametrize(
    "model",
    [draw_scores(3), draw_scores(100_000), draw_factors(), (torch.ones(N_USERS, 3), torch.ones(N_ITEMS, 3))],
    ids=["many ties", "no ties", "factors", "constant"],
)
def test_ranks_do_not_depend_on_block_sizes(make_targets, rank, monkeypatch, model, scores_at_once):
    data = make_targets()
    expected = rank(model, data, batch_size=N_USERS, scores_at_once=10**6, n_top=20)
    monkeypatch.setattr("recbole_unirep.scoring.scores.BLOCK", 13)
    monkeypatch.setattr("recbole_unirep.scoring.scores.PRODUCTS", 11 * 24)
    assert_same(rank(model, data, batch_size=9, scores_at_once=scores_at_once, n_top=20), expected)


@pytest.mark.parametrize("scale", [1e-18, 1.0, 1e12])
def test_near_ties_are_decided_by_the_exact_dot_product(make_targets, rank, scale):
    """The items differ by single bits, and the terms of their dot products cancel."""
    data, generator = make_targets(), torch.Generator().manual_seed(1)
    states = torch.randn(N_USERS, 32, generator=generator)
    table = torch.randn(32, generator=generator).expand(N_ITEMS, 32) * scale
    bits = torch.randint(-2, 3, (N_ITEMS, 32), generator=generator)
    table = table * (1 + bits * torch.finfo(torch.float32).eps)
    assert_naive(rank((states, table), data, n_top=3), data, exact_scores(states, table), 3)


class Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation creates."""

    def __init__(self):
        super().__init__()
        self.n_elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for part in result if isinstance(result, (tuple, list)) else (result,):
            is_view = isinstance(part, torch.Tensor) and part._is_view()
            if isinstance(part, torch.Tensor) and not is_view:
                self.n_elements = max(self.n_elements, part.numel())
        return result


def test_memory_does_not_grow_with_users_times_items(make_targets, rank, monkeypatch):
    monkeypatch.setattr("recbole_unirep.scoring.scores.PRODUCTS", 2048)
    n_users, n_items, dim = 101, 10_001, 8
    draw = np.random.RandomState(0)
    users = np.repeat(np.arange(1, n_users), 4)
    data = make_targets(n_users, n_items, users=users, items=draw.randint(1, n_items, len(users)))
    factors = draw_factors((n_users, n_items), dim)
    assert data.candidates.shape == (100, 99)  # drawn once
    for scores_at_once in (1_000, 10_000):
        with Largest() as largest:
            rank(factors, data, batch_size=50, scores_at_once=scores_at_once, n_top=10)
        table, candidates, scores = n_items * dim, 50 * 100, scores_at_once
        assert scores <= largest.n_elements <= max(table, candidates, 2 * scores)
    given = factors[0] @ factors[1].T
    with Largest() as largest:
        rank(given, data, batch_size=100, scores_at_once=30_003)
    assert 3 * n_items <= largest.n_elements < 6 * n_items


def test_constant_scores_give_the_hit_rate_of_chance(make_targets, rank):
    n_users = 1501
    items = 1 + np.random.RandomState(0).permutation(4000)[: n_users - 1]
    data = make_targets(n_users, 4001, users=np.arange(1, n_users), items=items)
    ranks = rank(torch.zeros(n_users, 4001), data, ["uni99"], batch_size=500)["uni99"].ranks
    standard_error = (0.1 * 0.9 / 1500) ** 0.5
    assert abs((ranks <= 10).float().mean().item() - 0.1) < 3 * standard_error
    assert abs(ranks.float().mean().item() - 50.5) < 3 * (100**2 / 12 / 1500) ** 0.5


def test_infinite_scores_are_ranked(make_targets, rank):
    data, scores = make_targets(), draw_scores(40)
    scores[:, 5::7] = -torch.inf
    scores[:, 6::9] = torch.inf
    assert_naive(rank(scores, data, n_top=90), data, scores, 90)


@pytest.mark.parametrize("protocols", [["uni99"], ["full"]])
def test_nan_scores_are_an_error(make_targets, rank, protocols):
    data, scores, (states, table) = make_targets(), torch.zeros(N_USERS, N_ITEMS), draw_factors()
    scores[3, data.candidates[2, 5]] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        rank(scores, data, protocols)
    for part in (states, table):
        before = part[7, 3].clone()
        part[7, 3] = float("nan")
        with pytest.raises(ValueError, match="NaN or infinity"):
            rank((states, table), data, protocols)
        part[7, 3] = before
    assert len(rank((states, table), data, protocols)[protocols[0]].ranks) == 40


def test_more_top_items_than_candidates_are_an_error(make_targets, rank):
    data, scores = make_targets(), draw_scores(40)
    with pytest.raises(ValueError, match="best 101 items, protocol uni99 has 100 candidates for user u"):
        rank(scores, data, n_top=101)
    most = max(len(set(data.sequences.of(user)[:-1]) - {data.sequences.of(user)[-1]}) for user in range(1, N_USERS))
    assert rank(scores, data, ["full_unseen"], n_top=159 - most)
    with pytest.raises(ValueError, match=f"protocol full_unseen has {159 - most} candidates for user u"):
        rank(scores, data, ["full_unseen"], n_top=160 - most)


@pytest.mark.parametrize("model_name", ["SASRec", "GRU4Rec"])
def test_the_item_table_gives_the_ranks_of_full_sort_predict(load, rank, monkeypatch, model_name):
    _, data, model = load(model_name)
    torch.nn.init.normal_(model.item_embedding.weight)
    model.eval()
    ranks = rank(model, data.test, batch_size=25)
    monkeypatch.setattr(scorers, "sequence_states", lambda model: None)
    own = rank(model, data.test, batch_size=25)
    assert len(ranks["full"].ranks.unique()) > 20
    assert_same(ranks, own)


@pytest.mark.parametrize("pair_batch_size", [97, 100_000])
def test_a_model_without_full_sort_predict_is_ranked_by_predict(load, rank, pair_batch_size):
    _, data, model = load("FM", pair_batch_size=pair_batch_size)
    model.eval()
    dataset, n_users, n_items = data.test.dataset, data.train.user_num, data.train.item_num
    rows = data.test.interactions[torch.zeros(n_items, dtype=torch.int64)]
    scores = torch.empty(n_users, n_items)
    with torch.no_grad():
        for user in range(n_users):
            rows.update(type(rows)({"user_id": torch.full((n_items,), user), "item_id": torch.arange(n_items)}))
            scores[user] = model.predict(dataset.join(rows))
    assert len(scores[1].unique()) == n_items
    rankings = rank(model, data.test)
    assert_naive(rankings, data.test, scores, 0)
    assert_same(rank(model, data.test, ["uni99"]), {"uni99": rankings["uni99"]})
    assert set(rankings) == set(PROTOCOLS)

"""Ranks of held-out targets against a naive loop, RecBole's metrics of them, and every kind of scorer."""

import numpy as np
import pytest
import torch
from recbole.evaluator import Collector, Evaluator

from recbole_unirep.config import Config
from recbole_unirep.data.candidates import Targets, earlier_items, tie_priority
from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.data.split import HeldOut
from recbole_unirep.training import evaluation
from recbole_unirep.training.evaluation import PROTOCOLS, metrics_of, rank_targets

CPU = torch.device("cpu")


class MadeTargets(HeldOut):
    """Each user's last item as target."""

    def __init__(self, sequences, n_users, n_items):
        self.config, self.split, self._candidates = {"seed": 2020}, "test", None
        self.sequences = sequences
        self.user_tokens = np.array(["[PAD]", *(f"u{user}" for user in range(1, n_users))])
        self.item_tokens = np.array(["[PAD]", *(f"i{item}" for item in range(1, n_items))])
        last = torch.from_numpy(sequences.items[sequences.offsets[2:] - 1])
        n_earlier = torch.from_numpy(np.diff(sequences.offsets)[1:] - 1)
        self.targets = Targets(torch.arange(1, n_users), last, n_earlier)
        self.tie_priority = tie_priority(self.item_tokens, 2020)
        self.earlier = earlier_items(sequences, self.targets)
        self.interactions = torch.arange(1, n_users)  # the scorer below is asked with user ids


class TableOfScores(torch.nn.Module):
    """Answers with a row of a table."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def full_sort_predict(self, users):
        return self.scores[users].flatten()


def made_targets(n_users=41, n_items=160, longest=9):
    """Histories with repeated items, the target among them now and then."""
    draw = np.random.RandomState(0)
    users = np.repeat(np.arange(1, n_users), draw.randint(1, longest + 1, n_users - 1))
    items = draw.randint(1, n_items, len(users))
    items[users == 1] = 7
    return MadeTargets(UserSequences.from_arrays(users, items, n_users), n_users, n_items)


def naive_rank(scores, target, candidates, priority):
    """Place of the target when candidates are sorted by falling score, then by priority."""
    keys = {item: (-scores[item].item(), priority[item].item()) for item in {target, *candidates}}
    return 1 + sorted(keys, key=keys.get).index(target)


@pytest.mark.parametrize("n_levels", [3, 40, 100_000], ids=["many ties", "some ties", "no ties"])
def test_ranks_are_those_of_a_naive_loop(n_levels):
    data = made_targets()
    scores = torch.randint(n_levels, (41, 160), generator=torch.Generator().manual_seed(n_levels)).float()
    scores[:, 0] = 1e9  # padding is nobody's candidate
    ranks = rank_targets(TableOfScores(scores), data, PROTOCOLS, 7, CPU)
    for row, (user, target, n_earlier) in enumerate(zip(*(part.tolist() for part in data.targets))):
        seen = data.sequences.of(user)[:n_earlier].tolist()
        candidates = {
            "uni99": data.candidates[row].tolist(),
            "full": range(1, 160),
            "full_unseen": set(range(1, 160)) - set(seen),
        }
        for protocol, items in candidates.items():
            assert ranks[protocol][row] == naive_rank(scores[user], target, items, data.tie_priority), protocol


@pytest.mark.parametrize("protocols", [["uni99"], ["full"], ["full_unseen", "uni99"]])
def test_a_protocol_ranks_alike_alone_and_beside_others(protocols):
    data = made_targets()
    model = TableOfScores(torch.randint(9, (41, 160), generator=torch.Generator().manual_seed(0)).float())
    all_ranks = rank_targets(model, data, PROTOCOLS, 7, CPU)
    ranks = rank_targets(model, data, protocols, 50, CPU)
    assert list(ranks) == protocols
    assert all(torch.equal(ranks[protocol], all_ranks[protocol]) for protocol in protocols)


def test_the_targets_column_does_not_matter():
    """Were ties won by the first column, a constant score would rank every target first."""
    data = made_targets()
    columns = torch.cat([data.targets.items[:, None], data.candidates], dim=1)
    scores = torch.randint(4, columns.shape, generator=torch.Generator().manual_seed(0)).float()
    target, target_score = columns[:, :1], scores[:, :1]
    expected = evaluation._beats(scores, target_score, columns, target, data.tie_priority).sum(dim=1)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(1))
    moved = evaluation._beats(scores[:, order], target_score, columns[:, order], target, data.tie_priority).sum(dim=1)
    assert torch.equal(moved, expected)


def test_constant_scores_hit_by_chance():
    n_users = 1501
    items = 1 + np.random.RandomState(0).permutation(4000)[: n_users - 1]
    data = MadeTargets(UserSequences.from_arrays(np.arange(1, n_users), items, n_users), n_users, 4001)
    ranks = rank_targets(TableOfScores(torch.zeros(n_users, 4001)), data, ["uni99"], 500, CPU)["uni99"]
    standard_error = (0.1 * 0.9 / 1500) ** 0.5
    assert abs((ranks <= 10).float().mean().item() - 0.1) < 3 * standard_error
    assert abs(ranks.float().mean().item() - 50.5) < 3 * (100**2 / 12 / 1500) ** 0.5


@pytest.mark.parametrize("protocols", [["uni99"], ["full"]])
def test_nan_scores_are_an_error(protocols):
    data = made_targets()
    scores = torch.zeros(41, 160)
    scores[3, data.candidates[2, 5]] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        rank_targets(TableOfScores(scores), data, protocols, 7, CPU)


def test_metrics_are_those_of_recboles_own_pipeline():
    data = made_targets()
    names = ["Hit", "NDCG", "MRR", "Recall", "Precision", "MAP"]
    config = Config("BPR", "ml-100k", config_dict={"metrics": names, "topk": [1, 5, 10, 20], "use_gpu": False})
    scores = torch.rand(41, 160, generator=torch.Generator().manual_seed(0))
    scores[torch.arange(1, 41), data.targets.items] += 0.8
    scores[:, 0] = -torch.inf
    ranks = rank_targets(TableOfScores(scores), data, ["full"], 7, CPU)["full"]
    collector = Collector(config)
    collector.eval_batch_collect(scores[1:], None, torch.arange(40), data.targets.items)
    expected = Evaluator(config).evaluate(collector.get_data_struct())
    metrics = metrics_of(ranks, config)
    assert metrics.pop("mrr") == pytest.approx((1 / ranks.double()).mean().item(), abs=1e-6)
    assert metrics == {name: float(value) for name, value in expected.items()}
    assert len(metrics) == 24 and 0 < metrics["hit@1"] < metrics["hit@20"] < 1


def test_metrics_by_hand():
    config = Config("BPR", "ml-100k", config_dict={"metrics": ["Hit", "NDCG"], "topk": [1, 10]})
    metrics = metrics_of(torch.tensor([1, 3, 11, 4000]), config)
    assert metrics == {"hit@1": 0.25, "hit@10": 0.5, "ndcg@1": 0.25, "ndcg@10": 0.375, "mrr": 0.356123}


def test_metrics_that_need_more_than_ranks_are_an_error():
    config = Config("BPR", "ml-100k", config_dict={"metrics": ["Hit", "ItemCoverage"]})
    with pytest.raises(ValueError, match="ItemCoverage.*rec.items"):
        metrics_of(torch.tensor([1]), config)


@pytest.mark.parametrize("model_name", ["SASRec", "GRU4Rec"])
def test_the_item_table_ranks_as_full_sort_predict(load, monkeypatch, model_name):
    config, data, model = load(model_name)
    torch.nn.init.normal_(model.item_embedding.weight)
    model.eval()
    ranks = rank_targets(model, data.test, PROTOCOLS, 25, config["device"])
    sampled = rank_targets(model, data.test, ["uni99"], 7, config["device"])
    monkeypatch.setattr(evaluation, "sequence_states", lambda model: None)
    own = rank_targets(model, data.test, PROTOCOLS, 25, config["device"])
    assert len(ranks["full"].unique()) > 20
    assert all(torch.equal(ranks[protocol], own[protocol]) for protocol in PROTOCOLS)
    assert torch.equal(sampled["uni99"], own["uni99"])


@pytest.mark.parametrize("pair_batch_size", [97, 100_000])
def test_a_model_of_pairs_is_ranked_by_predict(load, pair_batch_size):
    config, data, model = load("FM", pair_batch_size=pair_batch_size)
    model.eval()
    dataset, n_users, n_items = data.test.dataset, data.train.user_num, data.train.item_num
    rows = data.test.interactions[torch.zeros(n_items, dtype=torch.int64)]
    scores = torch.empty(n_users, n_items)
    with torch.no_grad():
        for user in range(n_users):
            rows.update(type(rows)({"user_id": torch.full((n_items,), user), "item_id": torch.arange(n_items)}))
            scores[user] = model.predict(dataset.join(rows))
    assert len(scores[1].unique()) == n_items
    ranks = rank_targets(model, data.test, PROTOCOLS, 25, config["device"])

    class Table(TableOfScores):
        def full_sort_predict(self, interaction):
            return self.scores[interaction["user_id"]]

    expected = rank_targets(Table(scores), data.test, PROTOCOLS, 25, config["device"])
    assert all(torch.equal(ranks[protocol], expected[protocol]) for protocol in PROTOCOLS)
    assert torch.equal(rank_targets(model, data.test, ["uni99"], 7, config["device"])["uni99"], expected["uni99"])

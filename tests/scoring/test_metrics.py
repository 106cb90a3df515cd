"""All of RecBole's ranking metrics match its own Collector and Evaluator on whole score tables."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.evaluator import Collector, Evaluator
from recbole.evaluator.register import metric_types, metrics_dict
from recbole.utils import EvaluatorType

from recbole_unirep.config import Config
from recbole_unirep.scoring.evaluation import PROTOCOLS, Ranking
from recbole_unirep.scoring.metrics import metric_names, metrics_of, n_top_needed

TOPK = [1, 5, 10, 20]
RANKING_METRICS = [cls.__name__ for name, cls in metrics_dict.items() if metric_types[name] == EvaluatorType.RANKING]
SCORES = torch.rand(41, 160, generator=torch.Generator().manual_seed(0))


def configure(metrics, **keys):
    return Config("BPR", "ml-100k", config_dict={"metrics": metrics, "topk": TOPK, "use_gpu": False, **keys})


def candidate_table(data, protocol, scores):
    """Score table in RecBole's format: one row per user, -inf for padding and items that are not candidates."""
    table = torch.full((len(data), scores.size(1)), -torch.inf)
    for row, (user, target, n_earlier) in enumerate(zip(*(part.tolist() for part in data.targets))):
        items = torch.arange(1, scores.size(1))
        if protocol == "uni99":
            items = torch.cat([data.targets.items[row : row + 1], data.candidates[row]])
        if protocol == "full_unseen":
            seen = data.sequences.of(user)[:n_earlier].tolist()
            items = torch.tensor([item for item in items.tolist() if item == target or item not in seen])
        table[row, items] = scores[user, items]
    return table


def recbole_metrics(config, table, data):
    """RecBole's own metrics, with the item counts that its Collector would read from the training data."""
    collector = Collector(config)
    collector.eval_batch_collect(table, None, torch.arange(len(data)), data.targets.items)
    struct = collector.get_data_struct()
    trained = Counter(
        item
        for user, n in zip(*(data.targets.users.tolist(), data.targets.positions.tolist()))
        for item in data.sequences.of(user)[:n].tolist()
    )
    struct.set("data.num_items", table.size(1))
    struct.set("data.count_items", trained)
    return {name: float(value) for name, value in Evaluator(config).evaluate(struct).items()}


def test_recbole_has_exactly_these_ranking_metrics():
    """The tests below cover all of them; a new metric might need data that is not collected yet."""
    assert sorted(RANKING_METRICS) == sorted(
        ["Hit", "MRR", "MAP", "Recall", "NDCG", "Precision", "GAUC", "ItemCoverage", "AveragePopularity"]
        + ["ShannonEntropy", "GiniIndex", "TailPercentage"]
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("metric", RANKING_METRICS)
def test_a_metric_equals_recboles(make_targets, rank, metric, protocol):
    data, config = make_targets(), configure([metric], tail_ratio=0.3)
    scores = SCORES.clone()
    scores[torch.arange(1, 41), data.targets.items] += 0.4
    ranking = rank(scores, data, [protocol], n_top=n_top_needed(config))[protocol]
    metrics = metrics_of(ranking, config, data)
    assert metrics.pop("mrr") == pytest.approx((1 / ranking.ranks.double()).mean().item(), abs=1e-6)
    assert metrics == recbole_metrics(config, candidate_table(data, protocol, scores), data)
    assert list(metrics) == metric_names(config)
    assert 0 < metrics[metric_names(config)[-1]] != 1


def test_gauc_uses_the_mean_rank_of_ties(make_targets, rank):
    data, config = make_targets(), configure(["GAUC"])
    scores = torch.randint(4, SCORES.shape, generator=torch.Generator().manual_seed(0)).float()
    ranking = rank(scores, data, ["full"])["full"]
    metrics = metrics_of(ranking, config, data)
    assert metrics["gauc"] == recbole_metrics(config, candidate_table(data, "full", scores), data)["gauc"]
    constant = metrics_of(rank(torch.ones_like(scores), data, ["full"])["full"], config, data)
    assert constant["gauc"] == 0.5


def test_all_metrics_together_and_best_items_only_if_needed(make_targets, rank):
    data = make_targets()
    config = configure(RANKING_METRICS)
    assert n_top_needed(config) == 20 and n_top_needed(configure(["Hit", "GAUC"])) == 0
    metrics = metrics_of(rank(SCORES, data, ["full"], n_top=20)["full"], config, data)
    assert list(metrics) == [*metric_names(config), "mrr"]
    assert len(metrics) == 11 * 4 + 2


def ranking(ranks, items=None):
    ranks = torch.tensor(ranks)
    return Ranking(ranks, ranks.float(), torch.full_like(ranks, 5000), items)


def test_metrics_by_hand():
    config = configure(["Hit", "NDCG"], topk=[1, 10])
    metrics = metrics_of(ranking([1, 3, 11, 4000]), config, None)
    assert metrics == {"hit@1": 0.25, "hit@10": 0.5, "ndcg@1": 0.25, "ndcg@10": 0.375, "mrr": 0.356123}


def test_item_metrics_by_hand():
    """Of four items, the second has three training interactions and the third has one."""
    config = configure(["ItemCoverage", "AveragePopularity"], topk=[1, 2])
    data = SimpleNamespace(item_tokens=np.array(["[PAD]", "a", "b", "c", "d"]), item_counts=np.array([0, 0, 3, 1, 0]))
    metrics = metrics_of(ranking([1, 2], torch.tensor([[2, 1], [2, 3]])), config, data)
    del metrics["mrr"]
    assert metrics == {
        "itemcoverage@1": 1 / 5,  # RecBole counts padding among the items
        "itemcoverage@2": 3 / 5,
        "averagepopularity@1": 3.0,
        "averagepopularity@2": (1.5 + 2) / 2,
    }


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["AUC", "LogLoss"], "AUC, LogLoss evaluate labelled pairs, the protocols rank items: use --protocol=recbole"),
        (["Hit", "RMSE"], "metrics RMSE evaluate labelled pairs, Hit evaluate rankings: use one kind per run"),
        (["Hit", "Hits"], "Hits is not known: choose from AUC, .*NDCG"),
        ([], "metrics=\\[\\]: no metric is given: choose from AUC, .*NDCG"),
    ],
)
def test_metrics_that_cannot_be_computed_are_an_error(metrics, message):
    with pytest.raises(ValueError, match=message) as caught:
        configure(metrics)
    assert "\n" not in str(caught.value)

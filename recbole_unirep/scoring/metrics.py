"""recbole_unirep.scoring.metrics: all ranking metrics of RecBole's Evaluator, and MRR over all candidates.

RecBole's Collector computes what a metric needs from [users, n_items] score tables. Here it comes from ranks and the
best items.
"""

import torch
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import Register, metric_information, metric_types, metrics_dict
from recbole.utils import EvaluatorType


def n_top_needed(config):
    """Returns how many of the best items the metrics need.

    Args:
        config (Config): `metrics`, `topk`.
    """
    return max(config["topk"]) if Register(config).need("rec.items") else 0


def needs_items(metric):
    """True if a metric, such as 'NDCG@10', is computed from the best items, not from ranks alone."""
    return "rec.items" in _needs(metric.partition("@")[0])


def metric_names(config):
    """Returns the names of the results of RecBole's Evaluator, such as 'hit@10' and 'gauc'.

    Args:
        config (Config): `metrics`, `topk`.

    Returns:
        list[str]: in the Evaluator's order.
    """
    names = []
    for metric in map(str.lower, config["metrics"]):
        has_topk = hasattr(metrics_dict[metric](config), "topk")
        names += [f"{metric}@{k}" for k in config["topk"]] if has_topk else [metric]
    return names


def check_metrics(metrics, by_recbole):
    """Checks the names of metrics.

    Args:
        metrics (str or list[str]): names.
        by_recbole (bool): True if RecBole's own evaluation computes them, under protocol recbole.

    Raises:
        ValueError: RecBole does not know a name, the metrics exclude each other, or the protocol cannot compute them.
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [name for name in metrics if str(name).lower() not in metrics_dict]
    if unknown or not metrics:
        known = ", ".join(metric.__name__ for metric in metrics_dict.values())
        problem = f"{', '.join(map(str, unknown))} is not known" if unknown else "no metric is given"
        raise ValueError(f"metrics={metrics}: {problem}: choose from {known}")
    of_pairs = [name for name in metrics if metric_types[name.lower()] == EvaluatorType.VALUE]
    if of_pairs and len(of_pairs) < len(metrics):
        others = ", ".join(name for name in metrics if name not in of_pairs)
        raise ValueError(
            f"metrics {', '.join(of_pairs)} evaluate labelled pairs, {others} evaluate rankings: use one kind per run"
        )
    counting = [name for name in metrics if any("data.num" in need or "data.count" in need for need in _needs(name))]
    if counting and by_recbole:  # its Collector calls .cpu() on a number and on a Counter; no RecBole issue is known
        raise ValueError(
            f"metrics {', '.join(counting)} fail in RecBole 1.2.1's own evaluation: choose another protocol, or leave "
            f"them out"
        )
    if of_pairs and not by_recbole:
        raise ValueError(
            f"metrics {', '.join(of_pairs)} evaluate labelled pairs, the protocols rank items: use --protocol=recbole "
            f"with --eval_args={{'mode': 'labeled'}} and labels, or ranking metrics such as Hit, NDCG, GAUC"
        )


def _needs(metric):
    return metric_information[metric.lower()]


def metrics_of(ranking, config, data):
    """Returns RecBole's metrics of a ranking, and MRR over all candidates.

    An item's popularity counts all training interactions, including each user's first item. RecBole leaves the first
    item out for sequential models. Counting it gives an item the same popularity under every kind of model.

    Args:
        ranking (Ranking): n targets, with at least `n_top_needed` items.
        config (Config): `metrics`, `topk`.
        data (HeldOut): the split of the targets; `item_tokens` and `item_counts` are read.

    Returns:
        dict[str, float]: such as {'hit@10': .., 'ndcg@10': .., 'mrr': ..}.
    """
    register, struct = Register(config), DataStruct()
    n, device = len(ranking.ranks), ranking.ranks.device
    one_target = torch.ones(n, 1, dtype=torch.int, device=device)
    if register.need("rec.topk"):
        place = torch.arange(1, max(config["topk"]) + 1, device=device)
        struct.set("rec.topk", torch.cat([(ranking.ranks[:, None] == place).int(), one_target], dim=1))
    if register.need("rec.meanrank"):
        columns = (ranking.mean_ranks[:, None], ranking.n_candidates[:, None], one_target)
        struct.set("rec.meanrank", torch.cat(columns, dim=1))
    if register.need("rec.items"):
        struct.set("rec.items", ranking.items)
    if register.need("data.num_items"):
        struct.set("data.num_items", len(data.item_tokens))
    if register.need("data.count_items"):
        struct.set("data.count_items", {item: count for item, count in enumerate(data.item_counts.tolist()) if count})
    result = {name: float(value) for name, value in Evaluator(config).evaluate(struct).items()}
    result["mrr"] = round(float((1.0 / ranking.ranks.double()).mean()), config["metric_decimal_place"])
    return result

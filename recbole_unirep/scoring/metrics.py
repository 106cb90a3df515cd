"""recbole_unirep.scoring.metrics: every metric that RecBole's Evaluator has for rankings, and MRR over all candidates.

RecBole's Collector takes what a metric needs from [users, n_items] score tables; here it comes from ranks and the
best items.
"""

import torch
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import Register, metric_information, metric_types, metrics_dict
from recbole.utils import EvaluatorType


def n_top_needed(config):
    """How many of the best items the metrics look at.

    Args:
        config (Config): `metrics`, `topk`.
    """
    return max(config["topk"]) if Register(config).need("rec.items") else 0


def metric_names(config):
    """Names of the results of RecBole's Evaluator, such as 'hit@10' and 'gauc'.

    Args:
        config (Config): `metrics`, `topk`.

    Returns:
        list[str]: in its order.
    """
    names = []
    for metric in map(str.lower, config["metrics"]):
        has_topk = hasattr(metrics_dict[metric](config), "topk")
        names += [f"{metric}@{k}" for k in config["topk"]] if has_topk else [metric]
    return names


def check_metrics(metrics, by_recbole):
    """Looks at names of metrics.

    Args:
        metrics (str or list[str]): names.
        by_recbole (bool): whether RecBole's own evaluation takes them, under protocol recbole.

    Raises:
        ValueError: a name that RecBole does not know, or metrics that can't be had together or in this way.
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [name for name in metrics if str(name).lower() not in metrics_dict]
    if unknown or not metrics:
        known = ", ".join(metric.__name__ for metric in metrics_dict.values())
        raise ValueError(f"metrics={metrics}: {', '.join(map(str, unknown)) or 'none'} is not known: take {known}")
    of_pairs = [name for name in metrics if metric_types[name.lower()] == EvaluatorType.VALUE]
    if of_pairs and len(of_pairs) < len(metrics):
        others = ", ".join(name for name in metrics if name not in of_pairs)
        raise ValueError(
            f"metrics {', '.join(of_pairs)} judge labelled pairs and {others} rankings: take one kind a run"
        )
    counting = [name for name in metrics if any("data.num" in need or "data.count" in need for need in _needs(name))]
    if counting and by_recbole:  # its Collector calls .cpu() on a number and on a Counter; no thread is known
        raise ValueError(
            f"metrics {', '.join(counting)} stop RecBole 1.2.1's own evaluation with an error: take another protocol, "
            f"or leave them out"
        )
    if of_pairs and not by_recbole:
        raise ValueError(
            f"metrics {', '.join(of_pairs)} judge labelled pairs, the protocols rank: use --protocol=recbole with "
            f"--eval_args={{'mode': 'labeled'}} and labels, or metrics such as Hit, NDCG, GAUC"
        )


def _needs(metric):
    return metric_information[metric.lower()]


def metrics_of(ranking, config, data):
    """RecBole's metrics of a ranking, and MRR over all candidates.

    Item counts are those of all training interactions, a user's first item too, which RecBole leaves out for
    sequential models; so that the popularity of an item is the same for every kind of model.

    Args:
        ranking (Ranking): n targets, with as many items as `n_top_needed` says.
        config (Config): `metrics`, `topk`.
        data (HeldOut): where the targets are from; `item_tokens` and `item_counts` are read.

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

"""recbole_unirep.scoring.ranking_weights: chooses the weights of ranking features on the validation items.

The features of `score_features` do not take part in training, so one pass over the validation users gives the metric of
every value of a weight. The weights are chosen one after the other: the time for all combinations is better spent on
more users, because few users choose by chance. No test item is read.
"""

import math
from itertools import product
from typing import NamedTuple

import torch

from recbole_unirep import parallel
from recbole_unirep.scoring.evaluation import Ranking
from recbole_unirep.scoring.metrics import metrics_of, needs_items
from recbole_unirep.scoring.model_contract import ranking_bias
from recbole_unirep.scoring.scorers import make_scorer
from recbole_unirep.scoring.scores import n_above

GRID = {
    "history_similarity": (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0),
    "popularity_bias": (-0.2, 0.0, 0.1, 0.2, 0.4, 0.8),
}
USERS = 16384  # validation users that choose, drawn at random if there are more
BATCH = 128  # users per pass: their scores of a block fit into the processor's cache


class Choice(NamedTuple):
    """Chosen weights.

    Attributes:
        weights (dict[str, float]): the chosen weights, and those given that are not 0.
        valid_score (float): validation metric of these weights, over the users that chose.
        n_users (int): number of these users.
        table (list of dict): the metric of each combination that was tried.
    """

    weights: dict
    valid_score: float
    n_users: int
    table: list


@torch.no_grad()
def choose_ranking_weights(model, data, config, keys):
    """Finds the ranking weights with the best validation metric under full ranking.

    Args:
        model (recbole AbstractRecommender): in evaluation mode, with a ScoreBias.
        data (HeldOut): the validation split.
        config (Config): `valid_metric` and the keys of evaluation.
        keys (collection of str): weights to choose, names in GRID; the model's other weights stay.

    Returns:
        Choice or None: None if the metric needs more than ranks. Weights are chosen in the order of GRID, each with
        the others as they are by then; of equally good values, the first in the grid.
    """
    if needs_items(config["valid_metric"]):
        return None
    bias = ranking_bias(model)
    before = bias.ranking_weights_by_key()
    weights, table = dict(before), []
    for chosen in [key for key in GRID if key in keys] or [None]:
        values = {key: GRID[key] if key == chosen else (weight,) for key, weight in weights.items()}
        values = {key: tried for key, tried in values.items() if key == chosen or any(tried)}
        combinations = [dict(zip(values, combination)) for combination in product(*values.values())]
        bias.set_ranking_weights({**dict.fromkeys(before, 0.0), **dict.fromkeys(values, 1.0)})  # 0 leaves a feature out
        try:
            rows, above = _count_above(model, data, config, list(values.values()))
        finally:
            bias.set_ranking_weights(before)
        scores = [valid_metric_of(ranks, config, data) for ranks in 1 + above]
        best = scores.index((max if config["valid_metric_bigger"] else min)(scores))
        weights.update(combinations[best])
        table += [{**combination, "score": score} for combination, score in zip(combinations, scores)]
    used = {key: weight for key, weight in weights.items() if key in keys or weight}
    return Choice(used, scores[best], len(rows), table)


def valid_metric_of(ranks, config, data):
    """Returns the validation metric of ranks [n] among the whole catalogue; it must need nothing but ranks."""
    n_items = torch.full_like(ranks, len(data.item_tokens) - 1)
    ranking = Ranking(ranks, ranks.float(), n_items, ranks.new_zeros(len(ranks), max(config["topk"])))
    return metrics_of(ranking, config, data)[config["valid_metric"].lower()]


def scorer_of(model, data, config):
    """Returns the scorer of full ranking in batches of BATCH users."""
    limits = {"batch_size": BATCH, "scores_at_once": config["scores_at_once"]}
    return make_scorer(model, data, whole=True, device=config["device"], **limits)


def _count_above(model, data, config, values):
    """Returns the chosen rows, and for each combination of weights the items above each row's target, [G, n].

    Args:
        model, data, config: see `choose_ranking_weights`.
        values (list of tuple): possible weights of each feature; their combinations are in the order of `product`.
    """
    generator = torch.Generator().manual_seed(config["candidates_seed"])
    rows = torch.randperm(len(data), generator=generator)[:USERS].sort().values
    scorer = scorer_of(model, data, config)
    above = torch.zeros(math.prod(map(len, values)), len(rows), dtype=torch.int64)
    batches = data.batches(scorer.batch_size, rows)
    for places in batches[parallel.rank() :: parallel.world_size()]:
        whole = scorer(rows[places])
        scores, features = whole.without_features()
        fixed = () if whole.features is None else whole.features.weights[len(values) :]  # not chosen here
        target = data.targets.items[rows[places]].to(config["device"])
        row = torch.arange(len(target), device=target.device)
        own = scores.pairs(row, target)
        own_features = [feature.pairs(row, target).to(own.dtype) for feature in features]
        for first, block in scores.blocks():
            items = torch.arange(first, first + block.size(1), device=block.device)
            parts = [feature.block(items) for feature in features]
            terms = list(zip((*values, *((weight,) for weight in fixed)), parts, own_features))
            for place, count in enumerate(_counts(without_targets(block, first, target), own, terms)):
                above[place, places] += count.cpu()
    return rows, parallel.all_sum(above)


def without_targets(block, first, target):
    """Sets each row's score of its target [B] to -inf in the scores [B, C] of the items from `first` on, in place."""
    row = ((target >= first) & (target < first + block.size(1))).nonzero()[:, 0]
    block[row, target[row] - first] = -torch.inf
    return block


def _counts(scores, own, terms):
    """Yields the number of items above each target for every combination of weights, in the order of `product`.

    Args:
        scores (Tensor): scores of the items without the features, shape: [B, C].
        own (Tensor): those of the targets, shape: [B].
        terms (list of tuple): for each feature its possible weights, its values [B, C] or [1, C], and the targets' [B].

    Yields:
        Tensor: shape: [B], int64.
    """
    if not terms:
        yield n_above(scores, own)
        return
    (weights, values, of_own), *others = terms
    for weight in weights:
        yield from _counts(torch.add(scores, values, alpha=weight), torch.add(own, of_own, alpha=weight), others)

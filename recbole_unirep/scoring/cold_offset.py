"""recbole_unirep.scoring.cold_offset: chooses how far ranking raises new items, at a fixed loss for trained ones.

The softmax compares trained items only, so nothing makes the scores of new items comparable with theirs. A constant
added to the scores of all new items trades one for the other: the larger it is, the more of them are found, and the
more often one of them takes the place of a trained target. The validation items are all trained, so they show the loss;
the largest constant within LOSS is chosen. It does not change the order among the new items.

New items are those that the split keeps out of training. If there are none, SHARE of the trained items stand in for
them: each gets the vector that it would have if it were new, beside its own.
"""

from typing import NamedTuple

import torch

from recbole_unirep import parallel
from recbole_unirep.scoring.metrics import needs_items
from recbole_unirep.scoring.model_contract import EmbedsAsNew, ranking_bias
from recbole_unirep.scoring.ranking_weights import scorer_of, valid_metric_of, without_targets
from recbole_unirep.scoring.scores import n_above

COLD_OFFSET = "cold_offset"  # the config key
OFFSETS = [step / 10 for step in range(-40, 121)]  # cosine similarity at temperature 1/16 has scores from -16 to 16
LOSS = 0.01  # fraction of the validation metric that new items may cost
USERS = 8192  # validation users that choose, drawn at random if there are more
SHARE = 0.05  # fraction of trained items that stand in for new ones


class ColdOffset(NamedTuple):
    """The chosen offset.

    Attributes:
        value (float): number to add to the scores of new items.
        loss (float): fraction of the validation metric that new items with this offset cost.
    """

    value: float
    loss: float


@torch.no_grad()
def choose_cold_offset(model, data, config):
    """Finds the largest offset of OFFSETS within LOSS.

    Args:
        model (recbole AbstractRecommender): in evaluation mode, with a ScoreBias that adds no offset yet.
        data (HeldOut): the validation split.
        config (Config): `valid_metric` and the keys of evaluation.

    Returns:
        ColdOffset or None: None if the model cannot embed new items, or the metric needs more than ranks or is 0.
    """
    if needs_items(config["valid_metric"]) or not isinstance(model, EmbedsAsNew) or not model.embeds_new_items:
        return None
    generator = torch.Generator().manual_seed(config["candidates_seed"])
    is_new = torch.zeros(len(data.item_tokens), dtype=torch.bool)
    is_new[data.n_training_items :] = True
    stand_in = not is_new.any()
    if stand_in:
        n_new = max(1, round(SHARE * (len(is_new) - 1)))
        is_new[1 + torch.randperm(len(is_new) - 1, generator=generator)[:n_new]] = True
    new = is_new.nonzero()[:, 0].to(config["device"])
    rows, directions = model.embed_as_new(new) if stand_in else _of_split(model, new)
    users = (~is_new[data.targets.items]).nonzero()[:, 0]
    users = users[torch.randperm(len(users), generator=generator)[:USERS]].sort().values
    without, above = _count_above(model, data, config, users, rows, directions)
    without_new = valid_metric_of(1 + without, config, data)
    if not without_new:
        return None
    chosen = ColdOffset(OFFSETS[0], 0.0)
    for offset, more in zip(OFFSETS, above):
        loss = 1 - valid_metric_of(1 + without + more, config, data) / without_new
        if loss > LOSS:
            break
        chosen = ColdOffset(offset, loss)
    return chosen


def _of_split(model, items):
    return model.item_embedding.weight[items], ranking_bias(model).directions(items)


def _count_above(model, data, config, users, rows, directions):
    """Returns the number of trained items above each user's target [n], and of new items for each offset [O, n]."""
    scorer = scorer_of(model, data, config)
    trained, new = torch.zeros(len(users), dtype=torch.int64), torch.zeros(len(OFFSETS), len(users), dtype=torch.int64)
    batches = data.batches(scorer.batch_size, users)
    for places in batches[parallel.rank() :: parallel.world_size()]:
        scores = scorer(users[places])
        target = data.targets.items[users[places]].to(rows.device)
        own = scores.pairs(torch.arange(len(target), device=rows.device), target)
        for first, block in scores.blocks():
            block = without_targets(block, first, target)[:, : max(data.n_training_items - first, 0)]
            trained[places] += n_above(block, own).cpu()
        found = scores.states @ rows.T.to(scores.states.dtype)  # [B, N]
        if scores.features is not None:
            found = found + scores.features.of_new(directions)
        missing = (own[:, None] - found).sort(dim=1).values  # what each new item lacks to reach the target
        offsets = missing.new_tensor(OFFSETS).expand(len(missing), -1).contiguous()
        new[:, places] = torch.searchsorted(missing, offsets).T.cpu()
    return parallel.all_sum(trained), parallel.all_sum(new)

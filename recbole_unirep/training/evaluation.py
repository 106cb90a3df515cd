"""recbole_unirep.training.evaluation: ranks of held-out targets, one forward a user, and RecBole's metrics of them.

RecBole repeats a user's sequence for every sampled candidate and fills [users, n_items] tables with -inf (RecBole
issues 1103, 1751, 1537, 1400). Here each user is read once; candidates are gathered from the item table or from the
model's own full scores, and the target's rank is counted.
"""

import torch
from recbole.data.interaction import Interaction
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import Register

from recbole_unirep import parallel
from recbole_unirep.training.causal import sequence_states

PROTOCOLS = ("uni99", "full", "full_unseen")


@torch.no_grad()
def rank_targets(model, data, protocols, batch_size, device):
    """Rank of every target under every protocol.

    Args:
        model (recbole AbstractRecommender): in evaluation mode.
        data (HeldOut): n targets.
        protocols (list[str]): names out of PROTOCOLS.
        batch_size (int): users of one forward.
        device (torch.device): where the model is.

    Returns:
        dict[str, Tensor]: protocol to ranks, 1 is best, shape: [n], int64.

    Raises:
        ValueError: the model's scores hold NaN.
    """
    if not protocols:
        return {}
    scorer = _scorer(model, data, device)
    priority = data.tie_priority.to(device)
    row_start = torch.cumsum(data.targets.positions, 0) - data.targets.positions
    ranks = {protocol: torch.zeros(len(data), dtype=torch.int64) for protocol in protocols}
    only_sampled = list(protocols) == ["uni99"]
    for rows in data.batches(batch_size)[parallel.rank() :: parallel.world_size()]:
        target = data.targets.items[rows].to(device)[:, None]  # [B, 1]
        columns = torch.cat([target.cpu(), data.candidates[rows]], dim=1).to(device) if "uni99" in protocols else None
        if only_sampled:
            ranks["uni99"][rows] = _ranks(scorer(rows, columns), columns, priority).cpu()
            continue
        scores = scorer(rows, None)  # [B, n_items]
        if columns is not None:
            sampled = scores.gather(1, columns)
            ranks["uni99"][rows] = _ranks(sampled, columns, priority).cpu()
        everything = torch.arange(1, scores.size(1), device=device).expand(len(rows), -1)
        beats = _beats(scores[:, 1:], scores.gather(1, target), everything, target, priority)
        if "full" in protocols:
            ranks["full"][rows] = 1 + beats.sum(dim=1).cpu()
        if "full_unseen" in protocols:
            beats = beats.index_put(_earlier(data, rows, row_start, device), torch.tensor(False, device=device))
            ranks["full_unseen"][rows] = 1 + beats.sum(dim=1).cpu()
    return {protocol: parallel.all_sum(of_all) for protocol, of_all in ranks.items()}


def _earlier(data, rows, row_start, device):
    """Places of earlier items in the batch's [B, n_items - 1] table."""
    n_earlier = data.targets.positions[rows]
    batch_row = torch.repeat_interleave(torch.arange(len(rows)), n_earlier)
    within = torch.arange(len(batch_row)) - (torch.cumsum(n_earlier, 0) - n_earlier)[batch_row]
    items = data.earlier[1][row_start[rows][batch_row] + within]
    return batch_row.to(device), items.to(device) - 1


def _ranks(scores, items, priority):
    """Rank of the first column among all columns, shape: [B]."""
    return 1 + _beats(scores, scores[:, :1], items, items[:, :1], priority).sum(dim=1)


def _beats(scores, target_score, items, target, priority):
    """Where a candidate stands above the target: a higher score, or the same score and an earlier place in ties."""
    if torch.isnan(scores).any():
        raise ValueError("the model's scores hold NaN, so nothing can be ranked: training has diverged")
    beats = scores > target_score
    row, column = (scores == target_score).nonzero(as_tuple=True)
    beats[row, column] = priority[items[row, column]] < priority[target[row, 0]]
    return beats


def _scorer(model, data, device):
    """Function from row numbers and candidate columns ([B, C], or None for all items) to scores."""
    states = sequence_states(model)
    if states is not None:
        return _TableScorer(model, states, data, device)
    return _ModelScorer(model, data, device)


class _TableScorer:
    """Last state of a causal model times the item table, sequences trimmed to the batch's longest."""

    def __init__(self, model, states, data, device):
        self.states, self.data, self.device = states, data, device
        self.table = model.item_embedding.weight[: model.n_items]
        self.item_seq = data.interactions[model.ITEM_SEQ]
        self.length = data.interactions[model.ITEM_SEQ_LEN]

    def __call__(self, rows, columns):
        length = self.length[rows]
        item_seq = self.item_seq[rows, : int(length.max())].to(self.device)
        last = (length - 1).to(self.device)
        state = self.states(item_seq)[torch.arange(len(rows), device=self.device), last]  # [B, H]
        if columns is None:
            return state @ self.table.T
        return torch.einsum("bh,bch->bc", state, self.table[columns])


class _ModelScorer:
    """The model's own `full_sort_predict`; `predict` on every pair where it has none."""

    def __init__(self, model, data, device):
        self.model, self.data, self.device = model, data, device
        self.has_full_scores = True

    def __call__(self, rows, columns):
        batch = self.data.interactions[rows]
        if self.has_full_scores:
            try:
                scores = self.model.full_sort_predict(batch.to(self.device)).view(len(rows), -1)
                return scores if columns is None else scores.gather(1, columns)
            except NotImplementedError:  # RecBole's sign of a model that scores pairs only
                self.has_full_scores = False
        if columns is None:
            columns = torch.arange(self.data.dataset.item_num).expand(len(rows), -1)
        return self._pair_scores(batch, columns.cpu())

    def _pair_scores(self, batch, columns):
        """Scores of every row with each of its columns, pairs made a part at a time: with features they are wide."""
        dataset, items, scores = self.data.dataset, columns.reshape(-1), []
        for pairs in torch.arange(len(items)).split(self.data.config["pair_batch_size"]):
            rows = pairs // columns.size(1)
            part = Interaction({field: batch[field][rows] for field in batch})
            part.update(Interaction({dataset.iid_field: items[pairs]}))
            scores.append(self.model.predict(dataset.join(part).to(self.device)).view(-1))
        return torch.cat(scores).view(columns.shape)


def metrics_of(ranks, config):
    """Every metric that RecBole's Evaluator has, from ranks, and MRR over all candidates.

    Args:
        ranks (Tensor): rank of each target, shape: [n], int64.
        config (Config): `metrics`, `topk`.

    Returns:
        dict[str, float]: such as {'hit@10': .., 'ndcg@10': .., 'mrr': ..}.

    Raises:
        ValueError: a metric needs more than ranks.
    """
    register = Register(config)
    for need in ("rec.items", "rec.score", "rec.meanrank", "data.label"):
        if register.need(need):
            raise ValueError(f"metrics {config['metrics']}: one of them needs {need}, ranks give Hit, NDCG, MRR, ...")
    struct = DataStruct()
    place = torch.arange(1, max(config["topk"]) + 1)
    found = (ranks[:, None] == place).int()
    struct.set("rec.topk", torch.cat([found, torch.ones(len(ranks), 1, dtype=torch.int)], dim=1))
    result = {name: float(value) for name, value in Evaluator(config).evaluate(struct).items()}
    result["mrr"] = round(float((1.0 / ranks.double()).mean()), config["metric_decimal_place"])
    return result

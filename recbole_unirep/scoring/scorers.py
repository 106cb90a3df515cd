"""recbole_unirep.scoring.scorers: scores of one batch of users, within a limit on the scores in memory.

There are five ways to score, by kind of model:
    with states of prefixes: the last state times the item table;
    factorization machine: a vector of the user times a vector of the item;
    generative: the items found by search, and given candidates;
    any other model: the model's `full_sort_predict`;
    a model without `full_sort_predict`: `predict` on pairs.
"""

import torch
from recbole.data.interaction import Interaction

from recbole_unirep.scoring.model_contract import (
    Generative,
    prefix_states,
    ranking_bias,
    scored_table,
    sequence_states,
    trimmed,
)
from recbole_unirep.scoring.scores import GeneratedScores, GivenScores, PairScores, TableScores, columns_of_block


def make_scorer(model, data, *, whole, batch_size, scores_at_once, device):
    """Returns the scorer for a kind of model.

    Args:
        model (recbole AbstractRecommender): in evaluation mode.
        data (HeldOut): the split to rank.
        whole (bool): True if the whole catalogue is ranked, False if only given pairs are scored.
        batch_size (int): maximum number of users per forward pass.
        scores_at_once (int): maximum number of scores held in memory.
        device (torch.device): device of the model.

    Returns:
        callable: maps row numbers [B] to TableScores, GeneratedScores, GivenScores or PairScores. B must not exceed
        its attribute `batch_size`.
    """
    if isinstance(model, Generative):
        return _GenerativeScorer(model, data, batch_size, scores_at_once, device)
    states = prefix_states(model)
    if states is not None:
        return _TableScorer(model, states, data, batch_size, scores_at_once, device)
    if type(model).__name__ == "FM":
        return _FactorizationScorer(model, data, batch_size, scores_at_once, device)
    return _ModelScorer(model, data, whole, batch_size, scores_at_once, device)


class _TableScorer:
    """Scores of a model by its last state times the item table. Sequences are trimmed to the longest one of the batch.

    Padding is on the right, so no state up to the last item depends on it. RecBole's `full_sort_predict` processes all
    of the padding and gives the same states up to rounding.
    """

    def __init__(self, model, states, data, batch_size, scores_at_once, device):
        self.states, self.device = states, device
        self.table = scored_table(model).weight[: len(data.item_tokens)]  # without rows of special tokens
        self.score_bias = ranking_bias(model)
        self.longest = self.table[1:].norm(dim=1).max()
        self.item_seq = data.interactions[model.ITEM_SEQ]
        self.length = data.interactions[model.ITEM_SEQ_LEN]
        reads_users = sequence_states(model) is None
        self.users = data.interactions[model.USER_ID] if reads_users else None  # KeyError for histories without users
        self.batch_size = min(batch_size, scores_at_once)
        self.n_columns = columns_of_block(self.batch_size, scores_at_once)

    def __call__(self, rows):
        length = self.length[rows]
        item_seq = self.item_seq[rows, : int(length.max())].to(self.device)
        last, row = (length - 1).to(self.device), torch.arange(len(rows), device=self.device)
        is_last = torch.zeros_like(item_seq, dtype=torch.bool)
        is_last[row, last] = True
        users = None if self.users is None else self.users[rows].to(self.device)
        states = self.states(item_seq, users, is_last)  # [B, H]
        added = () if self.score_bias is None else self.score_bias(item_seq, last)
        return TableScores(states, self.table, self.longest, self.n_columns, *added)


class _FactorizationScorer:
    """Scores of a factorization machine as a dot product; RecBole computes them pair by pair.

    S(u, i) is the sum of the embeddings of all fields. S and the first-order term are sums of a user part and an item
    part. For any user v and item j the score (Rendle, "Factorization Machines", ICDM 2010, equations 1 and 5) is thus

        f(u, i) = <S(u, j) - S(v, j), S(v, i)> + f(v, i) + a term that is the same for all items.

    RecBole's `predict` is the sigmoid of f, which ranks items in the same order.
    """

    def __init__(self, model, data, batch_size, scores_at_once, device):
        self.model, self.data, self.device = model, data, device
        items = torch.arange(1, len(data.item_tokens))
        parts = [self._sides(torch.zeros_like(part), part) for part in items.split(data.config["pair_batch_size"])]
        self.origin = parts[0][0][:1]  # S(v, j), v the user of the first row and j item 1: [1, D]
        item_sides = torch.cat([torch.cat([summed, score[:, None]], dim=1) for summed, score in parts])
        self.table = torch.nn.functional.pad(item_sides, (0, 0, 1, 0))  # [n_items, D + 1]
        self.longest = self.table.norm(dim=1).max()
        self.batch_size = min(batch_size, scores_at_once)
        self.n_columns = columns_of_block(self.batch_size, scores_at_once)

    def __call__(self, rows):
        summed, _ = self._sides(rows, torch.ones_like(rows))
        states = torch.nn.functional.pad(summed - self.origin, (0, 1), value=1.0)  # [B, D + 1]
        return TableScores(states, self.table, self.longest, self.n_columns)

    def _sides(self, rows, items):
        """Returns the sums of the fields' embeddings [P, D] and the scores [P] of pairs."""
        pairs = _pairs(self.data, self.data.interactions[rows], items).to(self.device)
        return self.model.concat_embed_input_fields(pairs).sum(dim=1), self.model(pairs)


class _GenerativeScorer:
    """Scores of a generative model, from its encoding of the users' histories."""

    def __init__(self, model, data, batch_size, scores_at_once, device):
        self.model, self.data, self.device = model, data, device
        self.batch_size = max(1, min(batch_size, scores_at_once // len(data.item_tokens)))

    def __call__(self, rows):
        return GeneratedScores(self.model, self.model.memory_of(self.data.interactions[rows].to(self.device)))


class _ModelScorer:
    """Scores of the model's own `full_sort_predict`, or of `predict` on every pair if the model lacks it."""

    def __init__(self, model, data, whole, batch_size, scores_at_once, device):
        self.model, self.data, self.device = model, data, device
        self.n_items = len(data.item_tokens)
        self.pair_batch_size = data.config["pair_batch_size"]
        self.has_full_scores = self._has_full_scores()
        self.is_whole = whole or self.has_full_scores
        # Items added after training do not count, so the batches of users stay the same.
        at_once = scores_at_once // data.n_own_items if self.is_whole else scores_at_once
        self.batch_size = max(1, min(batch_size, at_once))

    def __call__(self, rows):
        batch = trimmed(self.data.interactions[rows], self.model)
        if self.has_full_scores:
            return GivenScores(self.model.full_sort_predict(batch.to(self.device)).view(len(rows), -1))
        if not self.is_whole:
            return PairScores(lambda row, items: self._predict(batch, row.cpu(), items.cpu()))
        row, items = (
            side.reshape(-1)
            for side in torch.meshgrid(torch.arange(len(rows)), torch.arange(self.n_items), indexing="ij")
        )
        return GivenScores(self._predict(batch, row, items).view(len(rows), -1))

    def _has_full_scores(self):
        """True if the model has a `full_sort_predict`; RecBole's models without one raise NotImplementedError."""
        try:
            self.model.full_sort_predict(self.data.interactions[torch.arange(1)].to(self.device))
        except NotImplementedError:
            return False
        return True

    def _predict(self, batch, rows, items):
        """Returns the scores of pairs, computed in parts: rows with features take much memory."""
        parts = zip(rows.split(self.pair_batch_size), items.split(self.pair_batch_size))
        pairs = (_pairs(self.data, batch[row], item).to(self.device) for row, item in parts)
        return torch.cat([self.model.predict(part).view(-1) for part in pairs])


def _pairs(data, rows, items):
    """Returns RecBole's rows [P] with the ids and features of `items` [P] in place of their own."""
    rows = Interaction({field: rows[field] for field in rows})
    rows.update(Interaction({data.dataset.iid_field: items}))
    return data.dataset.join(rows)

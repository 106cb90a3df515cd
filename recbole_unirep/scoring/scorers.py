"""recbole_unirep.scoring.scorers: scores of one batch of users, never more at once than asked for.

Five kinds of model: a causal one is its last state times the item table, a factorization machine a user's side times
an item's, a generative one finds some items and is asked for candidates, any other is asked by its own
`full_sort_predict`, and one without it by `predict` on pairs.
"""

import torch
from recbole.data.interaction import Interaction

from recbole_unirep.scoring.model_contract import Generative, ranking_bias, sequence_states, trimmed
from recbole_unirep.scoring.scores import GeneratedScores, GivenScores, PairScores, TableScores, columns_of_block


def make_scorer(model, data, *, whole, batch_size, scores_at_once, device):
    """The way to score that a model offers.

    Args:
        model (recbole AbstractRecommender): in evaluation mode.
        data (HeldOut): what is ranked.
        whole (bool): whether the whole catalogue is asked for, or pairs alone.
        batch_size (int): users of one forward.
        scores_at_once (int): the most scores to hold.
        device (torch.device): where the model is.

    Returns:
        callable: row numbers [B], at most its `batch_size`, to TableScores, GeneratedScores, GivenScores or
        PairScores.
    """
    if isinstance(model, Generative):
        return _GenerativeScorer(model, data, batch_size, scores_at_once, device)
    states = sequence_states(model)
    if states is not None:
        return _TableScorer(model, states, data, batch_size, scores_at_once, device)
    if type(model).__name__ == "FM":
        return _FactorizationScorer(model, data, batch_size, scores_at_once, device)
    return _ModelScorer(model, data, whole, batch_size, scores_at_once, device)


class _TableScorer:
    """Last state of a causal model, sequences trimmed to the batch's longest.

    Padding stands on the right, where no state up to the last item sees it: RecBole's `full_sort_predict` reads all of
    it and gives the same states up to rounding.
    """

    def __init__(self, model, states, data, batch_size, scores_at_once, device):
        self.states, self.device = states, device
        self.table = model.item_embedding.weight[: len(data.item_tokens)]  # some have rows of special tokens
        self.score_bias = ranking_bias(model)
        self.longest = self.table[1:].norm(dim=1).max()
        self.item_seq = data.interactions[model.ITEM_SEQ]
        self.length = data.interactions[model.ITEM_SEQ_LEN]
        self.batch_size = min(batch_size, scores_at_once)
        self.n_columns = columns_of_block(self.batch_size, scores_at_once)

    def __call__(self, rows):
        length = self.length[rows]
        item_seq = self.item_seq[rows, : int(length.max())].to(self.device)
        last, row = (length - 1).to(self.device), torch.arange(len(rows), device=self.device)
        states = self.states(item_seq)[row, last]  # [B, H]
        added = () if self.score_bias is None else self.score_bias(item_seq, last)
        return TableScores(states, self.table, self.longest, self.n_columns, *added)


class _FactorizationScorer:
    """A factorization machine's score as a product, where RecBole asks it pair by pair.

    S(u, i), the sum of all fields' embeddings, and the first order add up from a side of the user and one of the item,
    so that for any user v and item j the score (Rendle, "Factorization Machines", ICDM 2010, equations 1 and 5) is

        f(u, i) = <S(u, j) - S(v, j), S(v, i)> + f(v, i) + what is the same for all items.

    RecBole's `predict` is the sigmoid of it, in the same order.
    """

    def __init__(self, model, data, batch_size, scores_at_once, device):
        self.model, self.data, self.device = model, data, device
        items = torch.arange(1, len(data.item_tokens))
        of_items = [self._sides(torch.zeros_like(part), part) for part in items.split(data.config["pair_batch_size"])]
        self.origin = of_items[0][0][:1]  # S(v, j), v the user of the first row and j item 1: [1, D]
        of_items = torch.cat([torch.cat([summed, score[:, None]], dim=1) for summed, score in of_items])
        self.table = torch.nn.functional.pad(of_items, (0, 0, 1, 0))  # [n_items, D + 1]
        self.longest = self.table.norm(dim=1).max()
        self.batch_size = min(batch_size, scores_at_once)
        self.n_columns = columns_of_block(self.batch_size, scores_at_once)

    def __call__(self, rows):
        summed, _ = self._sides(rows, torch.ones_like(rows))
        states = torch.nn.functional.pad(summed - self.origin, (0, 1), value=1.0)  # [B, D + 1]
        return TableScores(states, self.table, self.longest, self.n_columns)

    def _sides(self, rows, items):
        """Sums of the fields' embeddings [P, D] and scores [P] of pairs."""
        pairs = _pairs(self.data, self.data.interactions[rows], items).to(self.device)
        return self.model.concat_embed_input_fields(pairs).sum(dim=1), self.model(pairs)


class _GenerativeScorer:
    """A generative model's memory of the users."""

    def __init__(self, model, data, batch_size, scores_at_once, device):
        self.model, self.data, self.device = model, data, device
        self.batch_size = max(1, min(batch_size, scores_at_once // len(data.item_tokens)))

    def __call__(self, rows):
        return GeneratedScores(self.model, self.model.memory_of(self.data.interactions[rows].to(self.device)))


class _ModelScorer:
    """The model's own `full_sort_predict`; `predict` on every pair where it has none."""

    def __init__(self, model, data, whole, batch_size, scores_at_once, device):
        self.model, self.data, self.device = model, data, device
        self.n_items = len(data.item_tokens)
        self.pair_batch_size = data.config["pair_batch_size"]
        self.has_full_scores = self._has_full_scores()
        self.is_whole = whole or self.has_full_scores
        # Items that were added after training do not count, so that users are scored in the same batches as before.
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
        """Whether the model has a `full_sort_predict`: NotImplementedError is RecBole's sign of one that has not."""
        try:
            self.model.full_sort_predict(self.data.interactions[torch.arange(1)].to(self.device))
        except NotImplementedError:
            return False
        return True

    def _predict(self, batch, rows, items):
        """Scores of pairs, made a part at a time: with features they are wide."""
        parts = zip(rows.split(self.pair_batch_size), items.split(self.pair_batch_size))
        pairs = (_pairs(self.data, batch[row], item).to(self.device) for row, item in parts)
        return torch.cat([self.model.predict(part).view(-1) for part in pairs])


def _pairs(data, rows, items):
    """RecBole's rows [P] with these items [P] and their features in place of their own."""
    rows = Interaction({field: rows[field] for field in rows})
    rows.update(Interaction({data.dataset.iid_field: items}))
    return data.dataset.join(rows)

"""Synthetic targets, models and scores for the tests of this folder."""

import numpy as np
import pytest
import torch

from recbole_unirep.data.candidates import Targets, tie_priority
from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.data.split import HeldOut
from recbole_unirep.scoring.evaluation import PROTOCOLS, rank_targets
from recbole_unirep.scoring.score_additions import repeats


class MadeTargets(HeldOut):
    """Held-out split whose target is each user's last item; `interactions` holds only the user ids."""

    def __init__(self, sequences, n_users, n_items):
        self.config, self.split, self._candidates = {"candidates_seed": 2020}, "test", None
        self.sequences = self.whole_sequences = sequences
        self.place_in_whole, self.n_training_items = None, n_items
        self.user_tokens = np.array(["[PAD]", *(f"u{user}" for user in range(1, n_users))])
        self.item_tokens = np.array(["[PAD]", *(f"i{item}" for item in range(1, n_items))])
        last = torch.from_numpy(sequences.items[sequences.offsets[2:] - 1])
        n_earlier = torch.from_numpy(np.diff(sequences.offsets)[1:] - 1)
        self.targets = Targets(torch.arange(1, n_users), last, n_earlier)
        self.tie_priority = tie_priority(self.item_tokens, 2020)
        self.item_counts = sequences.item_counts(np.append(0, n_earlier.numpy()), n_items)
        self.config["pair_batch_size"] = 1000
        users = torch.arange(1, n_users)
        self.interactions = Users(user=users, item_id_list=users[:, None], item_length=torch.ones_like(users))


class Users(dict):
    """Minimal stand-in for RecBole's Interaction: columns by name, rows by index."""

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else Users({k: v[key] for k, v in self.items()})

    def to(self, device):
        return self


class TableOfScores(torch.nn.Module):
    """A model with `full_sort_predict` that returns one row of a table per user."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def full_sort_predict(self, interaction):
        return self.scores[interaction["user"]].flatten()


class StatesAndItems(torch.nn.Module):
    """A causal model whose state is a row of a table. The history of user n is item n."""

    ITEM_SEQ, ITEM_SEQ_LEN = "item_id_list", "item_length"

    def __init__(self, states, table, repeat_bias=None):
        super().__init__()
        self.ranking_bias = None
        if repeat_bias is not None:
            bias = torch.as_tensor(repeat_bias)
            self.ranking_bias = lambda rows, last: (repeats(bias, rows, torch.arange(len(rows)), last).summed(), None)
        self.sequence_states = states.__getitem__
        self.n_items = len(table)
        self.item_embedding = torch.nn.Embedding.from_pretrained(table)


@pytest.fixture
def make_targets():
    """Builds targets from given histories, or from random ones with repeated items, sometimes the target itself."""

    def make(n_users=41, n_items=160, users=None, items=None):
        if users is None:
            draw = np.random.RandomState(0)
            users = np.repeat(np.arange(1, n_users), draw.randint(1, 10, n_users - 1))
            items = draw.randint(1, n_items, len(users))
            items[users == 1] = 7
        return MadeTargets(UserSequences.from_arrays(users, items, n_users), n_users, n_items)

    return make


@pytest.fixture
def rank():
    """Ranks targets by a score table [n_users, n_items], by (states, item table[, repeat_bias]), or by a model."""

    def rank_by(model, data, protocols=PROTOCOLS, batch_size=7, scores_at_once=100_000, n_top=0):
        if isinstance(model, tuple):
            model = StatesAndItems(*model)
        elif isinstance(model, torch.Tensor):
            model = TableOfScores(model)
        sizes = {"batch_size": batch_size, "scores_at_once": scores_at_once, "n_top": n_top}
        return rank_targets(model, data, protocols, **sizes, device=torch.device("cpu"))

    return rank_by

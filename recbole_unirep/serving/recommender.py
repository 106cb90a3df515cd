"""recbole_unirep.serving.recommender: a finished run, loaded once, that recommends items to histories."""

from collections.abc import Iterable
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from recbole.utils import ModelType

from recbole_unirep.data.candidates import tie_priority
from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.data.item_file import item_titles
from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.runs.folder import BEST
from recbole_unirep.scoring.model_contract import Generative, ranking_bias, scores_by_table
from recbole_unirep.scoring.scorers import make_scorer
from recbole_unirep.scoring.top_items import best_items
from recbole_unirep.serving.added_items import extended_dataset, read_added
from recbole_unirep.serving.histories import Asked, Histories, ReadItems
from recbole_unirep.serving.index import INDEXES, ItemIndex
from recbole_unirep.serving.output import check_out, recommendation_file
from recbole_unirep.serving.recommendation import Recommendation, ids_of

ROWS_AT_ONCE, ITEMS_AT_ONCE = 4096, 2**20  # histories and recommended items that are held at a time
ROWS_OF_RECALL = 256  # histories by which the recall of an index is told


class Recommender:
    """A finished run that recommends.

    Scores and their order are those of evaluation under full_unseen: earlier items are no candidates, equal scores
    stand in the seeded order of `candidates_seed`. A row has fewer than k items where fewer candidates are left, or
    where a generative model's search found fewer. Any number of threads may call one Recommender; they take turns
    for each batch of users, since some models keep what they compute.

    Args:
        config (Config): the run's.
        model (recbole AbstractRecommender): in evaluation mode.
        dataset (recbole Dataset): the training part of the run's data.
        index (str): 'exact', or out of INDEXES.
        added (AddedItems or None): items that were added to the run; the model takes them in.
    """

    def __init__(self, config, model, dataset, index="exact", added=None):
        if added is not None:
            model.add_items(added.embedded, [batch["n_items"] for batch in added.batches])
            dataset = extended_dataset(dataset, added)
        self.config, self.model, self.dataset = config, model, dataset
        self.item_tokens, self.user_tokens = (dataset.field2id_token[f] for f in (dataset.iid_field, dataset.uid_field))
        self.item_ids, self.user_ids = (dataset.field2token_id[f] for f in (dataset.iid_field, dataset.uid_field))
        self.sequences = dataset.whole_sequences
        n_own = len(self.item_tokens) - len(added.items if added else ())
        self.read_items = ReadItems(n_training_items(dataset), n_own)
        self.titles = np.append(item_titles(config, self.item_tokens[:n_own]), added.titles if added else ())
        priority = tie_priority(self.item_tokens[:n_own], config["candidates_seed"])  # added items come behind
        self.priority = torch.cat([priority, torch.arange(n_own, len(self.item_tokens))]).to(config["device"])
        self._lock = Lock()
        self.index = None if index == "exact" else self._index(index)

    @property
    def model_name(self):
        """Name of the run's model."""
        return self.config["model"]

    @property
    def dataset_name(self):
        """Name of the run's dataset."""
        return self.config["dataset"]

    @classmethod
    def load(cls, run, data_path=None, index="exact", **keys):
        """Reads a run back.

        Args:
            run (str or Path): its folder.
            data_path (str or None): where the datasets lie now; None is where the run found them.
            index (str): 'exact' compares every item by blocks of the catalogue; 'faiss' does so by its index of inner
                products, with the same result; 'hnsw' looks at a part of the items and may miss some (`recall`).
            **keys: settings of ranking that should differ from the run's, such as `num_beams` or `scores_at_once`.

        Returns:
            Recommender: of the chosen checkpoint, with the items that were added to the run.

        Raises:
            FileNotFoundError: the folder holds no run, or one without a checkpoint.
            ValueError: the checkpoint or the file of added items is damaged, the data have changed, or the model has
                no items for an index.
        """
        if index not in ("exact", *INDEXES):
            raise ValueError(f"index={index} is not known: choose one of exact, {', '.join(INDEXES)}")
        if Path(run, "config.yaml").is_file() and not Path(run, BEST).is_file():
            raise FileNotFoundError(
                f"{run} has no {BEST}, so there is nothing to recommend by: let an epoch end (run_recbole "
                f"--resume={run}), or name another run"
            )
        config, model, data = load_data_and_model(run, data_path, **keys)
        return cls(config, model, data.train, index, read_added(run))

    def recommend(self, items=None, users=None, k=10, candidates=None, keep_earlier=False):
        """The best items of each history, all in memory.

        Args:
            items (sequence of sequences of str or None): histories of item tokens, oldest first.
            users (sequence of str or None): tokens of known users, whose whole histories are used (training,
                validation and test); beside `items` whose histories these are. Neither: all known users whose
                history the model can read.
            k (int): how many items each.
            candidates (sequence of str or None): the only items that are recommended; None for the whole catalogue.
            keep_earlier (bool): whether items of the history may be recommended again.

        Returns:
            list of Recommendation: a row each, in the order of the rows.

        Raises:
            ValueError: an item or a user is unknown, a history is empty, k is larger than the candidates, or the
                model needs a user that a history has not.
        """
        return list(self.stream(items, users, k, candidates, keep_earlier))

    def stream(self, items=None, users=None, k=10, candidates=None, keep_earlier=False):
        """As `recommend`, one Recommendation after the other; no more than a part of them is held."""
        asked = self._asked(items, users)
        return self._stream(asked, *self._checked(k, candidates), keep_earlier, self.index)

    def write(self, out, items=None, users=None, k=10, candidates=None, keep_earlier=False, progress=iter):
        """Writes what `stream` gives into a file, whole or not at all.

        Args:
            out (str or Path): its ending decides: .csv, .jsonl or .parquet; a line (or row) is a recommended item:
                user, rank, item, title, score.
            progress (callable): given the stream, gives it back.

        Returns:
            int: histories that have been written.

        Raises:
            ValueError: as `recommend`, or the ending is unknown.
            ImportError: .parquet is asked for and pyarrow is not installed.
            FileNotFoundError: there is no such folder.
        """
        check_out(out)
        n_rows, rows = 0, self.stream(items, users, k, candidates, keep_earlier)
        with recommendation_file(out) as write:
            for row in progress(rows):
                write(row)
                n_rows += 1
        return n_rows

    def recall(self, items=None, users=None, k=10, keep_earlier=False):
        """What share of the k best items the index finds, over the first histories.

        Returns:
            tuple[float, int]: recall, and how many histories it is the mean of, ROWS_OF_RECALL at most.
        """
        asked, (k, is_candidate) = self._asked(items, users), self._checked(k, None)
        asked = next(asked.parts(ROWS_OF_RECALL))
        found, best = (list(self._stream(asked, k, is_candidate, keep_earlier, index)) for index in (self.index, None))
        shares = [len({*a.items} & {*b.items}) / max(1, len(b.items)) for a, b in zip(found, best)]
        return float(np.mean(shares)), len(shares)

    def _stream(self, asked, k, is_candidate, keep_earlier, index):
        for part in asked.parts(max(1, min(ROWS_AT_ONCE, ITEMS_AT_ONCE // k))):
            ids, scores = self._ranked(part, k, is_candidate, keep_earlier, index)
            for row, (items, values) in enumerate(zip(ids, scores)):
                items, values = items[values > -np.inf], values[values > -np.inf]
                user = None if part.users is None else str(self.user_tokens[part.users[row]])
                tokens = [str(token) for token in self.item_tokens[items]]
                yield Recommendation(user, tokens, self.titles[items].tolist(), values.tolist())

    def _ranked(self, asked, k, is_candidate, keep_earlier, index):
        """Item ids [n, k], int64, and their scores [n, k] of the rows."""
        histories = Histories(self.config, self.dataset, self.model, asked, self.read_items)
        ids, scores = np.zeros((len(histories), k), dtype=np.int64), np.full((len(histories), k), -np.inf, np.float32)
        nothing = torch.zeros(0, dtype=torch.int64)
        sizes = {"batch_size": self.config["eval_batch_size"], "scores_at_once": self.config["scores_at_once"]}
        device = self.config["device"]
        try:
            with self._lock, torch.no_grad():
                scorer = make_scorer(self.model, histories, whole=True, device=device, **sizes)
            for rows in histories.batches(scorer.batch_size):
                hidden = (nothing, nothing) if keep_earlier else histories.earlier_of(rows)
                hidden = tuple(part.to(device) for part in hidden)
                with self._lock, torch.no_grad():
                    best = best_items(scorer(rows), len(rows), self.priority, k, hidden, is_candidate, index)
                ids[rows.numpy()], scores[rows.numpy()] = (part.cpu().numpy() for part in best)
        except KeyError as error:
            reason = self._missing(*error.args[:1])
            if reason is None:
                raise
            raise ValueError(reason) from error
        return ids, scores

    def _asked(self, items, users):
        """The rows, checked."""
        user_ids = None if users is None else ids_of(users, self.user_ids, "users")
        is_sequential = self.config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        if items is None:
            if user_ids is None:
                read = self.read_items.part_of(self.sequences) if is_sequential else self.sequences
                user_ids = np.flatnonzero(np.diff(read.offsets))
            asked = Asked(self.sequences, user_ids, user_ids)
        else:
            if user_ids is not None and len(user_ids) != len(items):
                raise ValueError(f"{len(items)} histories and {len(user_ids)} users are given: give a user for each")
            asked = Asked(self._given(items), np.arange(len(items)), user_ids)
        if not len(asked.rows):
            raise ValueError("nobody is asked for: give at least one history or user")
        if is_sequential:
            self._check_histories(asked)
        return asked

    def _given(self, items):
        if any(isinstance(history, (str, bytes)) or not isinstance(history, Iterable) for history in items):
            raise ValueError("items are no lists of item tokens: give a list for each history, such as [['A', 'B']]")
        histories = [list(history) for history in items]
        ids = ids_of([token for history in histories for token in history], self.item_ids, "items")
        return UserSequences(ids, np.append(0, np.cumsum([len(history) for history in histories], dtype=np.int64)))

    def _check_histories(self, asked):
        """Raises ValueError where a model of sequences would have nothing to read."""
        for histories, what in (
            (asked.sequences, "is empty"),
            (self.read_items.part_of(asked.sequences), "has no item that took part in training"),
        ):
            empty = np.flatnonzero(np.diff(histories.offsets)[asked.rows] == 0)
            if len(empty):
                row = empty[0]
                who = f"number {row + 1}" if asked.users is None else f"of user {self.user_tokens[asked.users[row]]}"
                raise ValueError(f"the history {who} {what}: {self.config['model']} reads items, give at least one")

    def _checked(self, k, candidates):
        """k, and which item ids are candidates, None for all of them."""
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"k={k} is no number of items: give a whole number above 0")
        is_candidate, n_candidates, of_what = None, len(self.item_tokens) - 1, "items of the run"
        if candidates is not None:
            if self.index is not None:
                raise ValueError("candidates are compared one by one, an index holds all items: leave index=exact")
            is_candidate = torch.zeros(len(self.item_tokens), dtype=torch.bool)
            is_candidate[torch.from_numpy(ids_of(candidates, self.item_ids, "candidates"))] = True
            n_candidates, of_what = int(is_candidate.sum()), "candidates that are listed"
            is_candidate = is_candidate.to(self.config["device"])
        if k > n_candidates:
            raise ValueError(f"k={k} is more than the {n_candidates} {of_what}: lower k")
        is_searched = isinstance(self.model, Generative) and not self.model.exact_ranking and candidates is None
        if is_searched and k > self.model.num_beams:
            raise ValueError(
                f"k={k} is more than num_beams={self.model.num_beams} finds: raise num_beams, or set exact_ranking=True"
            )
        return int(k), is_candidate

    def _index(self, kind):
        name, added = self.config["model"], ranking_bias(self.model)
        if not scores_by_table(self.model):
            raise ValueError(
                f"index={kind} needs a model whose scores are a state times a table of items, such as SASRec, GRU4Rec, "
                f"HSTU or UniRep over them; {name} of this run is none: leave index=exact"
            )
        if added is not None:
            raise ValueError(
                f"index={kind} holds items' vectors alone, {name} of this run adds {', '.join(added.weights)} to "
                f"scores: leave index=exact"
            )
        with torch.no_grad():
            return ItemIndex(self.model.item_embedding.weight[: len(self.item_tokens)], kind)

    def _missing(self, field=None):
        """What to say of a column that the model looked for in vain; None where it looked for none."""
        name = self.config["model"]
        if field == self.dataset.uid_field:
            return f"{name} reads the user, these histories have none: ask for known users, or take a model of items"
        if isinstance(field, str):
            return f"{name} reads '{field}', which no history to recommend for has: take another model"
        return None

"""recbole_unirep.serving.recommender: loads a finished run and recommends items for users or histories."""

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
from recbole_unirep.runs.folder import BEST, CONFIG
from recbole_unirep.scoring.model_contract import Generative, ranking_bias, scores_by_table
from recbole_unirep.scoring.scorers import make_scorer
from recbole_unirep.scoring.top_items import best_items
from recbole_unirep.serving.added_items import extended_dataset, read_added
from recbole_unirep.serving.histories import Histories, ReadItems, Requests
from recbole_unirep.serving.index import INDEXES, ItemIndex
from recbole_unirep.serving.output import check_out, recommendation_file
from recbole_unirep.serving.recommendation import Recommendation, ids_of

ROWS_AT_ONCE, ITEMS_AT_ONCE = 4096, 2**20  # maximum histories and recommended items in memory
RECALL_ROWS = 256  # histories used to measure the recall of an index


class Recommender:
    """Recommends items from a finished run.

    Scores and ranking are as in evaluation under full_unseen: seen items are excluded, ties are ordered by
    `candidates_seed`. A row has fewer than k items if fewer candidates are left, or if the search of a generative model
    found fewer. A Recommender is safe to share between threads. A lock lets one thread at a time score a batch, since
    some models cache what they compute.

    Args:
        config (Config): config of the run.
        model (recbole AbstractRecommender): model in evaluation mode; `added` items are appended to it.
        dataset (recbole Dataset): training part of the run's data.
        index (str): 'exact' or one of INDEXES.
        added (AddedItems or None): items that were added to the run.
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
        priority = tie_priority(self.item_tokens[:n_own], config["candidates_seed"])  # added items come last
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
        """Loads a run.

        Args:
            run (str or Path): folder of the run.
            data_path (str or None): folder of the datasets; None uses the path stored in the run.
            index (str): 'exact' scores every item, in blocks of the catalogue; 'faiss' searches an exact index of inner
                products, with the same result; 'hnsw' searches part of the items and may miss some (`recall`).
            **keys: ranking settings that override those of the run, such as `num_beams` or `scores_at_once`.

        Returns:
            Recommender: model of the selected checkpoint, with the items that were added to the run.

        Raises:
            FileNotFoundError: the folder holds no run or no checkpoint.
            ValueError: the checkpoint or the file of added items is damaged, the data have changed, or the model does
                not support an index.
        """
        if index not in ("exact", *INDEXES):
            raise ValueError(f"index={index} is not known: choose one of exact, {', '.join(INDEXES)}")
        if Path(run, CONFIG).is_file() and not Path(run, BEST).is_file():
            raise FileNotFoundError(
                f"{run} has no {BEST}, so it cannot recommend: finish an epoch (run_recbole --resume={run}), or choose "
                f"another run"
            )
        config, model, data = load_data_and_model(run, data_path, **keys)
        return cls(config, model, data.train, index, read_added(run))

    def recommend(self, items=None, users=None, k=10, candidates=None, keep_earlier=False):
        """Recommends the best items for each history; returns all rows in memory.

        Args:
            items (sequence of sequences of str or None): histories of item tokens, oldest first.
            users (sequence of str or None): tokens of known users. Without `items`, their whole histories are used
                (training, validation and test). With `items`, the user of each history. If both are None: all known
                users whose history the model can read.
            k (int): number of items per row.
            candidates (sequence of str or None): recommend only these items; None for the whole catalogue.
            keep_earlier (bool): True may recommend items of the history again.

        Returns:
            list of Recommendation: one per history or user, in the given order.

        Raises:
            ValueError: an item or a user is unknown, a history is empty, k is larger than the number of
                candidates, or the model needs a user and none is given.
        """
        return list(self.stream(items, users, k, candidates, keep_earlier))

    def stream(self, items=None, users=None, k=10, candidates=None, keep_earlier=False):
        """Like `recommend`, but yields rows one by one and holds only part of them in memory."""
        requests = self._requests(items, users)
        return self._stream(requests, *self._options(k, candidates), keep_earlier, self.index)

    def write(self, out, items=None, users=None, k=10, candidates=None, keep_earlier=False, progress=iter):
        """Writes the rows of `stream` to a file. If writing fails, no file appears. Other arguments as in `recommend`.

        Args:
            out (str or Path): file ending in .csv, .jsonl or .parquet, with one line or row per recommended item: user,
                rank, item, title, score.
            progress (callable): wraps the stream, such as a progress bar.

        Returns:
            int: number of histories written.

        Raises:
            ValueError: as in `recommend`, or the file ending is unknown.
            ImportError: `out` ends in .parquet and pyarrow is not installed.
            FileNotFoundError: the folder of `out` does not exist.
        """
        check_out(out)
        n_rows, rows = 0, self.stream(items, users, k, candidates, keep_earlier)
        with recommendation_file(out) as write:
            for row in progress(rows):
                write(row)
                n_rows += 1
        return n_rows

    def recall(self, items=None, users=None, k=10, keep_earlier=False):
        """Measures the fraction of the k best items that the index finds, averaged over the first histories.

        Returns:
            tuple[float, int]: mean recall and the number of histories, at most RECALL_ROWS.
        """
        requests, (k, is_candidate) = self._requests(items, users), self._options(k, None)
        part = next(requests.parts(RECALL_ROWS))
        found, best = (list(self._stream(part, k, is_candidate, keep_earlier, index)) for index in (self.index, None))
        shares = [len({*a.items} & {*b.items}) / max(1, len(b.items)) for a, b in zip(found, best)]
        return float(np.mean(shares)), len(shares)

    def _stream(self, requests, k, is_candidate, keep_earlier, index):
        for part in requests.parts(max(1, min(ROWS_AT_ONCE, ITEMS_AT_ONCE // k))):
            ids, scores = self._ranked(part, k, is_candidate, keep_earlier, index)
            for row, (items, values) in enumerate(zip(ids, scores)):
                items, values = items[values > -np.inf], values[values > -np.inf]
                user = None if part.users is None else str(self.user_tokens[part.users[row]])
                tokens = [str(token) for token in self.item_tokens[items]]
                yield Recommendation(user, tokens, self.titles[items].tolist(), values.tolist())

    def _ranked(self, requests, k, is_candidate, keep_earlier, index):
        """Best item ids of each row, int64, and their scores, shape: [n, k] each."""
        histories = Histories(self.config, self.dataset, self.model, requests, self.read_items)
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
            reason = self._missing_column(*error.args[:1])
            if reason is None:
                raise
            raise ValueError(reason) from error
        return ids, scores

    def _requests(self, items, users):
        """Returns the Requests for `items` and `users`; raises ValueError if they are invalid."""
        user_ids = None if users is None else ids_of(users, self.user_ids, "users")
        is_sequential = self.config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        if items is None:
            if user_ids is None:
                read = self.read_items.filtered(self.sequences) if is_sequential else self.sequences
                user_ids = np.flatnonzero(np.diff(read.offsets))
            requests = Requests(self.sequences, user_ids, user_ids)
        else:
            if user_ids is not None and len(user_ids) != len(items):
                raise ValueError(f"{len(items)} histories and {len(user_ids)} users are given: give one user each")
            requests = Requests(self._sequences(items), np.arange(len(items)), user_ids)
        if not len(requests.rows):
            raise ValueError("no history or user is given: give at least one")
        if is_sequential:
            self._check_histories(requests)
        return requests

    def _sequences(self, items):
        if any(isinstance(history, (str, bytes)) or not isinstance(history, Iterable) for history in items):
            raise ValueError("items must be lists of item tokens: give one list per history, such as [['A', 'B']]")
        histories = [list(history) for history in items]
        ids = ids_of([token for history in histories for token in history], self.item_ids, "items")
        return UserSequences(ids, np.append(0, np.cumsum([len(history) for history in histories], dtype=np.int64)))

    def _check_histories(self, requests):
        """Raises ValueError if a history has no item that a sequential model can read."""
        for histories, what in (
            (requests.sequences, "is empty"),
            (self.read_items.filtered(requests.sequences), "has no item that took part in training"),
        ):
            empty = np.flatnonzero(np.diff(histories.offsets)[requests.rows] == 0)
            if len(empty):
                row = empty[0]
                users = requests.users
                which = f"{row + 1}" if users is None else f"of user {self.user_tokens[users[row]]}"
                raise ValueError(f"history {which} {what}: {self.config['model']} needs at least one item")

    def _options(self, k, candidates):
        """Checks k and candidates; returns k and a mask of candidate item ids, None for all items."""
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"k={k} is not a number of items: give a whole number above 0")
        is_candidate, n_candidates, kind = None, len(self.item_tokens) - 1, "items of the run"
        if candidates is not None:
            if self.index is not None:
                raise ValueError("candidates cannot be combined with an index, which holds all items: use index=exact")
            is_candidate = torch.zeros(len(self.item_tokens), dtype=torch.bool)
            is_candidate[torch.from_numpy(ids_of(candidates, self.item_ids, "candidates"))] = True
            n_candidates, kind = int(is_candidate.sum()), "candidates given"
            is_candidate = is_candidate.to(self.config["device"])
        if k > n_candidates:
            raise ValueError(f"k={k} is more than the {n_candidates} {kind}: lower k")
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
                f"index={kind} needs a model that scores by the product of a state and an item table, such as SASRec, "
                f"GRU4Rec, HSTU or UniRep over them, which {name} of this run does not: use index=exact"
            )
        if added is not None:
            raise ValueError(
                f"index={kind} holds only item vectors, but {name} of this run adds {', '.join(added.weights)} to "
                f"scores: use index=exact"
            )
        with torch.no_grad():
            return ItemIndex(self.model.item_embedding.weight[: len(self.item_tokens)], kind)

    def _missing_column(self, field=None):
        """Error text for a column that the model needs and requests do not have; None if `field` is not a column."""
        name = self.config["model"]
        if field == self.dataset.uid_field:
            return f"{name} needs a user and these histories have none: give known users, or another model"
        if isinstance(field, str):
            return f"{name} needs '{field}', which histories do not contain: choose another model"
        return None

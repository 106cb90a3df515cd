"""recbole_unirep.serving.exported: loads an export and recommends without the run's data, RecBole or torch.

Every file is compared with its checksum. Loading never runs code: safetensors and ONNX hold numbers and known
operators, the other files are JSON. A checksum detects damage, it does not prove who wrote the files.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from recbole_unirep.files.manifest import read_manifest
from recbole_unirep.serving.recommendation import Recommendation, ids_of
from recbole_unirep.serving.score_parts import ScoreParts

try:
    import onnxruntime
except ImportError as error:
    raise ImportError(
        f"reading an export needs onnxruntime ({error}): install it with pip install 'recbole-unirep[export]'"
    ) from error

SCORES_AT_ONCE, BLOCK = 2**23, 2**16  # scores held in memory; items per matrix product


class ExportedRecommender:
    """Recommends from an export of `unirep export`. Safe to share between threads.

    Attributes:
        manifest (dict): model, dataset, versions, how scores are computed, files.
        item_tokens (np.ndarray): row 0 pads, shape: [n_items], str.
        titles (np.ndarray): "" if an item has none, shape: [n_items], str.
        item_vectors (np.ndarray): row 0 pads, shape: [n_items, H], float32.

    Args:
        folder (str or Path): folder of the export.
        n_threads (int): threads per forward pass; 0 lets onnxruntime choose.

    Raises:
        FileNotFoundError: the folder holds no export, or a file is missing.
        ValueError: a file differs from its checksum.
    """

    def __init__(self, folder, n_threads=0):
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        names = json.loads((self.folder / "item_tokens.json").read_text(encoding="utf-8"))
        self.item_tokens, self.titles = (np.array(names[key], dtype=object) for key in ("tokens", "titles"))
        self.item_ids = {token: number for number, token in enumerate(names["tokens"])}
        self.user_ids = {}
        if self.manifest["encoder"] is None:
            return
        items = self._arrays("items.safetensors")
        self.item_vectors, self.tie_order = items["item_vectors"], items["tie_order"]
        has_parts = bool(self.manifest["additions"])
        self.parts = ScoreParts(self._arrays("additions.safetensors")) if has_parts else None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        encoder = (self.folder / self.manifest["encoder"]["file"]).read_bytes()
        self._encoder = onnxruntime.InferenceSession(encoder, options, providers=["CPUExecutionProvider"])

    @property
    def model_name(self):
        """Name of the run's model."""
        return self.manifest["model"]

    @property
    def dataset_name(self):
        """Name of the run's dataset."""
        return self.manifest["dataset"]

    def weights(self):
        """Returns the model's state_dict, including names that share their values.

        Returns:
            dict[str, np.ndarray]: arrays by name.
        """
        weights = self._arrays("weights.safetensors")
        return {**weights, **{name: weights[first] for name, first in self.manifest["shared_weights"].items()}}

    def scores(self, items):
        """Scores all items for each history, as in the run's evaluation.

        Args:
            items (sequence of sequences of str): histories of item tokens, oldest first.

        Returns:
            np.ndarray: scores in the order of `item_tokens[1:]`, shape: [B, n_items - 1], float32.

        Raises:
            ValueError: an item is unknown, a history is empty, or the export has no scores.
        """
        return self._scores(self._histories(items))[:, 1:]

    def recommend(self, items=None, users=None, k=10, candidates=None, keep_earlier=False):
        """Recommends items like `Recommender.recommend`, but only for histories: an export contains no users.

        Args:
            items (sequence of sequences of str): histories of item tokens, oldest first.
            users (None): must be None; makes the signature that of `Recommender.recommend`.
            k (int): number of items per history.
            candidates (sequence of str or None): recommend only these items; None for all.
            keep_earlier (bool): True may recommend items of the history again.

        Returns:
            list of Recommendation: one per history.

        Raises:
            ValueError: an item is unknown, a history is empty, or k is larger than the candidates.
        """
        if users is not None or items is None:
            raise ValueError("an export contains no users: give histories of items, or recommend from the run itself")
        histories, is_candidate = self._histories(items), self._candidates(k, candidates)
        n_rows, found = max(1, SCORES_AT_ONCE // len(self.item_tokens)), []
        for first in range(0, len(histories), n_rows):
            part = histories[first : first + n_rows]
            for history, row in zip(part, self._scores(part)):
                is_left = is_candidate.copy()
                if not keep_earlier:
                    is_left[history] = False
                best = self._best(row, np.flatnonzero(is_left), k)
                tokens, titles = (names[best].tolist() for names in (self.item_tokens, self.titles))
                found.append(Recommendation(None, tokens, titles, row[best].tolist()))
        return found

    def _best(self, scores, items, k):
        """The k best of the given item ids; ties in the order of evaluation."""
        if len(items) > k:
            least = np.partition(scores[items], len(items) - k)[len(items) - k]
            items = items[scores[items] >= least]
        return items[np.lexsort((self.tie_order[items], -scores[items]))][:k]

    def _scores(self, histories):
        """Scores of all item ids for each history, shape: [B, n_items], float32."""
        width = self.manifest["max_length"]
        read = [history[self._is_read(history)][-width:] for history in histories]
        item_seq = np.zeros((len(read), width), dtype=np.int64)
        for row, items in zip(item_seq, read):
            row[: len(items)] = items
        length = np.array([len(items) for items in read], dtype=np.int64)
        inputs = {"item_vectors": self.item_vectors, "item_seq": item_seq, "length": length}
        states = self._encoder.run(["state"], inputs)[0].astype(np.float64)
        scores = np.empty((len(read), len(self.item_vectors)))
        for first in range(0, len(self.item_vectors), BLOCK):
            block = self.item_vectors[first : first + BLOCK].astype(np.float64)
            scores[:, first : first + BLOCK] = states @ block.T
        if self.parts is not None:
            self.parts.add_to(scores, read)
        return scores.astype(np.float32)

    def _histories(self, items):
        """Item ids of each history; raises ValueError if a history is invalid."""
        if self.manifest["encoder"] is None:
            raise ValueError(f"{self.folder} cannot recommend; {self.manifest['scores']}")
        if isinstance(items, (str, bytes)) or any(
            isinstance(history, (str, bytes)) or not isinstance(history, Iterable) for history in items
        ):
            raise ValueError("items must be lists of item tokens: give one list per history, such as [['A', 'B']]")
        histories = [ids_of(list(history), self.item_ids, "items") for history in items]
        if not histories:
            raise ValueError("no history is given: give at least one")
        for number, history in enumerate(histories, start=1):
            if not self._is_read(history).any():
                what = "has no item that took part in training" if len(history) else "is empty"
                raise ValueError(f"history {number} {what}: {self.manifest['model']} needs at least one item")
        return histories

    def _is_read(self, history):
        """True for items of a history that the encoder reads: trained items and items added after training."""
        return (history <= self.manifest["n_trained_items"]) | (history >= self.manifest["first_added_item"])

    def _candidates(self, k, candidates):
        """True for item ids that may be recommended, shape: [n_items], bool."""
        is_candidate, kind = np.ones(len(self.item_tokens), dtype=bool), "items of the run"
        if candidates is not None:
            is_candidate[:], kind = False, "candidates given"
            is_candidate[ids_of(candidates, self.item_ids, "candidates")] = True
        is_candidate[0] = False
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"k={k} is not a number of items: give a whole number above 0")
        if k > is_candidate.sum():
            raise ValueError(f"k={k} is more than the {is_candidate.sum()} {kind}: lower k")
        return is_candidate

    def _arrays(self, name):
        try:
            return load_file(self.folder / name)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{self.folder / name} can't be read ({error}): export the run again") from error

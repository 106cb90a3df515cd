"""recbole_unirep.serving.score_parts: terms that UniRep adds to the product of state and item, computed with numpy.

The values equal those of `model.score_bias` at the last position of a history, where its corrections for training rows
do not apply. Each term has the name of its config key.

Shapes: B histories, N item ids with padding, D dimensions.
"""

import numpy as np

PARTS = {
    "repeat_bias": ("repeat_bias",),
    "transition_bias": ("transition_bias", "follower_offsets", "followers", "follower_values"),
    "history_similarity": ("history_similarity", "directions"),
    "popularity_bias": ("popularity_bias", "log_counts"),
    "cold_offset": ("cold_offset", "first_new_item"),
}


class ScoreParts:
    """Adds the score terms of an export.

    Args:
        arrays (dict[str, np.ndarray]): arrays in PARTS of the terms in use. The array named like its term is the
            weight, shape: [], float32; 'transition_bias' has one weight for the last item, the one before, ..., shape:
            [W]. Successors of item i are entries `follower_offsets[i]` to `follower_offsets[i + 1] - 1`. `directions`
            are normalized or zero, shape: [N, D], float32; `log_counts`, shape: [N], float32. Items from id
            `first_new_item` on took no part in training, shape: [], int64.

    Raises:
        ValueError: an array is missing or unknown.
    """

    def __init__(self, arrays):
        self.names = [name for name in PARTS if name in arrays]
        wanted = {array for name in self.names for array in PARTS[name]}
        if wanted != arrays.keys():
            raise ValueError(f"score additions are {sorted(arrays)}, expected {sorted(wanted)}: export the run again")
        self.arrays = arrays

    def add_to(self, scores, histories):
        """Adds all terms to `scores` in place.

        Args:
            scores (np.ndarray): scores of all item ids, shape: [B, N], float64.
            histories (list of np.ndarray): item ids of each history that the model reads, oldest first, int64.
        """
        for row, read in zip(scores, histories):
            for name in self.names:
                getattr(self, f"_{name}")(row, read)

    def _repeat_bias(self, row, read):
        row[np.unique(read)] += self.arrays["repeat_bias"]

    def _transition_bias(self, row, read):
        offsets, weights = self.arrays["follower_offsets"], self.arrays["transition_bias"]
        for weight, item in zip(weights, read[::-1]):
            followers = slice(offsets[item], offsets[item + 1])
            row[self.arrays["followers"][followers]] += weight * self.arrays["follower_values"][followers]

    def _history_similarity(self, row, read):
        directions = self.arrays["directions"]
        nearest = (directions @ directions[np.unique(read)].T).max(axis=1)
        row += float(self.arrays["history_similarity"]) * nearest

    def _popularity_bias(self, row, _):
        row += float(self.arrays["popularity_bias"]) * self.arrays["log_counts"]

    def _cold_offset(self, row, _):
        row[int(self.arrays["first_new_item"]) :] += self.arrays["cold_offset"]

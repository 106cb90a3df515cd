"""recbole_unirep.serving.score_parts: what UniRep adds to the product of state and item, as arrays, by numpy alone.

The same numbers as `model.score_bias` gives where a history ends; what it takes out of its own row in training is not
there then. Names are the keys that ask for them.

Shapes: B histories, N item ids with padding, D dimensions.
"""

import numpy as np

PARTS = {
    "repeat_bias": ("repeat_bias",),
    "transition_bias": ("transition_bias", "follower_offsets", "followers", "follower_values"),
    "history_similarity": ("history_similarity", "directions"),
    "popularity_bias": ("popularity_bias", "log_counts"),
}


class ScoreParts:
    """What is added to scores.

    Args:
        arrays (dict[str, np.ndarray]): those of PARTS in use. Under the name of each key its weight, shape: [], of
            'transition_bias' one for the last item, the one before, ..., shape: [W], float32; followers of item i are
            the entries `follower_offsets[i]` to `follower_offsets[i + 1]`; `directions` are of length 1 or 0, shape:
            [N, D], float32; `log_counts`, shape: [N], float32.

    Raises:
        ValueError: an array is missing, or one is there that is not known.
    """

    def __init__(self, arrays):
        self.names = [name for name in PARTS if name in arrays]
        wanted = {array for name in self.names for array in PARTS[name]}
        if wanted != arrays.keys():
            raise ValueError(f"score additions hold {sorted(arrays)}, wanted are {sorted(wanted)}: export the run anew")
        self.arrays = arrays

    def add_to(self, scores, histories):
        """Adds in place.

        Args:
            scores (np.ndarray): of all item ids, shape: [B, N], float64.
            histories (list of np.ndarray): item ids that each history's model reads, oldest first, int64.
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

"""CategoricalIDs: an item's categories, from broad to narrow, as its semantic ID.

Reference:
    The heuristic hierarchies of the tutorial on semantic IDs; Wenyue Hua et al. "How to Index Item IDs for
        Recommendation Foundation Models" (semantic indexing by category), arXiv:2305.06569.
"""

from collections import Counter

import numpy as np

from recbole_unirep.tokenizer.assigned import AssignedTokenizer, column


class CategoricalIDs(AssignedTokenizer):
    """Each column is a level; a column of lists has as many levels as its longest list has entries.

    A level's codes are its values, the most frequent first. A level holds -1 if an item has no value for it, or one
    that `fit` has not seen.

    Args:
        id_columns (list of str): columns of the `.item` file, broad to narrow.
    """

    def __init__(self, *, id_columns: list):
        super().__init__()
        if not isinstance(id_columns, (list, tuple)) or not id_columns:
            raise ValueError(f"id_columns={id_columns} names no column: write --id_columns=[categories,brand]")
        self.id_columns = list(id_columns)

    @property
    def n_levels(self):
        """Levels that `fit` found; 0 before `fit`."""
        return len(self._known()) if len(self.knowledge) else 0

    @property
    def codebook_sizes(self):
        """Values of each level."""
        return [len(values) for _, _, values in self._known()]

    @property
    def codebook_size(self):
        """Values of the level with the most values."""
        return max(self.codebook_sizes)

    def _learned(self, items):
        levels = []
        for name in self.id_columns:
            paths = [_path(value) for value in column(items, name)]
            for place in range(max(map(len, paths))):
                counts = Counter(path[place] for path in paths if place < len(path))
                values = sorted(counts, key=lambda value: (-counts[value], value))
                levels.append((name, place, values))
        if not levels:
            raise ValueError(f"no item has a value in {', '.join(self.id_columns)}: choose other id_columns")
        return levels

    def _codes(self, items):
        known = self._known()
        paths = {name: [_path(value) for value in column(items, name)] for name in self.id_columns}
        codes = np.full((len(items), len(known)), -1)
        for level, (name, place, values) in enumerate(known):
            code = {value: number for number, value in enumerate(values)}
            codes[:, level] = [code.get(path[place], -1) if place < len(path) else -1 for path in paths[name]]
        return codes


def _path(value):
    """Values of a cell as a list."""
    return ([value] if value else []) if isinstance(value, str) else list(value)

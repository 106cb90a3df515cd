"""Writes atomic files of random interactions, for measurements at scale.

python benchmarks/synthetic.py FOLDER NAME N_USERS N_ITEMS N_INTERACTIONS
"""

import sys
from pathlib import Path

import numpy as np

ROWS_AT_ONCE = 1_000_000


def write(folder, name, n_users, n_items, n_interactions):
    """Writes `<folder>/<name>/<name>.inter` if it is missing: every item once, then items by a Zipf-like popularity.

    Args:
        folder (Path): folder that holds the datasets' folders.
        name (str): name of the dataset.
        n_users (int): number of users, who have about equally many interactions.
        n_items (int): number of items, at most n_interactions.
        n_interactions (int): number of rows, in time order.
    """
    file = Path(folder) / name / f"{name}.inter"
    if file.is_file():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    popularity = 1 / np.arange(1, n_items + 1)
    drawn = draw.choice(n_items, n_interactions - n_items, p=popularity / popularity.sum())
    items = draw.permutation(np.concatenate([np.arange(n_items), drawn]))
    users = draw.permutation(np.arange(n_interactions) % n_users)
    partial = file.with_suffix(".partial")
    with open(partial, "w", encoding="utf-8") as out:
        out.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for start in range(0, n_interactions, ROWS_AT_ONCE):
            rows = range(start, min(start + ROWS_AT_ONCE, n_interactions))
            out.writelines(f"u{users[row]}\ti{items[row]}\t{1_300_000_000 + 60 * row}\n" for row in rows)
    partial.rename(file)


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))

"""Splits the test metrics of studies/ml_100k_behaviours.yaml by the held-out rating; writes results/behaviours.md.

    python results/behaviours.py

Reads each user's test rank from the runs (ranks.npz) and the ratings of RecBole's ml-100k; trains nothing.
"""

from pathlib import Path

import numpy as np

from recbole_unirep import read_ranks
from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.runs.folder import CONFIG

HERE = Path(__file__).resolve().parent
RUNS = HERE / "studies" / "ml_100k_behaviours" / "ml-100k"
ROWS = {"TIGER": "TIGER", "MBGen": "MBGen", "MBGen liked": "MBGen_liked"}
PARTS = {"all": (True, False), "4 and more": (True,), "below 4": (False,)}  # row -> values of `is_liked`


def main():
    is_liked = liked_by_user()
    columns = [f"{row}, {of}" for of in ("99 negatives", "full") for row in ROWS]
    lines = [
        "# MBGen by held-out rating",
        "",
        "Written by `python results/behaviours.py` from the runs of "
        "[studies/ml_100k_behaviours](studies/ml_100k_behaviours/report.md): one seed, test, HIT@10 / NDCG@10.",
        "",
        f"| held-out rating | users | {' | '.join(columns)} |",
        f"| --- | ---: |{' --- |' * len(columns)}",
    ]
    runs = {row: read_ranks(RUNS / folder / "seed-2020") for row, folder in ROWS.items()}
    for name, kinds in PARTS.items():
        cells = []
        for protocol in ("uni99", "full"):
            for run in runs.values():
                ranks = run.ranks[protocol][[is_liked[user] in kinds for user in run.users]]
                gain = np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0)
                cells.append(f"{(ranks <= 10).mean():.4f} / {gain.mean():.4f}")
        lines.append(f"| {name} | {len(ranks):,} | {' | '.join(cells)} |")
    (HERE / "behaviours.md").write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")


def liked_by_user():
    """Returns a dict of user tokens, True if the user's held-out rating is at least 4."""
    config = Config(config_file_list=[RUNS / "MBGen" / "seed-2020" / CONFIG])
    test = load_data(config, one_row_a_user=True).test
    ratings = test.interactions["rating"].numpy()  # RecBole scales 1..5 to 0..1
    users = test.user_tokens[test.interactions["user_id"].numpy()]
    return dict(zip(map(str, users), (ratings >= 0.75).tolist()))


if __name__ == "__main__":
    main()

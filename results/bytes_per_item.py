"""Draws quality against the bytes that serving needs per item, from finished cells.

    python results/bytes_per_item.py

The cells are those of results/studies/bytes.yaml, and the rows UniRep, text_id and ID of results/studies/eight.yaml on
Amazon Beauty, first seed. Cells that are not finished are named on the page and left out of the figure.

Bytes follow from a cell's config and from the types that `unirep export` writes: a code is an 8-bit integer if its
level has at most 128 codes, an ID dimension, a text dimension and a count are 32-bit numbers. What all items share
(codebooks, perceptrons, the backbone) is not counted.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import yaml

HERE = Path(__file__).resolve().parent
STUDIES, DATASET, SEED = HERE / "studies", "amazon-beauty", "seed-2020"
N_ITEMS = 12_101
CELLS = [  # study, row, curve
    ("bytes", "8_levels", "UniRep"),
    ("bytes", "16_levels", "UniRep"),
    ("eight", "UniRep", "UniRep"),
    ("bytes", "64_levels", "UniRep"),
    ("bytes", "8_levels_no_counts", "UniRep without counts"),
    ("bytes", "32_levels_no_counts", "UniRep without counts"),
    ("eight", "text_id", "text_id"),
    ("bytes", "ID_8", "ID table"),
    ("bytes", "ID_16", "ID table"),
    ("bytes", "ID_32", "ID table"),
    ("eight", "ID", "ID table"),
    ("bytes", "ID_128", "ID table"),
]
CODE, NUMBER = 1, 4  # bytes
TEXT = 384  # dimensions of all-MiniLM-L6-v2
HEAD = """# Quality and bytes per item

    python results/bytes_per_item.py

Amazon Beauty, one seed, full ranking on test. "Item" is what serving has to store for an item itself: its codes and ID
embedding (UniRep), its sentence vector and ID embedding (`text_id`), or its row of a table. "Counts" is the mean number
of bytes of its counted followers (8 per follower) and of its popularity. An encoder's output of 64 numbers could be
stored in place of the sentence vector: 256 bytes instead of 1,536.

![NDCG@10 and bytes per item](bytes_per_item.png)

| curve | cell | item | counts | all | HIT@10 | NDCG@10 |
|---|---|---:|---:|---:|---:|---:|
"""


def main():
    rows, missing = [], []
    for study, name, curve in CELLS:
        folder = STUDIES / study / DATASET / name / SEED
        if (folder / "result.json").is_file():
            rows.append({"curve": curve, "cell": f"studies/{study}, {name}", **measured(folder)})
        else:
            missing.append(f"studies/{study}, {name}")
    lines = []
    for row in rows:
        item, counts = row["item"], row["counts"]
        lines.append(f"| {row['curve']} | {row['cell']} | {item:,} | {counts:,.0f} | {item + counts:,.0f} ")
        lines.append(f"| {row['hit@10']:.4f} | {row['ndcg@10']:.4f} |\n")
    if missing:
        lines.append(f"\nNot finished: {'; '.join(missing)}.\n")
    (HERE / "bytes_per_item.md").write_text(HEAD + "".join(lines), encoding="utf-8")
    draw(rows, HERE / "bytes_per_item.png")


def measured(folder):
    """Returns a cell's bytes per item and its test metrics."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    kind, ids = config["representation"], NUMBER * config["id_embedding_size"]
    item = {
        "unified": CODE * config["n_levels"] + ids,
        "text_id": NUMBER * TEXT + ids,
        "id": NUMBER * config["code_dim"],
    }[kind]
    n_popularity = N_ITEMS if result["chosen_on_validation"]["popularity_bias"] else 0
    n_followers = result.get("counted_numbers", 0) - N_ITEMS  # the counts of all items are always there
    counts = (2 * NUMBER * n_followers + NUMBER * n_popularity) / N_ITEMS
    return {
        "item": item,
        "counts": counts,
        **{name: result["test_result"]["full"][name] for name in ("hit@10", "ndcg@10")},
    }


def draw(rows, path):
    """Draws one curve per kind: solid by the bytes of the item itself, dashed with the counts."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for place, curve in enumerate(dict.fromkeys(row["curve"] for row in rows)):
        part = sorted((row for row in rows if row["curve"] == curve), key=lambda row: row["item"])
        quality = [row["ndcg@10"] for row in part]
        axes.plot([row["item"] for row in part], quality, "o-", color=f"C{place}", label=curve)
        axes.plot([row["item"] + row["counts"] for row in part], quality, "o:", color=f"C{place}", fillstyle="none")
    axes.set(xscale="log", xlabel="bytes per item (dotted, hollow: with counts)", ylabel="test NDCG@10, full ranking")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()

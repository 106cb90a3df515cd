"""Quality against the bytes that serving needs per item.

    python results/bytes_per_item.py [--data_path=FOLDER] [RUN]

RUN is the cell UniRep of results/studies/eight.yaml on Amazon Beauty, first seed, its checkpoint in place. Training
does not read codes, so the script fits codes of other lengths to its encoder and ranks the test items by them, with all
other weights as they are. It keeps what it found in results/bytes_per_item.json. All other points are finished cells of
results/studies/bytes.yaml and results/studies/eight.yaml; those that are not finished are named on the page and left
out of the figure. Nothing is chosen here.

Bytes follow from the types that `unirep export` writes: a code is an 8-bit integer, since no level has more than 128
codes; an ID dimension, a text dimension, a count and a number of a codebook have 32 bits.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import yaml

from recbole_unirep.files.whole import write_json
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.runs.environment import environment
from recbole_unirep.scoring.protocols import evaluate_protocols
from recbole_unirep.tokenizer.base import shipped_defaults
from recbole_unirep.tokenizer.quantizer import ResidualQuantizer

HERE = Path(__file__).resolve().parent
STUDIES, DATASET, SEED = HERE / "studies", "amazon-beauty", "seed-2020"
N_ITEMS = 12_101
SIZES = [(4, 64), (8, 16), (8, 64), (16, 16), (16, 64), (32, 16), (32, 64), (64, 64)]  # levels, codes per level
CELLS = [  # study, row, curve
    ("eight", "text_id", "text_id"),
    ("bytes", "ID_8", "ID table"),
    ("bytes", "ID_16", "ID table"),
    ("bytes", "ID_32", "ID table"),
    ("eight", "ID", "ID table"),
    ("bytes", "ID_128", "ID table"),
]
NUMBER = 4  # bytes
TICKS = [32, 64, 128, 256, 512, 1024, 2048]  # of the figure, bytes
TEXT = 384  # dimensions of all-MiniLM-L6-v2
HEAD = """# Quality and bytes per item

    python results/bytes_per_item.py

Amazon Beauty, one seed, full ranking on test. "Item" is what serving has to store for an item itself: its codes and ID
embedding (UniRep), its sentence vector and ID embedding (`text_id`), or its row of a table. "Codebooks" is what all
items share, divided by their number. "Counts" is the mean number of bytes of an item's counted followers (8 per
follower) and of its popularity. All points of UniRep are one training, whose codes were fitted at these lengths. An
encoder's output of 64 numbers could be stored in place of the sentence vector of `text_id`: 256 bytes instead of 1,536.

![NDCG@10 and bytes per item](bytes_per_item.png)

| curve | | item | codebooks | counts | all | HIT@10 | NDCG@10 |
|---|---|---:|---:|---:|---:|---:|---:|
"""


def main(arguments):
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    file = HERE / "bytes_per_item.json"
    for run in (Path(argument) for argument in arguments if not argument.startswith("--")):
        write_json(file, fitted(run, options.get("data_path")))
    rows, missing = [], []
    if file.is_file():
        rows += json.loads(file.read_text(encoding="utf-8"))["rows"]
    else:
        missing.append("UniRep")
    for study, name, curve in CELLS:
        folder = STUDIES / study / DATASET / name / SEED
        if (folder / "result.json").is_file():
            rows.append({"curve": curve, "cell": f"studies/{study}, {name}", **measured(folder)})
        else:
            missing.append(f"studies/{study}, {name}")
    lines = []
    for row in rows:
        item, codebooks, counts = row["item"], row["codebooks"], row["counts"]
        lines.append(f"| {row['curve']} | {row['cell']} | {item:,} | {codebooks:,.0f} | {counts:,.0f} ")
        lines.append(f"| {item + codebooks + counts:,.0f} | {row['hit@10']:.4f} | {row['ndcg@10']:.4f} |\n")
    if missing:
        lines.append(f"\nNot finished: {'; '.join(missing)}.\n")
    (HERE / "bytes_per_item.md").write_text(HEAD + "".join(lines), encoding="utf-8")
    draw(rows, HERE / "bytes_per_item.png")


@torch.no_grad()
def fitted(run, data_path):
    """Returns test metrics of a run for codes of several lengths, with the run's config and environments."""
    config, model, data = load_data_and_model(run, data_path)
    tokenizer, rows = model.item_embedding.tokenizer, []
    keys = {key: config[key] for key in shipped_defaults("RQVAE")}
    latent = tokenizer.latent(model.item_embedding.item_text_embedding[1:])
    counts = counted_bytes(json.loads((run / "result.json").read_text(encoding="utf-8")))
    for n_levels, codebook_size in SIZES:
        tokenizer.quantizer = ResidualQuantizer.from_keys(
            {**keys, "n_levels": n_levels, "codebook_size": codebook_size}
        )
        tokenizer.quantizer.fit(latent, config["seed"])
        found = evaluate_protocols(model, data.test, ["full"], config, None)["full"]
        size = {
            "item": n_levels + NUMBER * config["id_embedding_size"],
            "codebooks": NUMBER * tokenizer.quantizer.codebooks.numel() / N_ITEMS,
            "counts": counts,
        }
        metrics = {name: found[name] for name in ("hit@10", "ndcg@10")}
        rows.append({"curve": "UniRep", "cell": f"{n_levels} x {codebook_size} codes", **size, **metrics})
        print(rows[-1], flush=True)
    asked = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    kept = {key: value for key, value in asked.items() if key not in ("data_path", "run_dir")}
    trained = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    ranked = {**environment(config["device"]), "command": ["bytes_per_item.py", "/".join(run.parts[-4:])]}
    return {"rows": rows, "config": kept, "trained": trained, "ranked": ranked}


def measured(folder):
    """Returns a cell's bytes per item and its test metrics."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    if config["representation"] == "id":
        item = NUMBER * config["code_dim"]
    else:
        item = NUMBER * (TEXT + config["id_embedding_size"])
    metrics = {name: result["test_result"]["full"][name] for name in ("hit@10", "ndcg@10")}
    return {"item": item, "codebooks": 0, "counts": counted_bytes(result), **metrics}


def counted_bytes(result):
    """Returns the mean number of bytes of an item's counts: followers with values, and popularity if it is used."""
    n_popularity = N_ITEMS if result["chosen_on_validation"]["popularity_bias"] else 0
    n_followers = result.get("counted_numbers", 0) - N_ITEMS  # the counts of all items are always there
    return NUMBER * (2 * n_followers + n_popularity) / N_ITEMS


def draw(rows, path):
    """Draws one curve per kind: solid by the bytes of items and codebooks, dotted with the counts."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for place, curve in enumerate(dict.fromkeys(row["curve"] for row in rows)):
        part = sorted((row for row in rows if row["curve"] == curve), key=lambda row: row["item"] + row["codebooks"])
        quality = [row["ndcg@10"] for row in part]
        own = [row["item"] + row["codebooks"] for row in part]
        line = "o" if curve == "UniRep" else "o-"  # its points differ in two sizes
        axes.plot(own, quality, line, color=f"C{place}", label=curve)
        if any(row["counts"] for row in part):
            with_counts = [size + row["counts"] for size, row in zip(own, part)]
            axes.plot(with_counts, quality, "o", color=f"C{place}", fillstyle="none")
    axes.set(xscale="log", xlabel="bytes per item (hollow: with counts)", ylabel="test NDCG@10, full ranking")
    axes.set_xticks(TICKS, map(str, TICKS))
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])

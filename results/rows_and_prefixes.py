"""User sequences against RecBole's augmentation: validation NDCG@10 of SASRec with the softmax over all items.

    python results/rows_and_prefixes.py --data_path=../shared/datasets [--runs=FOLDER] [NAME ...]

The script runs every cell (dataset, rows, seed) without a result, continues interrupted ones, and writes the table of
results/rows_and_prefixes.md. Each cell's config, environment, result and learning curve are in
results/rows_and_prefixes/NAME. Nothing is ranked on test.
"""

import json
import sys
from statistics import mean, stdev

from cells import HERE, parse, run, write_table
from scipy.stats import t

from recbole_unirep.runs.folder import RESULT

SEEDS = {"ml-100k": range(1, 11), "amazon-beauty": (1, 2)}
KINDS = ("user", "target")  # training_rows
LENGTH = {"ml-100k": 20, "amazon-beauty": 50}  # ml-100k has longer histories: most of its rows continue another row
CELLS = {
    f"{dataset}-{kind}-{seed}": (dataset, kind, seed) for dataset in SEEDS for seed in SEEDS[dataset] for kind in KINDS
}


def main(arguments):
    request = parse(arguments, "rows_and_prefixes", CELLS)
    for name in request.names:
        keys = keys_of(*CELLS[name], request.options["data_path"])
        run(keys, request.runs / name, HERE / "rows_and_prefixes" / name)
    write_table(HERE / "rows_and_prefixes.md", "cells", "".join(table()))


def keys_of(dataset, kind, seed, data_path):
    """Returns the arguments of a cell (list of str)."""
    keys = ["--model=SASRec", f"--dataset={dataset}", f"--training_rows={kind}", f"--seed={seed}"]
    keys += [f"--MAX_ITEM_LIST_LENGTH={LENGTH[dataset]}", "--protocol=[]", "--stopping_step=5"]
    return keys if dataset == "ml-100k" else [*keys, f"--data_path={data_path}"]


def table():
    """Yields the table's lines: best validation NDCG@10 per seed, mean difference and 90 % interval (Student's t)."""
    yield "| dataset | rows | mean | seeds | minus prefixes, mean and 90 % interval |\n"
    yield "| --- | --- | --- | --- | --- |\n"
    names = {"user": "user sequences", "target": "prefixes"}
    for dataset, seeds in SEEDS.items():
        found = {kind: [best(f"{dataset}-{kind}-{seed}") for seed in seeds] for kind in KINDS}
        for kind, scores in found.items():
            differences = [rows - prefixes for rows, prefixes in zip(scores, found["target"]) if rows and prefixes]
            interval = "" if kind == "target" else "n/a" if len(differences) < 2 else difference(differences)
            shown = " ".join(f"{score:.4f}" if score else "-" for score in scores)
            there = [score for score in scores if score]
            average = f"{mean(there):.4f}" if there else ""
            yield f"| {dataset} | {names[kind]} | {average} | {shown} | {interval} |\n"


def best(name):
    file = HERE / "rows_and_prefixes" / name / RESULT
    return json.loads(file.read_text(encoding="utf-8"))["best_valid_score"] if file.is_file() else None


def difference(differences):
    half = t.ppf(0.95, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    return f"{mean(differences):+.4f} ({mean(differences) - half:+.4f} to {mean(differences) + half:+.4f})"


if __name__ == "__main__":
    main(sys.argv[1:])

"""Do training rows learn as well as RecBole's augmentation? SASRec, softmax over all items, by validation NDCG@10.

    python results/rows_and_prefixes.py --data_path=../shared/datasets [--runs=FOLDER] [NAME ...]

Runs each cell (dataset, rows, seed) that has no result yet, continues an interrupted one, and writes the table of
results/rows_and_prefixes.md. Each cell's config, environment, result and learning curve lie in
results/rows_and_prefixes/NAME. Nothing is ranked on test.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import t

HERE = Path(__file__).resolve().parent
KEPT = ("config.yaml", "environment.json", "result.json", "metrics.jsonl")
SEEDS = {"ml-100k": range(1, 11), "amazon-beauty": (1, 2)}
KINDS = ("user", "target")  # training_rows
LENGTH = {"ml-100k": 20, "amazon-beauty": 50}  # histories of ml-100k are longer: most of its rows continue another
CELLS = {
    f"{dataset}-{kind}-{seed}": (dataset, kind, seed) for dataset in SEEDS for seed in SEEDS[dataset] for kind in KINDS
}


def main(arguments):
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    names = [argument for argument in arguments if not argument.startswith("--")] or list(CELLS)
    runs = Path(options.get("runs", "runs/rows_and_prefixes"))
    for name in names:
        run(name, runs / name, options["data_path"])
    page = HERE / "rows_and_prefixes.md"
    before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- cells -->\n")
    page.write_text(before + mark + "".join(table()) + rest[rest.index("<!-- end -->") :], encoding="utf-8")


def run(name, folder, data_path):
    """Trains one cell, unless its result is there, and keeps what proves it."""
    dataset, kind, seed = CELLS[name]
    kept = HERE / "rows_and_prefixes" / name
    if (kept / "result.json").is_file():
        return
    command = [
        "run_recbole",
        "--model=SASRec",
        f"--dataset={dataset}",
        f"--training_rows={kind}",
        f"--seed={seed}",
    ]
    command += [f"--MAX_ITEM_LIST_LENGTH={LENGTH[dataset]}", "--protocol=[]", "--stopping_step=5"]
    command += ["--show_progress=False", f"--run_dir={folder}"]
    if dataset != "ml-100k":
        command.append(f"--data_path={data_path}")
    if (folder / "last.pt").is_file():
        command = ["run_recbole", f"--resume={folder}"]
    else:
        shutil.rmtree(folder, ignore_errors=True)
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True)
    kept.mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        shutil.copy(folder / file, kept / file)


def table():
    """Best validation NDCG@10 of each seed, the mean difference and its 90 % interval (Student's t over the seeds)."""
    yield "| dataset | rows | mean | seeds | less prefixes, mean and 90 % interval |\n"
    yield "| --- | --- | --- | --- | --- |\n"
    names = {"user": "of users", "target": "prefixes"}
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
    file = HERE / "rows_and_prefixes" / name / "result.json"
    return json.loads(file.read_text(encoding="utf-8"))["best_valid_score"] if file.is_file() else None


def difference(differences):
    half = t.ppf(0.95, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    return f"{mean(differences):+.4f} ({mean(differences) - half:+.4f} to {mean(differences) + half:+.4f})"


if __name__ == "__main__":
    main(sys.argv[1:])

"""What makes UniRep's epoch cheaper, and what it costs in validation quality: Amazon Beauty, MiniLM vectors, one seed.

    python results/epoch_cost.py --data_path=../shared/datasets [--runs=FOLDER] [NAME ...]

With the softmax over all items UniRep encodes the whole catalogue at every step. Each cell is one way to do with less,
trained to early stopping and never ranked on test. Runs each cell that has no result yet, continues an interrupted one,
and writes the table of results/epoch_cost.md; what proves a cell lies in results/epoch_cost/NAME.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
KEPT = ("config.yaml", "environment.json", "result.json", "metrics.jsonl")
COMMON = ["--dataset=amazon-beauty", "--text_encoder=minilm", "--stopping_step=5", "--protocol=[]"]
SASREC, UNIREP = "--model=SASRec", "--model=UniRep"
SAMPLED = ["--loss_type=SSM", "--shared_negatives=4096"]
CELLS = {
    "all_items": [UNIREP],
    "gradient_share": [UNIREP, "--table_gradient_share=0.25"],
    "bfloat16": [UNIREP, "--enable_amp=True"],
    "sampled_1024": [UNIREP, "--loss_type=SSM", "--shared_negatives=1024"],
    "sampled_4096": [UNIREP, *SAMPLED],
    "sampled_4096_sparse": [UNIREP, *SAMPLED, "--sparse_id_table=True"],
    "sasrec_all_items": [SASREC],
    "sasrec_sampled_4096": [SASREC, *SAMPLED],
    "sasrec_sampled_4096_sparse": [SASREC, *SAMPLED, "--sparse_id_table=True"],
}


def main(arguments):
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    names = [argument for argument in arguments if not argument.startswith("--")] or list(CELLS)
    runs = Path(options.get("runs", "runs/epoch_cost"))
    for name in names:
        run(name, runs / name, options["data_path"])
    page = HERE / "epoch_cost.md"
    before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- cells -->\n")
    page.write_text(before + mark + "".join(table()) + rest[rest.index("<!-- end -->") :], encoding="utf-8")


def run(name, folder, data_path):
    """Trains one cell, unless its result is there, and keeps what proves it."""
    kept = HERE / "epoch_cost" / name
    if (kept / "result.json").is_file():
        return
    command = ["run_recbole", *CELLS[name], *COMMON, "--show_progress=False", f"--data_path={data_path}"]
    if (folder / "last.pt").is_file():
        command = ["run_recbole", f"--resume={folder}"]
    else:
        shutil.rmtree(folder, ignore_errors=True)
        command.append(f"--run_dir={folder}")
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True)
    kept.mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        shutil.copy(folder / file, kept / file)


def table():
    """Best validation NDCG@10, where it was, and how long an epoch took."""
    yield "| cell | keys | validation NDCG@10 | best epoch | of | median seconds of an epoch |\n"
    yield "| --- | --- | --- | --- | --- | --- |\n"
    for name, keys in CELLS.items():
        file = HERE / "epoch_cost" / name / "metrics.jsonl"
        said = " ".join(f"`{key[2:]}`" for key in keys)
        if not file.is_file():
            yield f"| {name} | {said} | | | | |\n"
            continue
        epochs = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        best = max(epochs, key=lambda epoch: epoch["ndcg@10"])
        seconds = median(epoch["train_seconds"] for epoch in epochs)
        is_whole = (file.parent / "result.json").is_file()
        n_epochs = f"{len(epochs)}{'' if is_whole else ' (cut by hand)'}"
        cells = [name, said, f"{best['ndcg@10']:.4f}", str(best["epoch"]), n_epochs, f"{seconds:.1f}"]
        yield f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main(sys.argv[1:])

"""Measures ways to make UniRep's epoch cheaper, and their validation quality: Amazon Beauty, MiniLM, one seed.

    python results/epoch_cost.py --data_path=../shared/datasets [--runs=FOLDER] [NAME ...]

With the softmax over all items UniRep encodes the whole catalogue at every step. Each cell is one way to encode less,
trained to early stopping and never ranked on test. The script runs every cell without a result, continues interrupted
ones, and writes the table of results/epoch_cost.md. Each cell's record is in results/epoch_cost/NAME.
"""

import json
import sys
from statistics import median

from cells import FIRST_DEFAULT, HERE, parse, run, write_table

from recbole_unirep.runs.folder import METRICS, RESULT

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
    request = parse(arguments, "epoch_cost", CELLS)
    for name in request.names:
        keys = [*CELLS[name], *COMMON, f"--data_path={request.options['data_path']}"]
        if UNIREP in keys:
            keys.append(FIRST_DEFAULT)
        run(keys, request.runs / name, HERE / "epoch_cost" / name)
    write_table(HERE / "epoch_cost.md", "cells", "".join(table()))


def table():
    """Yields the table's lines: each cell's best validation NDCG@10, its epoch, and the median seconds per epoch."""
    yield "| cell | keys | validation NDCG@10 | best epoch | epochs | median seconds per epoch |\n"
    yield "| --- | --- | --- | --- | --- | --- |\n"
    for name, keys in CELLS.items():
        file = HERE / "epoch_cost" / name / METRICS
        shown = " ".join(f"`{key[2:]}`" for key in keys)
        if not file.is_file():
            yield f"| {name} | {shown} | | | | |\n"
            continue
        epochs = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        best = max(epochs, key=lambda epoch: epoch["ndcg@10"])
        seconds = median(epoch["train_seconds"] for epoch in epochs)
        is_whole = (file.parent / RESULT).is_file()
        n_epochs = f"{len(epochs)}{'' if is_whole else ' (stopped by hand)'}"
        cells = [name, shown, f"{best['ndcg@10']:.4f}", str(best["epoch"]), n_epochs, f"{seconds:.1f}"]
        yield f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main(sys.argv[1:])

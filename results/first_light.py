"""First light: UniRep, its unquantized control and SASRec on Amazon Beauty, with both losses and one seed.

    python results/first_light.py --data_path=../shared/datasets [--runs=FOLDER] [NAME ...]

The script runs every cell without a record, continues interrupted ones, and writes the tables of
results/first_light.md. Each cell's config, environment, result and learning curve are in results/first_light/NAME.
Settings were chosen on validation by the cells `try_*`, which are never ranked on test.
"""

import json
import sys

import yaml
from cells import FIRST_DEFAULT, HERE, parse, run, write_table

from recbole_unirep.runs.folder import CONFIG, METRICS, RESULT

BEAUTY = ["--dataset=amazon-beauty", "--text_encoder=minilm", "--stopping_step=5"]
SHORT = ["--model=UniRep", "--epochs=4", "--protocol=[]"]
LARGE = [*SHORT, "--users_per_batch=512", "--quantization_weight=1", "--dead_code_steps=0"]

TRIALS = {
    "try_weight_1": LARGE,
    "try_weight_1_sum": [*LARGE, "--loss_reduction=sum"],
    "try_weight_1_unit": [*LARGE, "--text_scaling=unit"],
    "try_weight_1_normal": [*LARGE, "--codebook_init=normal"],
    "try_weight_1_catalogue": [*LARGE, "--quantization_items=catalogue"],
    "try_weight_1_codebook_gradient": [*LARGE, "--codebook_gradient=True"],
    "try_weight_1_dead_codes": [*LARGE, "--dead_code_steps=100"],
    "try_weight_1_dead_codes_30": [*SHORT, "--quantization_weight=1", "--dead_code_steps=30"],
    "try_weight_1_dead_codes_10": [*SHORT, "--quantization_weight=1", "--dead_code_steps=10"],
    "try_weight_20": [*SHORT, "--quantization_weight=20"],
    "try_weight_100": [*SHORT, "--quantization_weight=100"],
    "try_text_none": [*SHORT, "--text_scaling=none"],
    "try_sample": [*SHORT, "--codebook_init=sample"],
    "try_no_dead_codes": [*SHORT, "--dead_code_steps=0"],
    "try_codebook_gradient": [*SHORT, "--codebook_gradient=True"],
    "try_catalogue": [*SHORT, "--quantization_items=catalogue"],
    "try_weight_1000": [*SHORT, "--quantization_weight=1000"],
    "try_weight_1000_no_dead_codes": [*SHORT, "--quantization_weight=1000", "--dead_code_steps=0"],
    "try_weight_100_occurrence": [*SHORT, "--quantization_weighting=occurrence"],
}
TRIED = ("users_per_batch", "quantization_weight", "dead_code_steps", "loss_reduction", "text_scaling")
TRIED += ("codebook_init", "codebook_gradient", "quantization_items", "quantization_weighting")
CELLS = {
    "sasrec_ce": ["--model=SASRec"],
    "unirep_ce": ["--model=UniRep"],
    "text_id_ce": ["--model=UniRep", "--representation=text_id"],
    "sasrec_bce": ["--model=SASRec", "--loss_type=BCE"],
    "unirep_bce": ["--model=UniRep", "--loss_type=BCE"],
    "text_id_bce": ["--model=UniRep", "--loss_type=BCE", "--representation=text_id"],
}
COLUMNS = [
    (protocol, metric)
    for protocol, metrics in {
        "uni99": ("hit@10", "ndcg@10", "mrr"),
        "full": ("hit@10", "ndcg@10"),
        "full_unseen": ("hit@10", "ndcg@10"),
    }.items()
    for metric in metrics
]


def main(arguments):
    cells = {**TRIALS, **CELLS}
    request = parse(arguments, "first_light", cells)
    for name in request.names:
        keys = [*cells[name], *BEAUTY, *(f"--{key}={value}" for key, value in request.options.items())]
        if "--model=UniRep" in keys:
            keys.append(FIRST_DEFAULT)
        run(keys, request.runs / name, HERE / "first_light" / name, proof=METRICS)  # some were stopped by hand
    for mark, table in (("cells", cells_table()), ("trials", trials_table())):
        write_table(HERE / "first_light.md", mark, table)


def results(names):
    """Yields each cell's name with its result, or with None if it has none."""
    for name in names:
        file = HERE / "first_light" / name / RESULT
        yield name, json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def cells_table():
    """Returns the table of test metrics (str), empty for cells without a result."""
    heads = ["cell", *(f"{protocol} {metric}" for protocol, metric in COLUMNS), "best epoch", "train s", "item table"]
    lines = [row(heads), row(["---"] * len(heads))]
    for name, result in results(CELLS):
        cells = [""] * (len(heads) - 1)
        if result:
            cells = [f"{result['test_result'][protocol][metric]:.4f}" for protocol, metric in COLUMNS]
            cells += [
                str(result["best_epoch"]),
                f"{result['train_seconds']:.0f}",
                f"{result['item_table_parameters']:,}",
            ]
        lines.append(row([name, *cells]))
    return "".join(lines)


def trials_table():
    """Returns the table of validation NDCG@10 (full ranking) by epoch, and of the codes after the last epoch (str)."""
    heads = [*TRIED, "NDCG@10 after 1 epoch", "2", "4", "unique item coverage", "code usage 1 / 2 / 3"]
    lines = [row(heads), row(["---"] * len(heads))]
    for name in TRIALS:
        folder = HERE / "first_light" / name
        if not (folder / METRICS).is_file():
            lines.append(row([name, *[""] * (len(heads) - 1)]))
            continue
        keys = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        epochs = [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]
        curve = [f"{epochs[at]['ndcg@10']:.4f}" if at < len(epochs) else "" for at in (0, 1, 3)]
        usage = " / ".join(f"{epochs[-1][f'codebook_usage_{level}']:.2f}" for level in (1, 2, 3))
        coverage = f"{epochs[-1]['unique_item_coverage']:.2f} ({len(epochs)} epochs)"
        lines.append(row([*(str(keys[key]) for key in TRIED), *curve, coverage, usage]))
    return "".join(lines)


def row(cells):
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    main(sys.argv[1:])

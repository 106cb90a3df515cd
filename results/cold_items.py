"""Items that nobody has trained on: UniRep's best preset with each ID fallback, its controls and the text rule.

    python results/cold_items.py --data_path=../shared/datasets [--runs=FOLDER] [NAME ...]

Runs each cell (row, seed) that has no result yet, continues an interrupted one, and writes the table of
results/cold_items.md. Each cell's config, environment, result and learning curve lie in results/cold_items/NAME; of
UniRep also `fallbacks.json`, the chosen checkpoint ranked with each `cold_id_embedding`. The recency of TextKNN is
chosen by validation NDCG@10 of full ranking.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.item_embedding import COLD_IDS
from recbole_unirep.quick_start import build_model
from recbole_unirep.training.checkpoint import load_weights
from recbole_unirep.training.protocols import evaluate_protocols

HERE = Path(__file__).resolve().parent
KEPT = ("config.yaml", "environment.json", "result.json", "metrics.jsonl")
SEEDS = (2020, 2021, 2022)
RECENCIES = (0.3, 0.5, 0.7, 0.9, 1.0)
BEST = ["--model=UniRep", "--preset=best", "--text_encoder=minilm"]
ROWS = {
    "unirep": BEST,
    "text_id": [*BEST, "--representation=text_id"],
    "id": [*BEST, "--representation=id", "--fusion=concat", "--cold_id_embedding=untrained"],
}
LABELS = {"unirep": "UniRep, {}", "text_id": "UniRep `text_id`, {}", "id": "UniRep `id` (SASRec), untrained rows"}
CELLS = {f"{row}-{seed}": [*keys, f"--seed={seed}"] for seed in SEEDS for row, keys in ROWS.items()}
for recency in RECENCIES:
    CELLS[f"textknn-{recency}"] = ["--model=TextKNN", "--text_encoder=minilm", f"--recency={recency}"]
COLUMNS = [
    (protocol, part, metric)
    for protocol, metrics in (("uni99", ("hit@10", "ndcg@10")), ("full", ("hit@10",)), ("full_unseen", ("hit@10",)))
    for metric in metrics
    for part in ("warm", "cold")
]


def main(arguments):
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    names = [argument for argument in arguments if not argument.startswith("--")] or list(CELLS)
    runs = Path(options.get("runs", "runs/cold_items"))
    for name in names:
        run(name, runs / name, options["data_path"])
    page = HERE / "cold_items.md"
    before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- cells -->\n")
    page.write_text(before + mark + "".join(table()) + rest[rest.index("<!-- end -->") :], encoding="utf-8")


def run(name, folder, data_path):
    """Trains one cell, unless its result is there, and keeps what proves it."""
    kept = HERE / "cold_items" / name
    if (kept / "result.json").is_file():
        return
    command = ["run_recbole", *CELLS[name], "--dataset=amazon-beauty", "--split=cold_items"]
    command += ["--show_progress=False", f"--run_dir={folder}", f"--data_path={data_path}"]
    if (folder / "last.pt").is_file() and not (folder / "result.json").is_file():
        command = ["run_recbole", f"--resume={folder}"]
    elif not (folder / "result.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
    if not (folder / "result.json").is_file():
        print(" ".join(command), flush=True)
        subprocess.run(command, check=True)
    kept.mkdir(parents=True, exist_ok=True)
    if name.startswith(("unirep", "text_id")):
        text = json.dumps(fallbacks(folder, data_path), indent=2)
        (kept / "fallbacks.json").write_text(text + "\n", encoding="utf-8")
    for file in KEPT:
        shutil.copy(folder / file, kept / file)


def fallbacks(folder, data_path):
    """Test metrics of a run's chosen checkpoint with each `cold_id_embedding`, which no parameter depends on."""
    found = {}
    for fallback in COLD_IDS:
        changes = {"cold_id_embedding": fallback, "data_path": data_path}
        config = Config(config_file_list=[folder / "config.yaml"], config_dict=changes)
        data = load_data(config, one_row_a_user=True)
        model = build_model(config, data.train)
        load_weights(model, folder / "model.pt", config["device"])
        found[fallback] = evaluate_protocols(model.eval(), data.test, config["protocol"], config, None)
    return found


def table():
    """Mean (and deviation over seeds) of each row, the metrics of warm and cold targets side by side."""
    yield f"| model | seeds | {' | '.join(' '.join(column) for column in COLUMNS)} |\n"
    yield f"| --- | --- |{' --- |' * len(COLUMNS)}\n"
    for row in ROWS:
        kept = [HERE / "cold_items" / f"{row}-{seed}" for seed in SEEDS]
        kept = [folder for folder in kept if (folder / "result.json").is_file()]
        if row == "id":
            yield line(LABELS[row], [read(folder / "result.json")["test_result"] for folder in kept])
            continue
        for fallback in COLD_IDS:
            yield line(LABELS[row].format(fallback), [read(folder / "fallbacks.json")[fallback] for folder in kept])
    rules = {recency: HERE / "cold_items" / f"textknn-{recency}" / "result.json" for recency in RECENCIES}
    rules = {recency: read(file) for recency, file in rules.items() if file.is_file()}
    if rules:
        best = max(rules, key=lambda recency: rules[recency]["best_valid_score"])
        yield line(f"TextKNN, recency {best}", [rules[best]["test_result"]])


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


def line(label, results):
    cells = []
    for protocol, part, metric in COLUMNS:
        values = [result[f"{protocol} {part}"][metric] for result in results]
        cells.append(("-" if not values else f"{mean(values):.4f}") + (f" ± {stdev(values):.4f}" if values[1:] else ""))
    return f"| {label} | {len(results)} | {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main(sys.argv[1:])

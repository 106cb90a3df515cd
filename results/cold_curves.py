"""Ranks the test items of finished runs with other offsets of new items.

    python results/cold_curves.py [--data_path=FOLDER] RUN ...

A RUN is a folder of `run_recbole --split=cold_items` with UniRep, its checkpoint in place, such as a cell of
results/studies/cold.yaml. The script keeps what it found in results/cold_curves.json, a run by its config, and writes
results/cold_curves.md and its figure. Nothing is chosen here: the run chose its offset on validation.

An offset of -1000 puts all new items last, so it shows what trained targets have without new items. 1000 puts all new
items first, so it shows the ranking of the new items among themselves.
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import yaml

from recbole_unirep.files.whole import write_json
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.runs.environment import environment
from recbole_unirep.scoring.model_contract import ranking_bias
from recbole_unirep.scoring.protocols import evaluate_protocols

HERE = Path(__file__).resolve().parent
ALONE, WITHIN = -1000.0, 1000.0
OFFSETS = [ALONE, -2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, WITHIN]
METRICS = ("hit@10", "ndcg@10")
HEAD = """# New items among all, by their offset

    {command}

`split: cold_items`, one seed, full ranking over trained and new items together. "Offset" is what ranking adds to the
scores of new items; the run's own, chosen on its validation items, is bold. "Alone": trained targets without any new
item. "Within": new targets among the new items only. The last column is the smallest share of new targets among all
targets at which an offset pays, measured by HIT@10: what trained targets lose, divided by that and what new targets
gain.

![New targets found against trained targets lost](cold_curves.png)
"""


def main(arguments):
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    runs = [argument for argument in arguments if not argument.startswith("--")]
    file = HERE / "cold_curves.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for run in map(Path, runs):
        label, record = measured(run, options.get("data_path"))
        found[label] = record
        write_json(file, found)
    (HERE / "cold_curves.md").write_text("".join(page(found)), encoding="utf-8")
    draw(found, HERE / "cold_curves.png")


def measured(run, data_path):
    """Returns a label for the run, and its config, environment and metrics for each offset."""
    config, model, data = load_data_and_model(run, data_path)
    bias, rows = ranking_bias(model), []
    own = bias.cold_offset.item()
    for offset in sorted({*OFFSETS, own}):
        bias.cold_offset.fill_(offset)
        result = evaluate_protocols(model, data.test, ["full"], config, None)
        kinds = {"warm": "full warm", "cold": "full cold"}
        rows.append({"offset": offset} | {f"{k} {m}": result[name][m] for k, name in kinds.items() for m in METRICS})
        print(run, rows[-1], flush=True)
    asked = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    label = f"{config['dataset']}, {config['representation']}"
    if config["id_dropout_prob"]:
        label += f", ID dropout {config['id_dropout_prob']}"
    label += f", seed {config['seed']}"
    kept = {key: value for key, value in asked.items() if key not in ("data_path", "run_dir")}
    trained = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    ranked = {**environment(config["device"]), "command": ["cold_curves.py", "/".join(run.parts[-4:])]}  # no local path
    machines = {"trained": trained, "ranked": ranked}
    return label, {"own_offset": own, "rows": rows, "config": kept, **machines}


def page(found):
    """Yields the lines of results/cold_curves.md."""
    yield HEAD.format(command="python results/cold_curves.py --data_path=FOLDER RUN ...")
    for label, record in found.items():
        rows = {row["offset"]: row for row in record["rows"]}
        alone, within, base = rows[ALONE], rows[WITHIN], rows[0.0]
        yield f"\n## {label}\n\nCommit {record['trained']['commit']}. "
        yield f"Alone: HIT@10 {alone['warm hit@10']:.4f}, NDCG@10 {alone['warm ndcg@10']:.4f}. "
        yield f"Within: HIT@10 {within['cold hit@10']:.4f}, NDCG@10 {within['cold ndcg@10']:.4f}.\n\n"
        yield "| offset | trained HIT@10 | trained NDCG@10 | lost HIT@10 | new HIT@10 | new NDCG@10 | pays from |\n"
        yield "| --- | --- | --- | --- | --- | --- | --- |\n"
        for offset, row in rows.items():
            if offset in (ALONE, WITHIN):
                continue
            lost, gained = base["warm hit@10"] - row["warm hit@10"], row["cold hit@10"] - base["cold hit@10"]
            share = f"{lost / (lost + gained):.1%}" if lost > 0 and gained > 0 else ""
            shown = f"**{offset:g}**" if offset == record["own_offset"] else f"{offset:g}"
            numbers = [row["warm hit@10"], row["warm ndcg@10"]], [row["cold hit@10"], row["cold ndcg@10"]]
            of_alone = 1 - row["warm hit@10"] / alone["warm hit@10"]
            cells = [
                shown,
                *(f"{n:.4f}" for n in numbers[0]),
                f"{of_alone:.1%}",
                *(f"{n:.4f}" for n in numbers[1]),
                share,
            ]
            yield f"| {' | '.join(cells)} |\n"


def draw(found, file):
    """Draws new targets found against trained targets lost, one line per run, the run's own offset marked."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for label, record in found.items():
        rows = [row for row in record["rows"] if abs(row["offset"]) < WITHIN]
        alone = next(row for row in record["rows"] if row["offset"] == ALONE)["warm hit@10"]
        lost = [100 * (1 - row["warm hit@10"] / alone) for row in rows]
        (line,) = axes.plot(lost, [row["cold hit@10"] for row in rows], marker=".", label=label)
        place = [row["offset"] for row in rows].index(record["own_offset"])
        axes.plot(lost[place], rows[place]["cold hit@10"], "o", markersize=9, color=line.get_color())
    axes.set(xlabel="HIT@10 of trained targets lost to new items, %", ylabel="HIT@10 of new targets", xlim=(-0.5, 20))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    main(sys.argv[1:])

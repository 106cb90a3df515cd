"""recbole_unirep.study.rank_weights: validation metrics of a finished run under other ranking weights.

`history_similarity` and `popularity_bias` do not affect training, so one checkpoint serves all their values. No test
item is ranked.
"""

import csv
from itertools import product
from logging import getLogger
from pathlib import Path

from tabulate import tabulate

from recbole_unirep.files.whole import write_json
from recbole_unirep.model.score_bias import RANKING
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.runs.environment import environment
from recbole_unirep.runs.log import RunLog
from recbole_unirep.scoring.evaluation import PROTOCOLS
from recbole_unirep.scoring.model_contract import ranking_bias
from recbole_unirep.scoring.protocols import RECBOLE, evaluate_protocols, protocols_asked

FILE, RECORD = "rank_weights.csv", "rank_weights.json"


def compare_weights(run, weights, data_path=None):
    """Ranks the validation items of a run under every combination of weights, and writes a table into its folder.

    The protocols are those of the run plus full. The metric that chose the checkpoint also chooses the weights.

    Args:
        run (str or Path): the run's folder.
        weights (dict[str, list of float]): values to try for keys of RANKING; a missing key keeps the run's value.
        data_path (str or None): current folder of the datasets; None uses the one of the run.

    Returns:
        Path: the table, `rank_weights.csv` in the run's folder.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the model has no such weights, or the run was ranked by RecBole itself.
    """
    run = Path(run)
    with RunLog(speaks=True):
        config, model, data = load_data_and_model(run, data_path, **dict.fromkeys(weights, 1.0))
        protocols = protocols_asked(config["protocol"])
        if RECBOLE in protocols:
            raise ValueError(f"{run} was ranked by RecBole itself (protocol={RECBOLE}): train under another protocol")
        bias = ranking_bias(model)
        if bias is None:
            raise ValueError(f"{run} is a run of {config['model']}: {', '.join(RANKING)} are UniRep's")
        protocols = [name for name in PROTOCOLS if name == "full" or name in protocols]
        rows = []
        for combination in product(*weights.values()):
            bias.set_ranking_weights(dict(zip(weights, combination)))
            found = evaluate_protocols(model, data.valid, protocols, config, None)
            numbers = {f"{name} {metric}": round(found[name][metric], 6) for name in found for metric in found[name]}
            rows.append({**dict(zip(weights, combination)), **numbers})
            getLogger().info(", ".join(f"{key} {value:g}" for key, value in zip(weights, combination)))
        with open(run / FILE, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        judge = f"full {config['valid_metric'].lower()}"
        best = (max if config["valid_metric_bigger"] else min)(rows, key=lambda row: row[judge])
        record = {"split": "validation", "weights": weights, "judge": judge, "best": best}
        write_json(run / RECORD, {**record, **environment(config["device"])})
        chosen = ", ".join(f"{key} {best[key]:g}" for key in weights)
        metric = config["valid_metric"].lower()
        shown = [*weights, *(f"{name} {column}" for name in protocols for column in (metric, "mrr"))]
        table = [[row[column] for column in shown] for row in rows]
        getLogger().info(f"{tabulate(table, shown, floatfmt='.4f')}\nbest by {judge}: {chosen}\n{run / FILE}")
    return run / FILE

"""`unirep rank-weights`: validation metrics of a finished run under other weights of what ranking adds to scores.

The weights `history_similarity` and `popularity_bias` take no part in training, so that one checkpoint serves all of
them; the test items are not ranked.
"""

import csv
import math
from itertools import product
from logging import getLogger
from pathlib import Path

from tabulate import tabulate

from recbole_unirep.files.whole import write_json
from recbole_unirep.model import MODELS
from recbole_unirep.model.score_bias import RANKING
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.runs.environment import environment
from recbole_unirep.runs.log import RunLog
from recbole_unirep.scoring.evaluation import PROTOCOLS
from recbole_unirep.scoring.protocols import RECBOLE, evaluate_protocols, protocols_asked
from recbole_unirep.settings.values import split_arguments

FILE, RECORD = "rank_weights.csv", "rank_weights.json"


def rank_weights(arguments):
    """Ranks the validation items of a run under every combination of weights, and writes a table beside it.

    Args:
        arguments (sequence of str): the run's folder, then `--history_similarity=A,B,..`, `--popularity_bias=A,B,..`
            and `--data_path=FOLDER`; a key that is left out keeps the run's value. The protocols are the run's and
            full, whose metric that chose the checkpoint chooses the weights, too.

    Returns:
        Path: the table, `rank_weights.csv` in the run's folder.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: an option is not understood, or the model has no such weights.
    """
    if not arguments or arguments[0].startswith("--"):
        raise ValueError("rank-weights reads a finished run: write unirep rank-weights RUN, its folder first")
    run, options = Path(arguments[0]), split_arguments(arguments[1:])
    options.pop("debug", None)
    data_path = options.pop("data_path", None)
    asked = {key: _numbers(key, text) for key, text in options.items()}
    if not asked:
        raise ValueError(f"rank-weights: no weights are given: write --{RANKING[0]}=0,1.5,3")
    with RunLog(speaks=True):
        config, model, data = load_data_and_model(run, data_path, **dict.fromkeys(asked, 1.0))
        protocols = protocols_asked(config["protocol"])
        if RECBOLE in protocols:
            raise ValueError(f"{run} was ranked by RecBole itself (protocol={RECBOLE}): train under another protocol")
        if config["model"] not in MODELS or getattr(model, "score_bias", None) is None:
            raise ValueError(f"{run} is a run of {config['model']}: {', '.join(RANKING)} are UniRep's")
        protocols = [name for name in PROTOCOLS if name == "full" or name in protocols]
        rows = []
        for weights in product(*asked.values()):
            model.score_bias.feature_weights.update(zip(asked, weights))
            found = evaluate_protocols(model, data.valid, protocols, config, None)
            numbers = {f"{name} {metric}": round(found[name][metric], 6) for name in found for metric in found[name]}
            rows.append({**dict(zip(asked, weights)), **numbers})
            getLogger().info(", ".join(f"{key} {value:g}" for key, value in zip(asked, weights)))
        with open(run / FILE, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        judge = f"full {config['valid_metric'].lower()}"
        best = (max if config["valid_metric_bigger"] else min)(rows, key=lambda row: row[judge])
        record = {"split": "validation", "weights": asked, "judge": judge, "best": best}
        write_json(run / RECORD, {**record, **environment(config["device"])})
        chosen = ", ".join(f"{key} {best[key]:g}" for key in asked)
        metric = config["valid_metric"].lower()
        shown = [*asked, *(f"{name} {column}" for name in protocols for column in (metric, "mrr"))]
        table = [[row[column] for column in shown] for row in rows]
        getLogger().info(f"{tabulate(table, shown, floatfmt='.4f')}\nbest by {judge}: {chosen}\n{run / FILE}")
    return run / FILE


def _numbers(key, text):
    """The weights that a key asks for."""
    if key not in RANKING:
        raise ValueError(f"rank-weights: there is no --{key}: known are --{', --'.join((*RANKING, 'data_path'))}")
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{key}={text} are no numbers: write --{key}=0,1.5,3") from error
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{key}={text} are not all finite: write --{key}=0,1.5,3")
    return numbers

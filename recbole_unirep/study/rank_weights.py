"""`unirep rank-weights`: validation metrics of a finished run under other weights of what ranking adds to scores.

The weights `history_similarity` and `popularity_bias` take no part in training, so that one checkpoint serves all of
them; the test items are not ranked.
"""

import csv
from itertools import product
from logging import getLogger
from pathlib import Path

from tabulate import tabulate

from recbole_unirep.model import MODELS
from recbole_unirep.model.score_bias import RANKING
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.run_folder import RunLog, environment, write_json
from recbole_unirep.training.protocols import evaluate_protocols
from recbole_unirep.values import split_arguments

FILE, RECORD = "rank_weights.csv", "rank_weights.json"
METRICS = ("hit@10", "ndcg@10", "mrr")
PROTOCOLS = ("full", "uni99")


def rank_weights(arguments):
    """Ranks the validation items of a run under every combination of weights, and writes a table beside it.

    Args:
        arguments (sequence of str): the run's folder, then `--history_similarity=A,B,..`, `--popularity_bias=A,B,..`
            and `--data_path=FOLDER`; a key that is left out keeps the run's value.

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
        if config["model"] not in MODELS or getattr(model, "score_bias", None) is None:
            raise ValueError(f"{run} is a run of {config['model']}: {', '.join(RANKING)} are UniRep's")
        rows = []
        for weights in product(*asked.values()):
            model.score_bias.feature_weights.update(zip(asked, weights))
            found = evaluate_protocols(model, data.valid, PROTOCOLS, config, None)
            rows.append({**dict(zip(asked, weights)), **_chosen(found)})
            getLogger().info(", ".join(f"{key} {value:g}" for key, value in rows[-1].items()))
        with open(run / FILE, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        best = max(rows, key=lambda row: row["full ndcg@10"])
        record = {"split": "validation", "arguments": list(arguments[1:]), "best by full ndcg@10": best}
        write_json(run / RECORD, {**record, **environment(config["device"])})
        getLogger().info(f"{tabulate(rows, headers='keys', floatfmt='.4f')}\nbest: {best}\n{run / FILE}")
    return run / FILE


def _numbers(key, text):
    """The weights that a key asks for."""
    if key not in RANKING:
        raise ValueError(f"rank-weights: there is no --{key}: known are --{', --'.join((*RANKING, 'data_path'))}")
    try:
        return [float(number) for number in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{key}={text} are no numbers: write --{key}=0,1.5,3") from error


def _chosen(found):
    return {
        f"{protocol} {metric}": round(found[protocol][metric], 6)
        for protocol in PROTOCOLS
        for metric in METRICS
        if metric in found[protocol]
    }

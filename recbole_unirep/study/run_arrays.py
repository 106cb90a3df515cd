"""What the figures of a finished run show: its item vectors, codes, codebooks and categories as arrays."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_unirep.data.item_file import ItemCategories, load_item_categories
from recbole_unirep.model import METHODS
from recbole_unirep.model.item_codes import item_vectors, model_codes
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.runs.folder import METRICS


class Codebooks(NamedTuple):
    """Semantic IDs of the items, and what they are made of.

    Attributes:
        codes (np.ndarray): -1 where an ID does not use a level, shape: [N, n_levels], int64.
        vectors (list of np.ndarray): of each level, shape: [codebook_size, code_dim], float32.
        level_metrics (list of str): distance of each level.
    """

    codes: np.ndarray
    vectors: list
    level_metrics: list

    @property
    def sizes(self):
        """Codes of each level."""
        return [len(level) for level in self.vectors]


class LearningCurve(NamedTuple):
    """Validation of a run's epochs.

    Attributes:
        metric (str): the one that chose the checkpoint, such as 'NDCG@10'.
        epochs (list of int): those that were validated, counted from 0.
        values (list of float): as many.
        chosen (int): the epoch whose checkpoint was kept.
    """

    metric: str
    epochs: list
    values: list
    chosen: int


class RunArrays(NamedTuple):
    """A finished run in arrays; N items, padding left out.

    Attributes:
        name (str): model, dataset and seed.
        seed (int): of the run.
        items (np.ndarray): item tokens by RecBole's numbering, shape: [N], str.
        vectors (dict[str, np.ndarray]): parts of the item table by name, shape: [N, D] each, float32; empty where the
            model has no item table.
        codebooks (Codebooks or None): None where the model has no codes.
        categories (ItemCategories or None): None where the dataset has none.
        curve (LearningCurve or None): None where no epoch was validated.
    """

    name: str
    seed: int
    items: np.ndarray
    vectors: dict
    codebooks: Codebooks | None
    categories: ItemCategories | None
    curve: LearningCurve | None


def read_run(run, data_path=None, category_field=None) -> RunArrays:
    """Reads a finished run back and takes its arrays.

    Args:
        run (str or Path): folder of a run, with its checkpoint.
        data_path (str or None): where the datasets lie now; None is where the run found them.
        category_field (str or None): column of the `.item` file; None takes a usual one.

    Returns:
        RunArrays: of the chosen checkpoint.

    Raises:
        FileNotFoundError: the folder holds no run, or one without a checkpoint; or the `.item` file is missing.
        ValueError: the checkpoint is damaged, the data have changed since, or there is no such column.
    """
    config, model, data = load_data_and_model(run, data_path)
    dataset = data.train
    found = model_codes(model)
    return RunArrays(
        name=f"{_model_name(config)} on {config['dataset']}, seed {config['seed']}",
        seed=config["seed"],
        items=np.array(dataset.field2id_token[dataset.iid_field][1:], dtype=str),
        vectors=item_vectors(model, dataset.item_num),
        codebooks=found and found.codebooks and Codebooks(found.codes, found.codebooks, found.level_metrics),
        categories=load_item_categories(config, dataset, category_field),
        curve=read_learning_curve(run, config["valid_metric"], config["valid_metric_bigger"]),
    )


def read_learning_curve(run, metric, bigger_is_better=True) -> LearningCurve | None:
    """Validation scores in the metrics.jsonl of a run, which need not have ended.

    Args:
        run (str or Path): folder of a run.
        metric (str): name of the metric that chose its checkpoint, the key valid_metric.
        bigger_is_better (bool): of the metric.

    Returns:
        LearningCurve, optional: None where no epoch was validated.

    Raises:
        FileNotFoundError: the folder holds no metrics.jsonl.
    """
    file = Path(run) / METRICS
    if not file.is_file():
        raise FileNotFoundError(f"{run} holds no {METRICS}: name the folder of a run that trained an epoch")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    records = [json.loads(line) for line in lines if line.endswith("\n")]  # a run that is writing leaves half a line
    validated = [(record["epoch"], record["valid_score"]) for record in records if "valid_score" in record]
    if not validated:
        return None
    epochs, values = (list(column) for column in zip(*validated))
    best = max(values) if bigger_is_better else min(values)
    return LearningCurve(metric, epochs, values, epochs[values.index(best)])


def _model_name(config):
    """The model, with its representation where it is another than the unified one of the paper."""
    representation = config["representation"] if config["model"] in METHODS else "unified"
    return config["model"] if representation == "unified" else f"{config['model']} ({representation})"

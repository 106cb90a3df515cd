"""Reads a finished run into arrays for figures: item vectors, codes, codebooks, categories, learning curve."""

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
    """Semantic IDs of the items and the codebooks they come from.

    Attributes:
        codes (np.ndarray): codes, -1 for unused levels, shape: [N, n_levels], int64.
        vectors (list of np.ndarray): codebook of each level, shape: [codebook_size, code_dim], float32.
        level_metrics (list of str): distance of each level.
    """

    codes: np.ndarray
    vectors: list
    level_metrics: list

    @property
    def sizes(self):
        """Codebook size of each level."""
        return [len(level) for level in self.vectors]


class LearningCurve(NamedTuple):
    """Validation scores of a run by epoch.

    Attributes:
        metric (str): metric that chose the checkpoint, such as 'NDCG@10'.
        epochs (list of int): validated epochs, counted from 0.
        values (list of float): score of each of these epochs.
        chosen (int): epoch whose checkpoint was kept.
    """

    metric: str
    epochs: list
    values: list
    chosen: int


class RunArrays(NamedTuple):
    """A finished run as arrays over N items, without the padding item.

    Attributes:
        name (str): model, dataset and seed.
        seed (int): seed of the run.
        items (np.ndarray): item tokens in the order of RecBole's item ids, shape: [N], str.
        vectors (dict[str, np.ndarray]): parts of the item table by name, shape: [N, D] each, float32; empty if the
            model has no item table.
        codebooks (Codebooks or None): None if the model has no codes.
        categories (ItemCategories or None): None if the dataset has no categories.
        curve (LearningCurve or None): None if no epoch was validated.
    """

    name: str
    seed: int
    items: np.ndarray
    vectors: dict
    codebooks: Codebooks | None
    categories: ItemCategories | None
    curve: LearningCurve | None


def read_run(run, data_path=None, category_field=None) -> RunArrays:
    """Reads the arrays of a finished run.

    Args:
        run (str or Path): folder of a run, with its checkpoint.
        data_path (str or None): current folder of the datasets; None uses the one of the run.
        category_field (str or None): column of the `.item` file; None finds a common name.

    Returns:
        RunArrays: arrays of the chosen checkpoint.

    Raises:
        FileNotFoundError: the run, its checkpoint or the `.item` file is missing.
        ValueError: the checkpoint is damaged, the data have changed since, or the column does not exist.
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
    """Reads validation scores from the metrics.jsonl of a run, finished or not.

    Args:
        run (str or Path): folder of a run.
        metric (str): metric that chose its checkpoint, the key valid_metric.
        bigger_is_better (bool): True if a bigger value of the metric is better.

    Returns:
        LearningCurve or None: None if no epoch was validated.

    Raises:
        FileNotFoundError: the folder has no metrics.jsonl.
    """
    file = Path(run) / METRICS
    if not file.is_file():
        raise FileNotFoundError(f"{run} holds no {METRICS}: name the folder of a run that trained at least one epoch")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    records = [json.loads(line) for line in lines if line.endswith("\n")]  # the last may be incomplete
    validated = [(record["epoch"], record["valid_score"]) for record in records if "valid_score" in record]
    if not validated:
        return None
    epochs, values = (list(column) for column in zip(*validated))
    best = max(values) if bigger_is_better else min(values)
    return LearningCurve(metric, epochs, values, epochs[values.index(best)])


def _model_name(config):
    """Name of the model, with its representation unless that is 'unified', as in the paper."""
    representation = config["representation"] if config["model"] in METHODS else "unified"
    return config["model"] if representation == "unified" else f"{config['model']} ({representation})"

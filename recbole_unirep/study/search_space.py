"""recbole_unirep.study.search_space: reads and checks the ranges from which tuning draws settings.

A YAML file has one part per model, and a part `shared` for all models:

    shared:
      learning_rate: {loguniform: [1e-4, 1e-2]}
      n_layers: {int: [1, 3]}
    UniRep:
      level_metrics: {choice: [[cosine, cosine, euclidean], [cosine, cosine, cosine]]}
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

import yaml

from recbole_unirep.settings.known_keys import recbole_models
from recbole_unirep.settings.nearest import nearest
from recbole_unirep.settings.parts import part_names
from recbole_unirep.settings.shipped import shipped_file, shipped_names
from recbole_unirep.settings.values import parse_value

SHARED = "shared"
# Keys that decide which runs are comparable: they are the same in all trials.
FIXED_KEYS = {
    "benchmark_filename", "candidates_seed", "config_files", "data_path", "dataset", "debug", "eval_args", "eval_step",
    "filter_inter_by_user_or_item", "item_inter_num_interval", "load_col", "metric_decimal_place", "metrics", "model",
    "nproc", "protocol", "resume", "run_dir", "seed", "show_progress", "threshold", "tie_order", "tie_seed", "topk",
    "user_inter_num_interval", "val_interval", "valid_metric", "valid_metric_bigger",
}  # fmt: skip


class Lever(NamedTuple):
    """Distribution of a key's value.

    Attributes:
        kind (str): a key of KINDS.
        values (list): [low, high], or all choices.
    """

    kind: str
    values: list


def read_spaces(name):
    """Reads a file of search spaces.

    Args:
        name (str): a YAML file, or the name of a shipped one (`properties/space/NAME.yaml`).

    Returns:
        dict[str, dict[str, Lever]]: for each model and SHARED, its levers by key.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a part is not a model, or a lever is not understood.
    """
    file = Path(name)
    if not file.suffix and name in shipped_names("space"):
        file = shipped_file("space", f"{name}.yaml")
    if not file.is_file():
        raise FileNotFoundError(
            f"space {name} is not a file: give a YAML file or one of {', '.join(shipped_names('space'))}"
        )
    try:
        parts = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"space {file} is not valid YAML: {error}") from error
    if not isinstance(parts, dict) or not parts:
        raise ValueError(f"space {file} holds no parts: write 'shared:' or a model's name and its levers under it")
    models = recbole_models().keys() | part_names("model")
    for part in parts:
        if part != SHARED and part not in models:
            raise ValueError(f"space {file}: part '{part}' is neither 'shared' nor a model: {nearest(part, models)}")
    return {part: _levers(f"space {file}, {part}", levers) for part, levers in parts.items()}


def space_of(spaces, model):
    """Returns the levers of one model, the shared ones first.

    Args:
        spaces (dict): as `read_spaces` returns it.
        model (str): name of the model.

    Returns:
        dict[str, Lever]: levers by key.

    Raises:
        ValueError: the model has no levers, or a key is both in SHARED and in the model's part.
    """
    shared, own = spaces.get(SHARED, {}), spaces.get(model, {})
    twice = sorted(shared.keys() & own.keys())
    if twice:
        raise ValueError(f"{', '.join(twice)} of the space is in both shared and {model}: give it once")
    if not shared and not own:
        raise ValueError(f"the space has no levers for {model}: add a part '{model}' or 'shared'")
    return {**shared, **own}


def extremes(space):
    """Returns settings that cover both ends of every range and every choice, to check before any run.

    Args:
        space (dict[str, Lever]): levers by key.

    Returns:
        list[dict]: settings, values by key.
    """
    n_most = max(len(lever.values) for lever in space.values())
    return [{key: lever.values[number % len(lever.values)] for key, lever in space.items()} for number in range(n_most)]


def label_of(value):
    """Unique text of a choice: JSON for a list, a string unchanged."""
    return value if isinstance(value, str) else json.dumps(value)


def plain(space):
    """Levers as plain values for YAML."""
    return {key: {lever.kind: list(lever.values)} for key, lever in space.items()}


def _levers(where, levers):
    if levers is None:
        return {}
    if not isinstance(levers, dict):
        raise ValueError(f"{where} is not a dict of levers: write e.g. 'learning_rate: {{loguniform: [1e-4, 1e-2]}}'")
    return {key: _lever(f"{where}: {key}", key, written) for key, written in levers.items()}


def _lever(where, key, written):
    if key in FIXED_KEYS:
        raise ValueError(f"{where} can't be tuned, it decides which runs are comparable: set it with --{key}=VALUE")
    if not isinstance(written, dict) or len(written) != 1:
        raise ValueError(f"{where} is {written}: write one of {', '.join(KINDS)}, e.g. {{loguniform: [1e-4, 1e-2]}}")
    ((kind, values),) = written.items()
    if kind not in KINDS:
        raise ValueError(f"{where} is drawn by '{kind}', which is not known: {nearest(kind, KINDS)}")
    if not isinstance(values, list):
        raise ValueError(f"{where}: {kind} is {values}: give a list")
    values = [parse_value(key, value, yaml.SafeLoader) if isinstance(value, str) else value for value in values]
    KINDS[kind](where, kind, values)
    return Lever(kind, values)


def _check_bounds(where, kind, values):
    is_number = [isinstance(value, (int, float)) and not isinstance(value, bool) for value in values]
    if len(values) != 2 or not all(is_number) or not all(map(math.isfinite, values)):
        raise ValueError(f"{where}: {kind} is {values}: give two numbers, [low, high]")
    if values[0] >= values[1]:
        raise ValueError(f"{where}: {kind} is {values}: low must be less than high")


def _check_log_bounds(where, kind, values):
    _check_bounds(where, kind, values)
    if values[0] <= 0:
        raise ValueError(f"{where}: {kind} is {values}: low must be above 0")


def _check_whole_bounds(where, kind, values):
    _check_bounds(where, kind, values)
    if not all(isinstance(value, int) for value in values):
        raise ValueError(f"{where}: {kind} is {values}: give whole numbers")


def _check_choices(where, kind, values):
    if len(values) < 2:
        raise ValueError(f"{where}: {kind} is {values}: give at least two values, or set a single one with --KEY=VALUE")
    labels = [label_of(value) for value in values]
    if len(set(labels)) < len(labels):
        raise ValueError(f"{where}: {kind} is {values}: give each value once")


KINDS = {
    "loguniform": _check_log_bounds,
    "uniform": _check_bounds,
    "int": _check_whole_bounds,
    "choice": _check_choices,
}

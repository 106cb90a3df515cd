"""Known config keys, and the names of RecBole's models and datasets; suggests the closest match for a typo.

The yaml file that declares a key says whose key it is. RecBole's model classes also read a few keys that none of its
yaml files declares: those are looked up in the source of the class that runs.
"""

import difflib
import functools
import re
import sys
from pathlib import Path

import recbole
from recbole.utils import dataset_arguments, evaluation_arguments, general_arguments, training_arguments

from recbole_unirep.settings.shipped import shipped_file

RECBOLE = Path(recbole.__file__).parent
YAML_KEY = re.compile(r"^([\w-]+)\s*:", re.MULTILINE)
# config["key"], self.config.get("key"), final_config_dict["key"], also over a line break.
READ_KEY = re.compile(r"""config\w*(?:\[|\.get\()\s*["'](\w+)["']""")


def nearest(name, names):
    """Returns the end of an error message: the closest known names.

    Args:
        name (str): the unknown name.
        names (iterable of str): all known names.

    Returns:
        str: "did you mean 'SASRec'?", or all names if none is close.
    """
    return _near(name, names) or "known are " + (", ".join(sorted(names)) or "none")


def _near(name, names):
    by_lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(str(name).lower(), by_lower, n=3)
    return "did you mean " + " or ".join(f"'{by_lower[lower]}'" for lower in near) + "?" if near else ""


def keys_in(file):
    """Keys that a yaml file sets at its top level, or that a Python file reads from a config."""
    text = Path(file).read_text(encoding="utf-8")
    return set((YAML_KEY if Path(file).suffix == ".yaml" else READ_KEY).findall(text))


@functools.cache
def recbole_models():
    """Files of RecBole's models by name: of classes named like their file, ignoring case."""
    files = {}
    for file in RECBOLE.glob("model/*_recommender/*.py"):
        for name in re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE):
            if name.lower() == file.stem:
                files[name] = file
    return files


@functools.cache
def recbole_datasets():
    """Names of the datasets that RecBole can download, and ml-100k, which is in its wheel."""
    return keys_in(RECBOLE / "properties" / "dataset" / "url.yaml") | {"ml-100k"}


# RecBole's code reads these keys for every model, but none of its yaml files declares them.
UNDECLARED = {
    "MODEL_INPUT_TYPE", "MODEL_TYPE", "convert_token_to_onehot", "dataset", "device", "double_tower", "encoding",
    "eval_type", "ip", "local_rank", "model", "numerical_features", "offset", "port", "single_spec", "tail_ratio",
    "verbose", "world_size",
}  # fmt: skip
# RecBole's keys that this package replaces, and what replaces them.
REPLACED = {
    "checkpoint_dir": "run_dir names the folder of a run",
    "device": "use_gpu and gpu_id choose it",
    "config_file": "config_files names yaml files",
    "dataloaders_save_path": "the split is made anew from the data, dataset_fingerprint proves it",
    "dataset_save_path": "the data are read anew, dataset_fingerprint proves them",
    "loss_decimal_place": "metrics.jsonl has all decimals",
    "repeatable": "candidates are fixed by seed, split and user",
    "save_dataloaders": "the split is made anew from the data, dataset_fingerprint proves it",
    "save_dataset": "the data are read anew, dataset_fingerprint proves them",
    "state": "log.txt has every line",
}


@functools.cache
def general_keys():
    """Keys that every run may use, for data, training, evaluation and item text."""
    keys = {*general_arguments, *training_arguments, *evaluation_arguments, *dataset_arguments, *UNDECLARED}
    files = [*RECBOLE.glob("properties/quick_start_config/*.yaml"), RECBOLE / "properties" / "overall.yaml"]
    files += [RECBOLE / "properties" / "dataset" / name for name in ("sample.yaml", "ml-100k.yaml")]
    return keys.union(*map(keys_in, [*files, shipped_file("overall.yaml")]))


@functools.cache
def special_keys():
    """Keys that a yaml of a model or tokenizer declares, RecBole's or ours."""
    files = [*RECBOLE.glob("properties/model/*.yaml")]
    files += [*shipped_file("model").glob("*.yaml"), *shipped_file("tokenizer").glob("*.yaml")]
    return set().union(*map(keys_in, files))


def keys_of_class(model_class):
    """Keys that the source of a model class and its base classes reads, except classes of ours, which have a yaml."""
    modules = {base.__module__ for base in model_class.__mro__ if not is_ours(base)}
    files = {getattr(sys.modules.get(module), "__file__", None) for module in modules}
    return set().union(*(keys_in(file) for file in files if file and file.endswith(".py")))


def is_ours(model_class):
    """True for a class of this package; its yaml declares its keys."""
    return model_class.__module__.partition(".")[0] == __name__.partition(".")[0]


def check_keys(keys, own_keys, model):
    """Refuses unknown keys and notes keys that the model does not use.

    Args:
        keys (set of str): keys that the user set.
        own_keys (set of str): keys of the run's model, backbone and tokenizer.
        model (str): name of the model.

    Returns:
        list of str: lines for the log, at most one.

    Raises:
        ValueError: a key is unknown.
    """
    known = general_keys() | special_keys() | own_keys
    unknown = [f"unknown key '{key}', {_near(key, known) or 'it stands in no yaml file'}" for key in keys - known]
    if unknown:
        raise ValueError("; ".join(sorted(unknown)))
    unused = sorted(keys - general_keys() - own_keys)
    return [f"{model} does not use {', '.join(unused)}: keys of other models or tokenizers"] if unused else []


def replaced_keys(given, defaults):
    """Notes the user's keys of RecBole that this package replaces.

    Args:
        given (dict): the user's keys.
        defaults (dict): the layers below them; keys with their default value are not noted.

    Returns:
        list of str: one line for the log per key.
    """
    changed = sorted(key for key in given.keys() & REPLACED.keys() if given[key] != defaults.get(key))
    return [f"{key} is not used: {REPLACED[key]}" for key in changed]

"""Config: RecBole's Config with our layers of defaults, checked keys and its own command line.

Layers, weakest first: RecBole's yaml (with its quick-start files), our overall, model, backbone, tokenizer, dataset and
preset yaml, the user's config files, config_dict, ``--key=value``.
"""

import copy
import functools
import importlib
import sys
from importlib.machinery import ModuleSpec
from logging import getLogger
from pathlib import Path
from types import ModuleType

import torch
import yaml
from recbole.config import Config as RecBoleConfig
from recbole.utils import get_model

from recbole_unirep import parallel
from recbole_unirep.compat import workarounds
from recbole_unirep.compat.pickle_guard import FLAG
from recbole_unirep.model import MODELS
from recbole_unirep.scoring.metrics import check_metrics
from recbole_unirep.scoring.model_contract import FitsDefaults
from recbole_unirep.scoring.protocols import RECBOLE, protocols_asked
from recbole_unirep.settings.arguments import split_arguments
from recbole_unirep.settings.default_layers import lay_defaults
from recbole_unirep.settings.extensions import extension_names, find_extension
from recbole_unirep.settings.known_keys import check_keys, recbole_models, replaced_keys
from recbole_unirep.settings.nearest import nearest
from recbole_unirep.settings.value_ranges import check_values
from recbole_unirep.settings.values import parse_value


def find_model(name):
    """Returns the class of a model of ours, of RecBole or of another package.

    Raises:
        ValueError: the model is unknown, needs a package that is not installed, or several models have its name.
    """
    extension = find_extension("model", name, is_taken=name in MODELS or name in recbole_models())
    if extension is not None:
        return extension.load()
    if name in MODELS:
        return MODELS[name]
    if name not in recbole_models():
        known = {*MODELS, *recbole_models(), *extension_names("model")}
        raise ValueError(f"model '{name}' is unknown: {nearest(name, known)}")
    try:
        return get_model(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"model {name} of RecBole needs a package that is not installed: pip install {error.name}"
        ) from error


class Config(RecBoleConfig):
    """Configuration of a run.

    Attributes beyond RecBole's:

    - ``resolved`` (dict): the layered keys before RecBole completes them; they suffice to repeat the run.
    - ``own_keys`` (set of str): keys of model, backbone and tokenizer.
    - ``notes`` (list of str): lines for the log, which is not open yet.
    - ``allows_pickles`` (bool): True if pickled checkpoints may be loaded; no file can set it.

    Args:
        model (str or type): name or class of the model; None takes the key `model`.
        dataset (str): name of the dataset; None takes the key `dataset`.
        config_file_list (list of str): yaml files of the user.
        config_dict (dict): keys of the user, over those of the files.
        arguments (iterable of str): ``--key=value``, over all other layers; sys.argv is never read.

    Raises:
        ValueError: a key, model, dataset, tokenizer or preset is unknown, or a value is out of range.
        FileNotFoundError: a config file or the dataset's interactions are missing.
    """

    def __init__(self, model=None, dataset=None, config_file_list=None, config_dict=None, arguments=()):
        workarounds.apply()
        self.arguments = split_arguments(arguments)
        files = [*(config_file_list or []), *self.arguments.get("config_files", "").split()]
        self.allows_pickles = self._is_on(self.arguments.get(FLAG, (config_dict or {}).get(FLAG, False)))
        super().__init__(model, dataset, files, config_dict)

    def _load_config_files(self, file_list):
        keys = {}
        for file in map(Path, file_list):
            if not file.is_file():
                raise FileNotFoundError(f"config file {file} does not exist: correct config_files")
            try:
                content = yaml.load(file.read_text(encoding="utf-8"), Loader=self.yaml_loader) or {}
            except yaml.YAMLError as error:
                raise ValueError(f"config file {file} is not valid yaml: {error}") from error
            if not isinstance(content, dict):
                raise ValueError(f"config file {file} holds no keys: write 'key: value' lines")
            if content.get(FLAG):
                raise ValueError(f"config file {file} sets {FLAG}, which files must not set: give it as --{FLAG}=True")
            keys.update(content)
        return keys

    @staticmethod
    def _is_on(value):
        return str(value).lower() == "true"

    def _load_cmd_line(self):
        return self._convert_config_dict(self.arguments)

    def _convert_config_dict(self, config_dict):
        return {
            key: parse_value(key, value, self.yaml_loader) if isinstance(value, str) else value
            for key, value in config_dict.items()
        }

    def _get_model_and_dataset(self, model, dataset):
        model = self._required("model", model, "UniRep")
        dataset = self._required("dataset", dataset, "ml-100k")
        if isinstance(model, type):
            return model.__name__, model, dataset
        return model, find_model(model), dataset

    def _required(self, key, value, example):
        value = self.external_config_dict.get(key) if value is None else value
        if value is None:
            raise ValueError(f"no {key} is given: add --{key}=NAME, e.g. --{key}={example}")
        return value if isinstance(value, type) else str(value)

    def _load_internal_config_dict(self, model, model_class, dataset):
        super()._load_internal_config_dict(model, model_class, dataset)
        self.own_keys, self.notes = lay_defaults(self, model, model_class, dataset, _fitted(model_class))
        given, defaults = self.external_config_dict, self.internal_config_dict
        check_values(given, defaults)
        in_use = {"repeatable"} if RECBOLE in protocols_asked({**defaults, **given}["protocol"]) else set()
        replaced = {key: value for key, value in given.items() if key not in in_use}
        self.notes += check_keys(set(given), self.own_keys, model) + replaced_keys(replaced, defaults)
        if isinstance(given.get("eval_args"), dict):  # unset parts keep their defaults
            given["eval_args"] = {**defaults["eval_args"], **given["eval_args"]}

    def _init_device(self):
        super()._init_device()
        keys = self.final_config_dict
        keys["local_rank"] = parallel.rank()  # RecBole downloads in local_rank 0 only
        if parallel.world_size() > 1 and keys["device"].type == "cuda":
            if torch.cuda.device_count() <= parallel.local_rank():
                raise ValueError(
                    f"{parallel.world_size()} processes need a GPU each, gpu_id={keys['gpu_id']} names "
                    f"{torch.cuda.device_count()} available GPUs: name more, or use --use_gpu=False"
                )
            keys["device"] = torch.device("cuda", parallel.local_rank())
            torch.cuda.set_device(keys["device"])

    def _set_default_parameters(self):
        by_recbole = RECBOLE in protocols_asked(self.final_config_dict["protocol"])
        check_metrics(self.final_config_dict["metrics"], by_recbole)
        internal_only = ("MODEL_TYPE", "MODEL_INPUT_TYPE")
        layered = {key: value for key, value in self.final_config_dict.items() if key not in internal_only}
        self.resolved = copy.deepcopy({**layered, "model": self.model, "dataset": self.dataset})
        try:
            super()._set_default_parameters()
        except (NotImplementedError, RuntimeError, TypeError) as error:  # RecBole's errors for bad options
            raise ValueError(str(error)) from error


def _fitted(model_class, has_rows=None):
    """Function that fits a model's defaults to the user's keys; None if the model has no such defaults."""
    is_fitting = isinstance(model_class, FitsDefaults)
    return (lambda given, settings: model_class.fitted_defaults(given, settings, has_rows)) if is_fitting else None


class _ModuleOfOthers(ModuleType):
    """The module that RecBole's lookup finds for a model of another package; imports the model when it is looked up."""

    def __getattr__(self, name):
        if name not in extension_names("model"):
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        return find_model(name)


def register():
    """Registers our models and their yaml in RecBole's lookups and Config; calling it again changes nothing.

    ``recbole.utils.get_model`` imports a module named after the model, so our modules are registered in ``sys.modules``
    under such names. Modules that imported ``get_model`` before find them too. Models of other packages are imported
    when they are looked up. RecBole's own models do not change.
    """
    workarounds.apply()
    folder = "recbole.model.sequential_recommender"
    files_of_recbole = {file.stem for file in recbole_models().values()}
    for name in (name for name in extension_names("model") if name.lower() not in files_of_recbole):
        place = f"{folder}.{name.lower()}"
        sys.modules[place] = _ModuleOfOthers(place)
        sys.modules[place].__spec__ = ModuleSpec(place, loader=None)
    for name, model_class in MODELS.items():
        sys.modules[f"{folder}.{name.lower()}"] = importlib.import_module(model_class.__module__)

    load = RecBoleConfig._load_internal_config_dict
    if hasattr(load, "__wrapped__"):
        return

    @functools.wraps(load)
    def load_with_ours(self, model, model_class, dataset):
        load(self, model, model_class, dataset)
        if (model in MODELS or model in extension_names("model")) and not isinstance(self, Config):
            _, notes = lay_defaults(self, model, model_class, dataset, _fitted(model_class, has_rows=False))
            for note in notes:
                getLogger().warning(note)  # RecBole's log is not open yet, so that it appears on stderr

    RecBoleConfig._load_internal_config_dict = load_with_ours

"""Defaults of models whose yaml builds on that of another model."""

import pytest
import yaml

from recbole_unirep.config import Config
from recbole_unirep.model import MODELS
from recbole_unirep.settings.shipped import shipped_file

ON_TIGER = ("GRPO", "LIGER", "MBGen", "EAGER", "ActionPiece")


def keys_of(model):
    return yaml.safe_load(shipped_file("model", f"{model}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("model", ON_TIGER)
def test_a_models_keys_overwrite_those_of_its_base_yaml(tiny, model):
    config = Config(model, "tiny", config_dict={"data_path": str(tiny.parent)})
    own, below = keys_of(model), keys_of("TIGER")
    assert below.keys() - own.keys()
    assert config.own_keys >= own.keys() | below.keys()
    for key, value in {**below, **own}.items():
        assert config[key] == config._convert_config_dict({key: value})[key], key


@pytest.mark.parametrize("model", ON_TIGER)
def test_keys_of_the_base_yaml_belong_to_the_model(tiny, model):
    config = Config(model, "tiny", config_dict={"data_path": str(tiny.parent), "head_size": 7})
    assert config["head_size"] == 7 and not [note for note in config.notes if "head_size" in note]


def test_every_base_yaml_is_shipped():
    named = {name for model in MODELS.values() for name in vars(model).get("base_settings", ())}
    assert named == {"TIGER"} and all(shipped_file("model", f"{name}.yaml").is_file() for name in named)


def test_a_users_class_inherits_the_yaml_files_of_its_base_class(tiny):
    class Mine(MODELS["LIGER"]):
        pass

    config = Config(Mine, "tiny", config_dict={"data_path": str(tiny.parent)})
    assert config["temperature"] == keys_of("LIGER")["temperature"] and config["head_size"] == 64

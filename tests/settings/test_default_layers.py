"""Defaults of models whose yaml builds on that of another model."""

import pytest
import yaml

from recbole_unirep.config import Config
from recbole_unirep.model import MODELS
from recbole_unirep.model.unirep_options import OFF
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


JOINT = {
    "n_levels": 32,
    "codebook_size": None,
    "train_on_codes": False,
    "codebook_update": "ema",
    "codebook_decay": 0.9,
}


def test_a_tokenizer_that_unirep_trains_has_keys_of_its_own(tiny):
    keys = {"data_path": str(tiny.parent)}
    config = Config("UniRep", "tiny", config_dict=keys)
    assert {key: config[key] for key in JOINT} == JOINT and config["quantization_weight"] == 1.0
    rvq = Config("UniRep", "tiny", config_dict={**keys, "tokenizer": "RVQ"})
    assert rvq["codebook_update"] == "ema" and rvq["quantization_weight"] == 1.0
    for model in ("TIGER", "UniRep"):
        frozen = Config(model, "tiny", config_dict={**keys, "tokenizer": "RQKMeans"})
        assert (frozen["n_levels"], frozen["codebook_size"]) == (3, 256)
    assert frozen["quantization_weight"] == 1.0
    tiger = Config("TIGER", "tiny", config_dict={**keys, "tokenizer": "RQVAE"})
    assert (tiger["n_levels"], tiger["codebook_size"], tiger["codebook_update"]) == (3, 256, "gradient")


@pytest.mark.parametrize(
    ("given", "expected", "says"),
    [
        ({"codebook_update": "gradient"}, ("gradient", 100.0), False),
        ({"codebook_gradient": True}, ("gradient", 100.0), True),
        ({"residual_gradient": "as_printed"}, ("gradient", 100.0), True),
        ({"residual_gradient": "as_printed", "quantization_weight": 7.0}, ("gradient", 7.0), True),
        ({"codebook_gradient": True, "codebook_update": "ema"}, ("ema", 1.0), False),
        ({"preset": "paper"}, ("gradient", 1.0), False),
        ({"preset": "paper", "codebook_update": "ema", "quantization_weight": 3.0}, ("ema", 3.0), False),
    ],
)
def test_codebooks_that_gradients_reach_are_trained_by_gradients(tiny, given, expected, says):
    config = Config("UniRep", "tiny", config_dict={"data_path": str(tiny.parent), **given})
    assert (config["codebook_update"], config["quantization_weight"]) == expected
    line = "not used: codebook_update ema, because the default takes no gradients to the codebooks"
    assert (line in config.notes) == says


@pytest.mark.parametrize(
    ("given", "expected", "says"),
    [
        ({}, False, None),
        ({"quantization_weight": 1.0}, True, "quantization_weight"),
        ({"dead_code_steps": 0, "codebook_update": "gradient"}, True, "codebook_update, dead_code_steps"),
        ({"train_on_codes": False, "quantization_weight": 1.0}, False, None),
        ({"preset": "paper"}, True, None),
        ({"tokenizer": "RVQ"}, True, None),  # frozen codes
    ],
)
def test_keys_of_training_on_codes_select_it(tiny, given, expected, says):
    config = Config("UniRep", "tiny", config_dict={"data_path": str(tiny.parent), **given})
    assert config["train_on_codes"] == expected
    lines = [note for note in config.notes if "train_on_codes" in note]
    assert lines == ([f"not used: train_on_codes False, because the default excludes {says}"] if says else [])


def test_best_is_another_name_for_the_default(tiny):
    default, best = (
        Config("UniRep", "tiny", config_dict={"data_path": str(tiny.parent), **keys}).resolved
        for keys in ({}, {"preset": "best"})
    )
    assert {**best, "preset": None} == default


def test_the_paper_preset_turns_off_all_that_the_default_adds(tiny):
    config = Config("UniRep", "tiny", config_dict={"data_path": str(tiny.parent), "preset": "paper"})
    off = {**OFF, "chosen_on_validation": [], "loss_type": "BCE"}
    assert {key: config[key] for key in off} == off

"""Config: order of the layers, unknown names and keys, and registration in RecBole's lookups."""

import sys
from pathlib import Path

import pytest
import recbole.config
import recbole.utils
import yaml
from recbole.utils import InputType

import recbole_unirep
from recbole_unirep.config import Config
from recbole_unirep.model import MODELS
from recbole_unirep.settings.known_keys import general_keys, recbole_models, special_keys
from recbole_unirep.settings.parts import read_keys
from recbole_unirep.settings.shipped import shipped_file, shipped_names

UNIFORM = {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0}
NONE = {"distribution": "none", "sample_num": "none", "alpha": "none", "dynamic": False, "candidate_num": 0}


def test_yamls_of_datasets_and_presets_set_text_encoder_and_codebook_size():
    assert Config("UniRep", "ml-100k")["text_encoder"] == "lexical"
    assert Config("UniRep", "amazon-beauty", config_dict={"preset": "paper"})["codebook_size"] == 256
    assert Config("UniRep", "amazon-sports-outdoors", config_dict={"preset": "paper"})["codebook_size"] == 128
    assert Config("UniRep", "amazon-sports-outdoors")["codebook_size"] is None
    assert Config("UniRep", "amazon-sports-outdoors", config_dict={"tokenizer": "RQKMeans"})["codebook_size"] == 256


def test_the_stronger_layer_wins(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("n_heads: 4\nn_levels: 4\nseed: 4\n")
    config = Config(
        config_file_list=[str(mine)],
        config_dict={"n_levels": 5, "seed": "5"},
        arguments=["--model=UniRep", "--dataset=amazon-sports-outdoors", "--seed=6", "--preset=paper"],
    )
    assert config["valid_metric"] == "NDCG@10"  # our overall yaml over RecBole's
    assert config["loss_type"] == "BCE"  # the preset over the model
    assert config["codebook_size"] == 128  # the preset's section for the dataset over the tokenizer
    assert (config["n_heads"], config["n_levels"], config["seed"]) == (4, 5, 6)


def test_config_files_may_come_as_an_argument(tmp_path):
    for name, text in (("a.yaml", "seed: 1\nn_heads: 1"), ("b.yaml", "seed: 2"), ("empty.yaml", "")):
        (tmp_path / name).write_text(text)
    config = Config("UniRep", "ml-100k", arguments=["--config_files=a.yaml b.yaml empty.yaml", "--n_heads=4"])
    assert (config["seed"], config["n_heads"]) == (2, 4)


def test_the_backbones_keys_do_not_overwrite_the_models():
    config = Config("UniRep", "ml-100k", config_dict={"backbone": "GRU4Rec"})
    assert (config["hidden_size"], config["num_layers"]) == (128, 1)  # RecBole's GRU4Rec.yaml
    assert Config("UniRep", "ml-100k", config_dict={"backbone": "BERT4Rec"})["transform"] == "mask_itemseq"
    assert config["loss_type"] == "SSM"
    paper = Config("UniRep", "ml-100k", arguments=["--backbone=GRU4Rec", "--preset=paper"])
    assert (paper["backbone"], paper["hidden_size"]) == ("GRU4Rec", 64)


def test_a_section_of_a_datasets_yaml_applies_only_to_its_model():
    assert Config("FDSA", "amazon-beauty")["selected_features"] == ["categories"]
    assert Config("SASRec", "amazon-beauty")["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    assert Config("FDSA", "amazon-beauty")["FDSA"] is None


SEQUENTIAL = ["SASRec", "GRU4Rec", "Caser", "BERT4Rec", "NARM", "HGN", "FDSA", "SASRecF", "S3Rec", "DIN"]


@pytest.mark.parametrize("dataset", ["ml-100k", "amazon-beauty"])
@pytest.mark.parametrize("model", ["UniRep", *SEQUENTIAL, "FM", "Pop", "BPR", "ItemKNN", "CKE"])
def test_every_model_shares_one_protocol(model, dataset):
    config = Config(model, dataset)
    assert config["eval_args"]["mode"] == {"valid": "full", "test": "full"}
    assert config["metrics"] == ["Hit", "NDCG"]
    assert config["train_neg_sample_args"] == (NONE if config["loss_type"] in ("CE", "SSM") else UNIFORM)
    assert config["load_col"]["inter"] == ["user_id", "item_id", "timestamp"]
    assert config["threshold"] is None
    assert config.notes == []


def test_bce_sets_one_uniform_negative():
    config = Config("UniRep", "ml-100k", arguments=["--loss_type=BCE"])
    assert config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE
    assert config["train_neg_sample_args"] == UNIFORM


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--model=SasRec"], "model 'SasRec' is unknown: did you mean 'SASRec'"),
        (["--model=unirep"], "model 'unirep' is unknown: did you mean 'UniRep'"),
        (["--model=XYZ"], "model 'XYZ' is unknown: known are .*SASRec.*UniRep"),
        (["--dataset=amazon-beuty"], "dataset 'amazon-beuty' is unknown.*did you mean 'amazon-beauty'"),
        (["--dataset=ml100k"], "did you mean 'ml-100k'"),
        (["--tokenizer=RQVEA"], "tokenizer 'RQVEA' is unknown: did you mean 'RQVAE'"),
        (["--backbone=SASRek"], "backbone 'SASRek' is unknown: did you mean 'SASRec'"),
        (["--preset=papers"], "preset 'papers' is unknown: did you mean 'paper'"),
        (["--model=SASRec", "--preset=best"], "preset 'best' is asked for, SASRec has none: leave it out"),
        (["--learning_rat=1"], "unknown key 'learning_rat', did you mean 'learning_rate'"),
        (["--qqqq=1", "--sed=1"], "unknown key 'qqqq'.*; unknown key 'sed', did you mean 'seed'"),
        (["--loss_type=CE", "--train_neg_sample_args={'distribution':'uniform'}"], "should be None when the loss_typ"),
        (["--metrics=[Hits]"], "Hits is not known: choose from AUC"),
        (["--topk=ten"], "topk"),
        (["--model=TIGER", "--exact_ranking=maybe"], "exact_ranking=maybe is neither True nor False"),
    ],
)
def test_unknown_names_and_keys_stop_the_run_in_one_line(arguments, error):
    defaults = {argument.split("=")[0] for argument in arguments}
    for default in ("--model=UniRep", "--dataset=ml-100k"):
        if default.split("=")[0] not in defaults:
            arguments = [default, *arguments]
    with pytest.raises(ValueError, match=error) as raised:
        Config(arguments=arguments)
    assert "\n" not in str(raised.value)


def test_unknown_keys_are_found_in_every_source(tmp_path):
    (tmp_path / "mine.yaml").write_text("codebook_sise: 3\n")
    with pytest.raises(ValueError, match="did you mean 'codebook_size'"):
        Config("UniRep", "ml-100k", config_file_list=["mine.yaml"])
    with pytest.raises(ValueError, match="did you mean 'codebook_size'"):
        Config("UniRep", "ml-100k", config_dict={"codebook_sise": 3})


@pytest.mark.parametrize(
    ("text", "error"), [("a: [1,2)", "mine.yaml is not valid yaml"), ("just words", "holds no keys")]
)
def test_a_malformed_config_file_is_an_error(tmp_path, text, error):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=error):
        Config("UniRep", "ml-100k", config_file_list=["mine.yaml"])


def test_a_missing_config_file_is_an_error():
    with pytest.raises(FileNotFoundError, match="gone.yaml"):
        Config("UniRep", "ml-100k", arguments=["--config_files=gone.yaml"])


@pytest.mark.parametrize("missing", ["model", "dataset"])
def test_model_and_dataset_must_be_given(missing):
    given = {"model": "UniRep", "dataset": "ml-100k"}
    del given[missing]
    with pytest.raises(ValueError, match=f"no {missing} is given: add --{missing}=NAME"):
        Config(config_dict=given)


def test_a_key_of_another_model_is_noted_in_one_line():
    config = Config("SASRec", "ml-100k", arguments=["--codebook_size=64", "--num_layers=2", "--n_heads=1"])
    assert config.notes == ["SASRec does not use codebook_size, num_layers: keys of other models or tokenizers"]
    assert Config("UniRep", "ml-100k", arguments=["--codebook_size=64", "--n_heads=1"]).notes == []
    notes = Config("UniRep", "ml-100k", arguments=["--backbone=BERT4Rec", "--ft_ratio=0.1"]).notes
    assert not [note for note in notes if not note.startswith("not used: ")]  # only defaults are left out


def test_a_key_belongs_to_the_models_whose_yaml_declares_it():
    given = ["--tokenizer=RQVAE", "--backbone=GRU4Rec", "--semantic_ids=a", "--representation=id"]
    config = Config("SASRec", "ml-100k", arguments=given)
    assert config.notes == [
        "SASRec does not use backbone, representation, semantic_ids, tokenizer: keys of other models or tokenizers"
    ]
    assert Config("UniRep", "ml-100k", arguments=["--tokenizer=RQVAE", "--backbone=GRU4Rec"]).notes == []


def test_recboles_keys_that_this_command_replaces_are_noted():
    config = Config("SASRec", "ml-100k", arguments=["--checkpoint_dir=there", "--mask_ratio=0.3", "--worker=1"])
    assert config.notes == [
        "SASRec does not use mask_ratio: keys of other models or tokenizers",
        "checkpoint_dir is not used: run_dir names the folder of a run",
    ]
    assert Config("BERT4Rec", "ml-100k", arguments=["--mask_ratio=0.3"]).notes == []


def test_setting_a_part_of_eval_args_keeps_the_other_parts():
    config = Config("SASRec", "ml-100k", arguments=["--eval_args={'group_by': 'none'}"])
    assert config["eval_args"]["group_by"] == "none"
    assert (config["eval_args"]["order"], config["eval_args"]["split"]) == ("TO", {"LS": "valid_and_test"})


def test_every_key_that_we_ship_is_known():
    models = recbole_models().keys() | MODELS.keys()
    for kind in ("dataset", "preset"):
        for name in shipped_names(kind):
            keys = yaml.safe_load(shipped_file(kind, f"{name}.yaml").read_text())
            assert set(keys) - models - set(shipped_names("dataset")) <= general_keys() | special_keys()


def test_keys_of_a_users_model_class_are_known(tmp_path, monkeypatch):
    source = """
from recbole.model.sequential_recommender import SASRec

class Mine(SASRec):
    def __init__(self, config, dataset):
        self.depth = config["depth_of_mine"]
"""
    (tmp_path / "mine_of_mine.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    from mine_of_mine import Mine

    config = Config(Mine, "ml-100k", config_dict={"depth_of_mine": 3, "loss_type": "CE"})
    assert (config["model"], config["depth_of_mine"], config.notes) == ("Mine", 3, [])


def test_resolved_keys_repeat_the_run(tmp_path):
    config = Config("UniRep", "amazon-sports-outdoors", arguments=["--preset=paper", "--seed=7", "--loss_type=CE"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.resolved))
    again = Config(config_file_list=[str(tmp_path / "config.yaml")])
    assert again.resolved == config.resolved
    assert again.final_config_dict == config.final_config_dict
    assert again.notes == []


def test_sys_argv_is_never_read(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest", "--seed=99", "-q"])
    assert Config("UniRep", "ml-100k")["seed"] == 2020


@pytest.fixture
def registered(monkeypatch):
    load = recbole.config.Config._load_internal_config_dict
    recbole_unirep.register()
    recbole_unirep.register()
    yield
    monkeypatch.undo()
    recbole.config.Config._load_internal_config_dict = load


def test_recboles_own_lookups_know_our_models(registered):
    assert all(recbole.utils.get_model(name) is model_class for name, model_class in MODELS.items())
    config = recbole.config.Config("UniRep", "ml-100k", config_dict={"loss_type": "BCE", "backbone": "GRU4Rec"})
    assert (config["text_encoder"], config["codebook_size"], config["num_layers"]) == ("lexical", None, 1)
    assert config["train_neg_sample_args"] == UNIFORM
    assert config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE
    assert recbole.config.Config("UniRep", "ml-100k")["train_neg_sample_args"] == NONE


def test_under_stock_recbole_the_default_leaves_out_what_its_trainer_lacks(registered, caplog):
    config = recbole.config.Config("UniRep", "ml-100k", config_dict={"stopping_step": 3})
    assert (config["loss_type"], config["transition_bias"], config["repeat_bias"]) == ("CE", 0, True)
    assert (config["history_similarity"], config["popularity_bias"]) == (3.0, 0.2)
    assert (config["epochs"], config["stopping_step"], config["learning_rate"]) == (300, 3, 0.001)
    assert [line.split(",")[0] for line in caplog.messages] == ["not used: loss_type", "not used: transition_bias"]


def test_recboles_config_does_not_change_for_its_own_models(registered):
    config = recbole.config.Config("BPR", "ml-100k")
    assert config["text_encoder"] is None
    assert config["valid_metric"] == "MRR@10"


DEFAULTS = {
    "loss_type": "SSM",
    "repeat_bias": True,
    "transition_bias": 3,
    "popularity_bias": 0.2,
    "similarity": "cosine",
    "chosen_on_validation": ["history_similarity", "popularity_bias"],
}


@pytest.fixture
def with_defaults(monkeypatch, tmp_path):
    """UniRep with these defaults in its yaml."""
    import recbole_unirep.settings.default_layers as layers

    read = layers._model_layer
    monkeypatch.setattr(layers, "_model_layer", lambda *arguments: {**read(*arguments), **DEFAULTS})


@pytest.mark.parametrize(
    ("given", "changed", "reason"),
    [
        ({}, {}, None),
        ({"loss_type": "BCE"}, {"repeat_bias": False, "transition_bias": 0}, "needs a softmax loss, found loss_type=B"),
        (
            {"training_rows": "prefix"},
            {"loss_type": "CE", "transition_bias": 0},
            "needs each row's later items, which RecBole's own rows do not contain",
        ),
        (
            {"backbone": "Caser"},
            {
                "loss_type": "CE",
                "repeat_bias": False,
                "transition_bias": 0,
                "popularity_bias": 0.0,
                "similarity": "dot",
                "chosen_on_validation": [],
            },
            "is for backbone SASRec or GRU4Rec or HSTU, found Caser",
        ),
        ({"popularity_bias": 0.7}, {"chosen_on_validation": ["history_similarity"]}, None),
        ({"popularity_bias": 0.7, "chosen_on_validation": ["popularity_bias"]}, {}, None),
    ],
)
def test_defaults_that_other_settings_exclude_are_left_out(with_defaults, given, changed, reason):
    config = Config("UniRep", "ml-100k", config_dict=given)
    assert {key: config[key] for key in DEFAULTS} == {
        **DEFAULTS,
        **changed,
        **{k: given[k] for k in given if k in DEFAULTS},
    }
    lines = [line for line in config.notes if line.startswith("not used: ")]
    assert any(reason in line for line in lines) if reason else not lines


def test_a_given_value_that_other_settings_exclude_stays(with_defaults):
    config = Config("UniRep", "ml-100k", config_dict={"backbone": "Caser", "repeat_bias": True})
    assert config["repeat_bias"] and not config["transition_bias"]


def test_a_key_of_recbole_keeps_its_type_in_our_defaults():
    """RecBole's own code reads its keys: a key of ours that takes the name of one would change what RecBole does."""
    ours, theirs = {}, {}
    for path in (Path(recbole.__file__).parent / "properties").glob("*.yaml"):
        theirs.update(read_keys(path))
    for path in (shipped_file("overall.yaml"), shipped_file("model", "UniRep.yaml")):
        ours.update(read_keys(path))
    shared = [key for key in ours.keys() & theirs.keys() if None not in (ours[key], theirs[key])]
    assert len(shared) > 5
    assert [key for key in shared if not same_type(ours[key], theirs[key])] == []


def same_type(one, other):
    numbers = (int, float)
    if isinstance(one, bool) or isinstance(other, bool):
        return type(one) is type(other)
    return type(one) is type(other) or isinstance(one, numbers) and isinstance(other, numbers)

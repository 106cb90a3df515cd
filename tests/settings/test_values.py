"""Texts are parsed into the same values as by RecBole's yaml and command line."""

import re
from pathlib import Path

import pytest
import recbole
import yaml
from recbole.config import Config as RecBoleConfig

from recbole_unirep.settings.values import parse_value, split_arguments

LOADER = RecBoleConfig._build_yaml_loader(None)
WRITTEN = re.compile(r"^\s*(\w+)\s*:\s*(.+?)\s*(?:#.*)?$", re.MULTILINE)


def written_values():
    """Yields each key and the text of its value in RecBole's yaml files."""
    for file in Path(recbole.__file__).parent.glob("properties/**/*.yaml"):
        if "url" not in file.stem:
            yield from ((key, text) for key, text in WRITTEN.findall(file.read_text()) if not text.startswith("#"))


def recbole_command_line(text):
    return RecBoleConfig._convert_config_dict(None, {"key": text})["key"]


def test_every_value_of_recboles_yaml_files_is_parsed_as_by_yaml():
    values = list(written_values())
    assert len(values) > 500
    # Yaml reads a bare None as text, RecBole's command line as None; we follow the command line.
    expected = {text: yaml.load(text, Loader=LOADER) for _, text in values if text != "None"}
    assert {text: parse_value("key", text, LOADER) for text in expected} == expected


def test_every_value_of_recboles_yaml_files_is_parsed_as_on_its_command_line():
    for value in (yaml.load(text, Loader=LOADER) for _, text in written_values()):
        python = repr(value)
        assert parse_value("key", python, LOADER) == value == recbole_command_line(python)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e-12", 1e-12),
        ("1e2", 100.0),
        ("0.", 0.0),
        ("-1", -1),
        ("True", True),
        ("true", True),
        ("FALSE", False),
        ("None", None),
        ("[5,inf)", "[5,inf)"),
        ("(5,inf)", "(5,inf)"),
        ("[64, 32]", [64, 32]),
        ("['Hit','NDCG']", ["Hit", "NDCG"]),
        ("(0, 1)", (0, 1)),
        ("0,1", (0, 1)),
        ("{'LS':'valid_and_test'}", {"LS": "valid_and_test"}),
        ("{'valid': None, 'test': (1, 2)}", {"valid": None, "test": (1, 2)}),
        ("'01'", "01"),
        ("01", "01"),
        ("1:30", "1:30"),
        ("''", ""),
        ("", ""),
        ("'\\t'", "\t"),
        ("valid_and_test", "valid_and_test"),
        ("NDCG@10", "NDCG@10"),
        ("binary:logistic", "binary:logistic"),
        ("sum", "sum"),  # eval would return a function
        ("sentence-transformers/sentence-t5-base", "sentence-transformers/sentence-t5-base"),
        ("runs/a=b #2", "runs/a=b #2"),
    ],
)
def test_a_value_is_parsed_as_on_recboles_command_line(text, value):
    assert parse_value("key", text, LOADER) == value
    assert recbole_command_line(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("null", None),
        ("no", False),
        ("on", True),
        ("[cosine,cosine,euclidean]", ["cosine", "cosine", "euclidean"]),
        ("{rating: '[3,inf)'}", {"rating": "[3,inf)"}),
    ],
)
def test_texts_that_recboles_command_line_does_not_parse_are_parsed_as_yaml(text, value):
    assert parse_value("key", text, LOADER) == value == yaml.load(text, Loader=LOADER)
    assert recbole_command_line(text) == text


@pytest.mark.parametrize("text", ["__import__('os').getcwd()", "2 * 3", "2014-10-12", "!!python/name:len"])
def test_nothing_is_evaluated(text):
    assert parse_value("key", text, LOADER) == text


@pytest.mark.parametrize(
    ("key", "text"), [("dataset", "2014"), ("run_dir", "1e3"), ("user_inter_num_interval", "[5,10]"), ("preset", "on")]
)
def test_names_paths_and_intervals_stay_text(key, text):
    assert parse_value(key, text, LOADER) == text
    assert parse_value(key, "None", LOADER) is None


def test_only_the_first_equals_sign_separates():
    assert split_arguments(["--model_path=a=b==c", "--empty="]) == {"model_path": "a=b==c", "empty": ""}


@pytest.mark.parametrize("argument", ["--model", "model=UniRep", "-m=UniRep", "--=UniRep", "UniRep"])
def test_a_malformed_argument_is_an_error(argument):
    with pytest.raises(ValueError, match=f"argument '{argument}' is not understood"):
        split_arguments(["--dataset=ml-100k", argument])


def test_a_key_given_twice_must_agree():
    assert split_arguments(["--seed=1", "--seed=1"]) == {"seed": "1"}
    with pytest.raises(ValueError, match="--seed is given twice, as '1' and '2'"):
        split_arguments(["--seed=1", "--seed=2"])


@pytest.mark.parametrize("text", ["[mine, lexical]", "['mine', 'lexical']"])
def test_text_encoder_may_be_a_list(text):
    assert parse_value("text_encoder", text, LOADER) == ["mine", "lexical"]
    assert parse_value("text_encoder", "2014", LOADER) == "2014"

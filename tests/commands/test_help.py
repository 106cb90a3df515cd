"""Help of each command: usage, every option with its default, an example, without heavy imports."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from dataset_prep.review_store import DUPLICATES
from recbole_unirep.commands.parameters import INDEXES
from recbole_unirep.commands.run_recbole import run_recbole
from recbole_unirep.commands.unirep import COMMANDS, unirep
from recbole_unirep.model.new_items import ID_FALLBACKS
from recbole_unirep.semantic_ids.collisions import POLICIES
from recbole_unirep.serving import index

ROOT = Path(__file__).resolve().parents[2]
ALL = {**{name: unirep.get_command(None, name) for name in COMMANDS}, "run_recbole": run_recbole}
FILE = {**COMMANDS, "run_recbole": "run_recbole"}
HEAVY = {"duckdb", "fastapi", "matplotlib", "numpy", "optuna", "pandas", "recbole", "scipy", "sentence_transformers"}
HEAVY |= {"sklearn", "tabulate", "torch", "tqdm", "transformers", "uvicorn", "yaml"}
every_command = pytest.mark.parametrize("name", ALL)


def help_of(name):
    """Help text with each paragraph on one line."""
    path = name if name == "run_recbole" else f"unirep {name}"
    return " ".join(click.Context(ALL[name], info_name=path).get_help().split())


@every_command
def test_help_shows_usage_summary_options_with_defaults_and_an_example(name):
    text, command = help_of(name), ALL[name]
    path = name if name == "run_recbole" else f"unirep {name}"
    usage = " ".join([path, *(argument.usage for argument in command.arguments), "[OPTIONS]"])
    assert text.startswith(f"Usage: {usage} {command.get_short_help_str()} ")
    assert text.endswith(f"Example: {command.example}") and command.example.startswith(path)
    for option in command.options.values():
        value = "" if option.is_flag else f"={option.metavar}"
        start = text.index(f" {option.opts[0]}{value} ")
        default = option.shown_default()
        assert default == "required" or default.removeprefix("default: ").strip() not in ("", "None")
        assert f"[{default}]".replace(" ", "") in text[start:].replace(" ", "")
    for argument in command.arguments:
        assert f"{argument.usage} {argument.get_help_record(None)[1]}" in text


@every_command
def test_sentences_of_options_end_with_a_full_stop(name):
    for option in ALL[name].options.values():
        meaning = option.get_help_record(None)[1].partition("  [")[0]
        assert meaning[0].isupper() or meaning.startswith(("'", "temporal", "UniRep")), meaning
        assert meaning.endswith("."), meaning


@every_command
def test_the_example_is_understood(name):
    words = ALL[name].example.split()
    arguments = words[1:] if name == "run_recbole" else words[2:]
    with ALL[name].make_context(name, arguments) as context:
        assert context.params


def test_defaults_of_config_keys_are_those_of_the_yaml_files():
    text = help_of("run_recbole")
    assert "--data_path=FOLDER Folder that holds the datasets' folders. [default: dataset/]" in text
    assert "--learning_rate=RATE Learning rate. [default: 0.001]" in text
    assert "[default:sentence-transformers/sentence-t5-base]" in text.replace(" ", "")  # lines may break at its hyphens
    for key in ("model", "dataset", "config_files", "preset", "resume", "run_dir", "seed", "epochs", "protocol"):
        assert f"--{key}=" in text


def test_choices_match_those_of_the_called_functions():
    choices = {
        ("tokenize", "collisions"): POLICIES,
        ("add-items", "id_fallback"): ID_FALLBACKS,
        ("recommend", "index"): ("exact", *index.INDEXES),
        ("serve", "index"): INDEXES,
        ("prepare", "duplicates"): DUPLICATES,
    }
    for (command, option), names in choices.items():
        assert sorted(ALL[command].options[option].type.names()) == sorted(names)


def test_the_group_lists_every_command_with_its_summary_and_says_how_to_complete():
    text = " ".join(click.Context(unirep, info_name="unirep").get_help().split())
    assert text.startswith("Usage: unirep COMMAND [OPTIONS] ")
    for name in COMMANDS:
        assert f" {name} {ALL[name].get_short_help_str()} " in text
    assert "_UNIREP_COMPLETE=bash_source unirep" in text


def imported(function, *arguments):
    """Modules that a command line imports in a new process."""
    code = (
        "import json, sys; from recbole_unirep import cli; sys.argv = ['shell', *sys.argv[1:]]; "
        f"code = cli.{function}(); print(json.dumps([code, sorted(sys.modules)]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    code, modules = json.loads(answer.stdout.splitlines()[-1])
    assert (code, answer.stderr) == (0, "")
    return set(modules)


def of_commands(modules):
    """Command modules among some modules, without the shared ones."""
    start = "recbole_unirep.commands."
    return {module[len(start) :] for module in modules if module.startswith(start)} & set(FILE.values())


@every_command
def test_help_imports_that_commands_file_and_nothing_heavy(name):
    modules = imported("run_recbole", "--help") if name == "run_recbole" else imported("unirep", name, "--help")
    assert of_commands(modules) == {FILE[name]}
    assert not {module.partition(".")[0] for module in modules} & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_groups_help_imports_nothing_heavy(arguments):
    modules = imported("unirep", *arguments)
    assert of_commands(modules) == (set(COMMANDS.values()) if arguments == ["--help"] else set())
    assert not {module.partition(".")[0] for module in modules} & HEAVY

"""Shell completion: commands, options, config keys and values, with the scripts that click generates."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = "import sys; from recbole_unirep import cli; sys.exit(getattr(cli, sys.argv[1])())"


def run(function, **variables):
    environment = {**os.environ, **variables}
    answer = subprocess.run(
        [sys.executable, "-c", CODE, function], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stderr == ""
    return answer.stdout


def complete(line):
    """Completions that bash offers for the last word of a line."""
    words = line.split(" ")
    name = words[0]
    answer = run(
        name, **{f"_{name.upper()}_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    )
    return [item.partition(",")[2] for item in answer.splitlines()]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("unirep re", ["recommend"]),
        ("unirep recommend RUN --ind", ["--index"]),
        ("unirep recommend RUN --index ", ["exact", "faiss", "hnsw"]),
        ("unirep recommend RUN --items A --index f", ["faiss"]),
        ("unirep recommend --all", ["--all-users"]),
        ("unirep prepare --overwrite ", ["True", "False"]),
        ("unirep tokenize --tokenizer RQ", ["RQKMeans", "RQVAE"]),
        ("unirep tokenize --dead_code_s", ["--dead_code_steps"]),  # a config key
        ("unirep tune --space d", ["default"]),
        ("run_recbole --model TI", ["TIGER"]),
        ("run_recbole --repeat_b", ["--repeat_bias"]),
    ],
)
def test_completions_of_a_line(line, offered):
    assert complete(line) == offered


def test_commands_and_options_are_offered():
    assert {"recommend", "add-items", "inspect"} <= set(complete("unirep "))
    assert {"--items", "--users", "--k", "--debug", "--help"} <= set(complete("unirep recommend RUN --"))
    assert "--items" not in complete("unirep recommend RUN --items=A --")  # already given


@pytest.mark.parametrize("name", ["unirep", "run_recbole"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed(name, shell):
    script = run(name, **{f"_{name.upper()}_COMPLETE": f"{shell}_source"})
    assert f"{shell}_complete" in script and name in script

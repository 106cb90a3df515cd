"""The entry points: help, one-line errors for user mistakes, exit codes."""

import shlex

import pytest

import recbole_unirep
from recbole_unirep import cli
from recbole_unirep.commands.unirep import COMMANDS
from recbole_unirep.config import Config


@pytest.fixture
def shell(monkeypatch, capsys):
    """Calls a command; returns exit code, standard output and standard error."""

    def call(command, *arguments):
        monkeypatch.setattr("sys.argv", ["shell", *arguments])
        code = getattr(cli, command)()
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def configured(monkeypatch):
    """Makes run_recbole stop after its Config; returns the list of configs."""
    configs = []
    monkeypatch.setattr(recbole_unirep, "run_recbole", lambda arguments: configs.append(Config(arguments=arguments)))
    return configs


@pytest.mark.parametrize("command", ["run_recbole", "unirep"])
def test_help_is_printed_and_missing_arguments_are_an_error(shell, command):
    code, out, error = shell(command, "--help")
    assert (code, error) == (0, "")
    assert out.startswith(f"Usage: {command} ")
    assert shell(command, "-h") == (0, out, "")
    assert shell(command) == (2, "", out)


@pytest.mark.parametrize(
    "arguments", [("embed", "--help"), ("compare", "--models=UniRep", "-h"), ("tune", "--x", "-h")]
)
def test_help_is_printed_at_any_position_of_the_option(shell, arguments):
    code, out, error = shell("unirep", *arguments)
    assert (code, error) == (0, "")
    assert out.startswith(f"Usage: unirep {arguments[0]} ")


@pytest.mark.parametrize("command", ["run_recbole", "unirep"])
def test_the_version_is_printed(shell, command):
    assert shell(command, "--version") == (0, f"recbole-unirep {recbole_unirep.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model=UniRep", "--dataset=ml-100k", "--learning_rate=1e-4", "--popularity_bias=-0.5", "--topk=[5, 10]"],
        shlex.split("--model UniRep --dataset ml-100k --learning_rate 1e-4 --popularity_bias -0.5 --topk '[5, 10]'"),
    ],
)
def test_both_spellings_of_a_key_reach_the_config(shell, configured, arguments):
    assert shell("run_recbole", *arguments)[0] == 0
    config = configured[0]
    assert (config["model"], config["learning_rate"], config["popularity_bias"]) == ("UniRep", 0.0001, -0.5)
    assert config["topk"] == [5, 10]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--model=Unirep", "--dataset=ml-100k"], "model 'Unirep' is unknown: did you mean 'UniRep'"),
        (["--model=UniRep", "--dataset=ml-100k", "--sed=1"], "unknown key 'sed', did you mean 'seed'"),
        (["--model=UniRep", "--learning-rate=1"], "no dataset is given: add --dataset=NAME"),
        (["--model"], "--model has no value: write --model=VALUE"),
        (["--model", "--dataset=ml-100k"], "--model has no value: write --model=VALUE"),
        (["--model", "UniRep", "ml-100k"], "argument 'ml-100k' is not understood: write --key=value"),
        (["-model=UniRep"], "argument '-model=UniRep' is not understood: write --key=value"),
        (["--model=UniRep", "--model", "SASRec"], "--model is given twice, as 'UniRep' and 'SASRec': give it once"),
        (["--version=1"], "--version takes no value, '1' is given: leave it out"),
        (["--model=UniRep", "--config_files=gone.yaml"], "config file gone.yaml does not exist"),
    ],
)
def test_a_user_error_is_one_line_and_writes_nothing(shell, configured, tmp_path, arguments, error):
    code, out, shown = shell("run_recbole", *arguments)
    assert (code, out) == (2, "")
    assert shown.startswith(f"run_recbole: {error}")
    assert shown.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("debug", [["--debug=True"], ["--debug", "true"]])
def test_debug_shows_the_traceback(shell, configured, debug):
    with pytest.raises(ValueError, match="unknown key 'sed'"):
        shell("run_recbole", "--model=UniRep", "--dataset=ml-100k", "--sed=1", *debug)
    with pytest.raises(ValueError, match="recommend has no option --itmes"):
        shell("unirep", "recommend", "RUN", "--itmes=1", *debug)


@pytest.mark.parametrize(
    ("raised", "code", "shown"),
    [
        (KeyboardInterrupt(), 130, ""),
        (ImportError("RecBole is not installed"), 2, "run_recbole: RecBole is not installed\n"),
        (ValueError("two\nlines"), 2, "run_recbole: two lines\n"),
    ],
)
def test_exit_codes(shell, monkeypatch, raised, code, shown):
    def fail(arguments):
        raise raised

    monkeypatch.setattr(recbole_unirep, "run_recbole", fail)
    assert shell("run_recbole", "--model=UniRep") == (code, "", shown)


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), EOFError("a fault of ours")])
def test_other_errors_keep_their_traceback(shell, monkeypatch, error):
    def fail(arguments):
        raise error

    monkeypatch.setattr(recbole_unirep, "run_recbole", fail)
    with pytest.raises(type(error), match="a fault of ours"):
        shell("run_recbole", "--model=UniRep")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("embet", "command 'embet' is unknown: did you mean 'embed'?"),
        ("add_items", "command 'add_items' is unknown: did you mean 'add-items'"),
        ("xyz", f"command 'xyz' is unknown: known are {', '.join(sorted(COMMANDS))}"),
        ("--dataset=ml-100k", "command '--dataset=ml-100k' is unknown: known are add-items"),
    ],
)
def test_an_unknown_command_names_the_nearest(shell, name, message):
    code, out, error = shell("unirep", name)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert error.startswith(f"unirep: {message}")

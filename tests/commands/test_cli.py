"""The commands: help at once, one line for what the user can mend, exit codes."""

import pytest

import recbole_unirep
from recbole_unirep import cli
from recbole_unirep.config import Config


@pytest.fixture
def shell(monkeypatch, capsys):
    """Calls a command: its exit code, standard output and standard error."""

    def call(command, *arguments):
        monkeypatch.setattr("sys.argv", ["shell", *arguments])
        code = getattr(cli, command)()
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def configured(monkeypatch):
    """run_recbole that stops after its Config: the configs made."""
    configs = []
    monkeypatch.setattr(recbole_unirep, "run_recbole", lambda arguments: configs.append(Config(arguments=arguments)))
    return configs


@pytest.mark.parametrize("command", ["run_recbole", "unirep"])
def test_help_is_printed_and_no_arguments_is_an_error(shell, command):
    code, out, error = shell(command, "--help")
    assert (code, error) == (0, "")
    assert out.startswith(f"usage: {command} ")
    assert shell(command) == (2, "", out)


@pytest.mark.parametrize("arguments", [("embed", "--help"), ("compare", "--models=UniRep", "-h")])
def test_help_is_printed_wherever_it_stands(shell, arguments):
    code, out, error = shell("unirep", *arguments)
    assert (code, error) == (0, "")
    assert out.startswith("usage: unirep ")


def test_help_names_the_keys_a_first_run_needs(shell):
    _, out, _ = shell("run_recbole", "-h")
    for key in ("model", "dataset", "data_path", "config_files", "preset", "resume", "run_dir", "text_encoder"):
        assert f"--{key}=" in out


def test_the_version_is_printed(shell):
    assert shell("unirep", "--version") == (0, f"recbole-unirep {recbole_unirep.__version__}\n", "")


def test_arguments_reach_the_run(shell, configured):
    assert shell("run_recbole", "--model=UniRep", "--dataset=ml-100k", "--learning_rate=1e-4")[0] == 0
    assert configured[0]["learning_rate"] == 0.0001


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--model=Unirep", "--dataset=ml-100k"], "run_recbole: model 'Unirep' is unknown: did you mean 'UniRep'"),
        (["--model=UniRep", "--dataset=ml-100k", "--sed=1"], "run_recbole: unknown key 'sed', did you mean 'seed'"),
        (["--model", "UniRep"], "run_recbole: argument '--model' is not understood: write --key=value"),
        (
            ["--model=UniRep", "--config_files=gone.yaml"],
            "run_recbole: config file gone.yaml does not exist",
        ),
    ],
)
def test_an_error_of_the_user_is_one_line_and_writes_nothing(shell, configured, tmp_path, arguments, error):
    code, out, shown = shell("run_recbole", *arguments)
    assert (code, out) == (2, "")
    assert shown.startswith(error)
    assert shown.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(shell, configured):
    with pytest.raises(ValueError, match="unknown key 'sed'"):
        shell("run_recbole", "--model=UniRep", "--dataset=ml-100k", "--sed=1", "--debug=True")


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


def test_other_errors_keep_their_traceback(shell, monkeypatch):
    def fail(arguments):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(recbole_unirep, "run_recbole", fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        shell("run_recbole", "--model=UniRep")


def test_subcommands_get_the_arguments_behind_them(shell, monkeypatch):
    calls = []
    monkeypatch.setitem(cli.SUBCOMMANDS, "embed", calls.append)
    assert shell("unirep", "embed", "--dataset=ml-100k")[0] == 0
    assert calls == [["--dataset=ml-100k"]]
    assert shell("unirep", "embet") == (
        2,
        "",
        "unirep: command 'embet' is unknown: known are add-items, compare, embed, encode-items, export, figures, "
        "import-recbole, inspect, prepare, rank-weights, recommend, serve, study, tokenize, tune, validate\n",
    )

"""Every option in both spellings, '-' and '_', in any order; an unknown one names the nearest."""

import pytest

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import argument, flag, key_option, option
from recbole_unirep.commands.run_recbole import run_recbole
from recbole_unirep.commands.types import Names, Numbers, OneOf, Share, Switch, Text, Whole
from recbole_unirep.commands.unirep import COMMANDS, unirep

ALL = {**{name: unirep.get_command(None, name) for name in COMMANDS}, "run_recbole": run_recbole}
OPTIONS = [(name, key) for name, command in ALL.items() for key in command.options]
SAMPLES = {Whole: "7", Share: "0.5", Switch: "True", Numbers: "0,1.5", Names: "A,B"}


def parse(name, *arguments):
    """Parameters of a command line."""
    with ALL[name].make_context(name, list(arguments)) as context:
        return context.params


def base(name, *without):
    """Required arguments and options of a command."""
    words = [f"word{number}" for number, argument in enumerate(ALL[name].arguments) if argument.nargs == 1]
    needed = [key for key, known in ALL[name].options.items() if known.is_needed and key not in without]
    return [*words, *(f"--{key}=x" for key in needed)]


@pytest.mark.parametrize(("name", "key"), OPTIONS, ids=[f"{name} {key}" for name, key in OPTIONS])
def test_every_option_takes_both_spellings_and_both_dashes(name, key):
    known = ALL[name].options[key]
    dashed = key.replace("_", "-")
    if known.is_flag:
        if not known.is_eager:
            assert parse(name, *base(name), f"--{key}")[key] is parse(name, f"--{dashed}", *base(name))[key] is True
        return
    text = known.type.names()[0] if isinstance(known.type, OneOf) else SAMPLES.get(type(known.type), "text")
    found = [
        parse(name, *base(name, key), f"--{key}={text}"),
        parse(name, *base(name, key), f"--{key}", text),
        parse(name, f"--{dashed}={text}", *base(name, key)),
        parse(name, f"--{dashed}", text, *base(name, key)),
    ]
    assert found[0] == found[1] == found[2] == found[3]
    if known.is_key:
        assert found[0]["keys"] == {key: text}
    elif known.expose_value:
        assert found[0][known.name] is not None


@pytest.mark.parametrize(("name", "key"), OPTIONS, ids=[f"{name} {key}" for name, key in OPTIONS])
def test_every_option_refuses_to_be_empty_or_given_twice(name, key):
    known = ALL[name].options[key]
    if known.is_flag:
        return
    with pytest.raises(ValueError, match=f"--{key} has no value"):
        parse(name, *base(name, key), f"--{key}")
    with pytest.raises(ValueError, match=f"--{key} is given twice, as 'A' and 'B'"):
        parse(name, *base(name, key), f"--{key}=A", f"--{key}", "B")
    if known.may_be_empty or (known.is_key and ALL[name].takes_keys):
        assert parse(name, *base(name, key), f"--{key}=")
    else:
        with pytest.raises(ValueError, match=f"--{key} is empty: write --{key}="):
            parse(name, *base(name, key), f"--{key}=")


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_option_names_the_nearest(monkeypatch, name):
    monkeypatch.setattr(ALL[name], "callback", None)
    for key, known in ALL[name].options.items():
        if known.is_key and ALL[name].takes_keys or len(key) < 4:
            continue  # Config names the nearest of its keys
        typo = key[:-1] + "q"
        with pytest.raises(ValueError) as error, ALL[name].make_context(name, [*base(name), f"--{typo}=1"]) as context:
            ALL[name].invoke(context)
        assert f"{name} has no option --{typo}: did you mean " in str(error.value)
        assert known.opts[0] in str(error.value)


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if command.takes_keys])
def test_config_keys_pass_through(name):
    arguments = [
        "--hidden_size=16",
        "--level_metrics",
        "[cosine, euclidean]",
        "--learning_rate=",
        "--UniRep.epochs",
        "-1",
    ]
    keys = parse(name, *base(name), *arguments)["keys"]
    assert keys == {
        "hidden_size": "16",
        "level_metrics": "[cosine, euclidean]",
        "learning_rate": "",
        "UniRep.epochs": "-1",
    }


@pytest.fixture
def made():
    """A command with every kind of parameter; it returns their values."""

    @command("made", takes_keys=True, needs_recbole=False, example="unirep made RUN --k=5")
    @argument("run", "RUN", "the folder of a run")
    @option("--k", Whole(1), "Number.", default="10")
    @option("--note", Text("TEXT"), "Note.", default="", may_be_empty=True)
    @flag("--all-users", "All.")
    @key_option("--seed", Text("N"))
    def made(**parameters):
        """Made for a test."""
        return parameters

    return made


def test_a_command_can_be_called_from_python(made):
    assert made(["RUN", "--k", "5", "--seed", "-1", "--all-users", "--epochs=3", "--note="]) == {
        "run": "RUN",
        "k": 5,
        "note": "",
        "all_users": True,
        "keys": {"seed": "-1", "epochs": "3"},
    }
    with pytest.raises(ValueError, match="k=0 is not a whole number of at least 1: give one"):
        made(["RUN", "--k=0"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "made needs RUN, the folder of a run: write unirep made RUN"),
        ([" "], "RUN is empty: name the folder of a run"),
        (["RUN", "other"], "argument 'other' is not understood"),
        (["RUN", "--all-user"], "--all-user has no value"),
        (["RUN", "--all-user=1"], "made has no option --all-user: did you mean --all-users?"),
        (["RUN", "--KK=1"], "made has no option --KK: did you mean --k?"),
    ],
)
def test_a_bad_command_line_is_a_value_error(made, arguments, message):
    with pytest.raises(ValueError) as error:
        made(arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("value_type", "texts", "bad"),
    [
        (Whole(0, 65535), {"0": 0, "65535": 65535}, ["-1", "65536", "x", "1.0", "²", "1e3", ""]),
        (Whole(), {"-5": -5, "7": 7}, ["--5", "five"]),
        (Share(), {"0": 0.0, "1": 1.0, "5e-1": 0.5}, ["-0.1", "1.1", "nan", "x"]),
        (Switch(), {"true": True, "FALSE": False, "True": True}, ["yes", "1", "maybe"]),
        (Numbers("A,B"), {"0": [0.0], "0,1.5,-3": [0.0, 1.5, -3.0]}, ["0,inf", "a", "1,,2", "nan"]),
        (Names("A,B"), {"[A, B]": ["A", "B"], "A,": ["A"]}, ["A,A", ",", "[]"]),
        (OneOf("first", "last"), {"first": "first"}, ["First", "x"]),
        (Text("NAME"), {"a=b": "a=b"}, []),
    ],
)
def test_types_read_texts(value_type, texts, bad):
    assert {text: value_type.read("key", text) for text in texts} == texts
    for text in bad:
        with pytest.raises(ValueError, match="^key="):
            value_type.read("key", text)

"""recbole_unirep.settings.arguments: the one grammar of command lines: ``--key=value``, ``--key value`` and words."""

from collections import deque
from typing import NamedTuple


class Arguments(NamedTuple):
    """A command line, split.

    Attributes:
        words (list of str): what is not an option, in order.
        texts (dict[str, str]): the text of each option, in order; 'True' of a flag.
    """

    words: list
    texts: dict


def read_arguments(arguments, options=(), flags=()):
    """Splits a command line into words and options.

    Only the first '=' separates a key from its value. A value after a blank may start with one dash (`--seed -1`) but
    not with two, which `--key=--value` allows.

    Args:
        arguments (iterable of str): the command line without the command's name.
        options (collection of str): names with '_' that may be spelled with '-' as well.
        flags (collection of str): names, spelled likewise, of options that take no value.

    Returns:
        Arguments: option names are spelled with '_'; all other keys are as given.

    Raises:
        ValueError: an argument has another form, an option has no value, or is given twice with different values.
    """
    words, texts, left = [], {}, deque(arguments)
    while left:
        argument = left.popleft()
        name, equals, text = argument.partition("=")
        if not argument.startswith("-"):
            words.append(argument)
            continue
        if not name.startswith("--") or name == "--":
            raise not_understood(argument)
        key = name[2:].replace("-", "_")
        if key not in options and key not in flags:
            key = name[2:]
        if key in flags:
            if equals and text.lower() != "true":
                raise ValueError(f"{name} takes no value, '{text}' is given: leave it out")
            text = "True"
        elif not equals:
            if not left or left[0].startswith("--"):
                raise ValueError(f"{name} has no value: write {name}=VALUE")
            text = left.popleft()
        if texts.setdefault(key, text) != text:
            raise ValueError(f"{name} is given twice, as '{texts[key]}' and '{text}': give it once")
    return Arguments(words, texts)


def split_arguments(arguments):
    """Keys and texts of a command line that holds nothing but options.

    Args:
        arguments (iterable of str): `--key=value` or `--key`, `value`.

    Returns:
        dict[str, str]: the text of each key.

    Raises:
        ValueError: as `read_arguments`, or an argument is not an option.
    """
    words, texts = read_arguments(arguments)
    if words:
        raise not_understood(words[0])
    return texts


def join_arguments(texts):
    """The command line of keys and texts, `--key=value` each, list of str."""
    return [f"--{key}={text}" for key, text in texts.items()]


def not_understood(argument):
    """The error about an argument that is not an option where only options are expected."""
    return ValueError(f"argument '{argument}' is not understood: write --key=value, e.g. --model=UniRep")

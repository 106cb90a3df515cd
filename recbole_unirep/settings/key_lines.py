"""recbole_unirep.settings.key_lines: default and description of config keys, read off their lines in yaml files.

``--help`` shows them. It parses no yaml and imports no RecBole, so that it is fast.
"""

import functools
import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

from recbole_unirep.settings.shipped import shipped_file

LINE = re.compile(r"^([\w-]+):[ \t]*(.*?)[ \t]*# \(([\w ]+)\) (.+?)[ \t]*$", re.MULTILINE)


class KeyLine(NamedTuple):
    """One key of a yaml file.

    Attributes:
        default (str): its value as written there, '' if that takes several lines.
        type (str): such as 'int' or 'list of str'.
        description (str): what it means.
    """

    default: str
    type: str
    description: str


@functools.cache
def key_lines(file):
    """Keys at a yaml file's left margin that are described on their line, dict[str, KeyLine]; none without a file."""
    if not file.is_file():
        return {}
    return {key: KeyLine(*line) for key, *line in LINE.findall(file.read_text(encoding="utf-8"))}


@functools.cache
def general_key_lines():
    """Keys of every model, dict[str, KeyLine]: RecBole's, under ours."""
    recbole = importlib.util.find_spec("recbole")  # finds the package without importing it
    lines = {}
    for folder in recbole.submodule_search_locations if recbole else ():
        lines.update(key_lines(Path(folder) / "properties" / "overall.yaml"))
    return {**lines, **key_lines(shipped_file("overall.yaml"))}


@functools.cache
def all_key_lines():
    """Keys of every model, and keys of our models and tokenizers, dict[str, KeyLine]."""
    lines = {}
    for kind in ("model", "tokenizer"):
        for file in sorted(shipped_file(kind).glob("*.yaml")):
            lines.update(key_lines(file))
    return {**lines, **general_key_lines()}

"""recbole_unirep.commands.types: option types with their --help text, shell completion and errors."""

import math
import re

import click

from recbole_unirep.settings.nearest import nearest


class Text(click.ParamType):
    """Any text.

    Args:
        metavar (str): what --help shows for the value.
        names (callable or None): returns the names for shell completion.
    """

    name = "text"

    def __init__(self, metavar, names=None):
        self.metavar, self.names = metavar, names

    def convert(self, value, param, ctx):
        """Parses text into a value; a default that is not a str is returned unchanged."""
        return self.read(param.key, value) if isinstance(value, str) and hasattr(param, "key") else value

    def read(self, key, text):
        """Parses text into a value.

        Raises:
            ValueError: the text is not one of this type.
        """
        return text

    def shell_complete(self, ctx, param, incomplete):
        """Names that begin with the incomplete text."""
        from click.shell_completion import CompletionItem

        names = self.names() if self.names else ()
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class Place(Text):
    """A file, or a folder if the metavar says so."""

    name = "path"

    def shell_complete(self, ctx, param, incomplete):
        """Leaves the completion of paths to the shell."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="dir" if self.metavar == "FOLDER" else "file")]


class OneOf(Text):
    """One of a few names."""

    name = "choice"

    def __init__(self, *names):
        super().__init__("|".join(names), lambda: names)

    def read(self, key, text):
        """The name."""
        if text not in self.names():
            raise ValueError(f"{key}={text} is unknown: {nearest(text, self.names())}")
        return text


class Switch(OneOf):
    """True or False, in any case."""

    name = "bool"

    def __init__(self):
        super().__init__("True", "False")

    def read(self, key, text):
        """The bool."""
        if text.capitalize() not in self.names():
            raise ValueError(f"{key}={text} is neither True nor False: write one of them")
        return text.capitalize() == "True"


class Whole(Text):
    """A whole number.

    Args:
        least (int or None): smallest allowed value.
        most (int or None): largest allowed value.
    """

    name = "int"

    def __init__(self, least=None, most=None):
        super().__init__("N")
        self.least, self.most = least, most

    def read(self, key, text):
        """The int."""
        number = int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else None
        if number is None or (self.least is not None and number < self.least) or number > (self.most or number):
            upper = "" if self.most is None else f" to {self.most}"
            span = "" if self.least is None else f" from {self.least}{upper}" if upper else f" of at least {self.least}"
            raise ValueError(f"{key}={text} is not a whole number{span}: give one")
        return number


class Share(Text):
    """A number from 0 to 1."""

    name = "share"

    def __init__(self):
        super().__init__("SHARE")

    def read(self, key, text):
        """The float."""
        try:
            share = float(text)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            raise ValueError(f"{key}={text} is not a number from 0 to 1: give one")
        return share


class Numbers(Text):
    """Numbers between commas."""

    name = "numbers"

    def read(self, key, text):
        """Returns the numbers (list of float)."""
        try:
            numbers = [float(number) for number in text.split(",")]
        except ValueError:
            numbers = [math.nan]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{key}={text} is not a list of finite numbers: write e.g. --{key}=0,1.5,3")
        return numbers


class Names(Text):
    """Names between commas, each once; brackets around them are dropped."""

    name = "names"

    def read(self, key, text):
        """Returns the names in the given order (list of str)."""
        names = [name.strip() for name in text.strip("[]").split(",") if name.strip()]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"{key}={text}: name each once, separated by commas")
        return names

"""recbole_unirep.commands.command: base class of the commands: one grammar, --help, errors in one line.

click declares arguments and options, converts their values, and completes them in a shell. `settings.arguments` splits
the command line, as in the rest of the package. Options that a command does not declare can be config keys.
"""

import click

from recbole_unirep.commands.parameters import Argument, Option, option
from recbole_unirep.commands.types import Switch
from recbole_unirep.compat.workarounds import require_recbole
from recbole_unirep.settings.arguments import not_understood, read_arguments
from recbole_unirep.settings.key_lines import all_key_lines
from recbole_unirep.settings.nearest import near

HELP = ("-h", "--help")
DEBUG = option("--debug", Switch(), "Show the traceback of an error.", default="False", expose_value=False)
ANY_KEY = "--KEY=VALUE", "Any other config key: those of RecBole and of properties/*.yaml."
CONTEXT = {"help_option_names": list(HELP), "ignore_unknown_options": True, "allow_extra_args": True}


class Command(click.Command):
    """A command. A shell calls it through `shell.call`, Python as `command(["RUN", "--k=5"])`.

    Args:
        example (str): an example command line, shown by --help and in errors about missing options.
        takes_keys (bool): True takes undeclared options as config keys; the callback gets their texts as `keys`
            (dict[str, str]).
        needs_recbole (bool): True if RecBole must be installed.
        **attributes: attributes of click.Command.

    Raises:
        ValueError: the command line is not understood; the message is one line.
    """

    def __init__(self, *, example, takes_keys=False, needs_recbole=True, **attributes):
        super().__init__(context_settings=dict(CONTEXT), **attributes)
        self.example, self.takes_keys, self.needs_recbole = example, takes_keys, needs_recbole
        if "debug" not in self.options:
            DEBUG(self)
        self.gets_keys = takes_keys or any(option.is_key for option in self.options.values())

    @property
    def options(self):
        """Options by key (dict[str, Option])."""
        return {option.key: option for option in self.params if isinstance(option, Option)}

    @property
    def arguments(self):
        """Positional arguments (list of Argument)."""
        return [argument for argument in self.params if isinstance(argument, Argument)]

    def __call__(self, arguments=()):
        """Runs the command in this process and returns the result of its function."""
        with self.make_context(self._path, list(arguments)) as context:
            return self.invoke(context)

    def parse_args(self, ctx, args):
        """Reads the command line into `ctx.params`."""
        if ctx.resilient_parsing:  # shell completion of an unfinished line
            return super().parse_args(ctx, args)
        if not set(HELP).isdisjoint(args):
            click.echo(ctx.get_help())
            ctx.exit()
        options = self.options
        if not self.takes_keys:
            self._check_options(args)  # before the value of an unknown option is missed
        words, texts = read_arguments(args, options, [key for key, option in options.items() if option.is_flag])
        self._check_words(words)
        keys, declared = {}, []
        for key, text in texts.items():
            option = options.get(key)
            if option is None and not self.takes_keys:
                raise self.no_such_option(key)
            if option is None or option.is_key and self.takes_keys:
                keys[key] = text
                continue
            if not text.strip() and not option.may_be_empty:
                raise ValueError(f"--{key} is empty: write --{key}={option.metavar}")
            if option.is_key:
                keys[key] = text
            else:
                declared.append(option.opts[0] + ("" if option.is_flag else f"={text}"))
        missing = [key for key, option in options.items() if option.is_needed and key not in texts]
        if missing:
            raise ValueError(f"{self.name} needs --{missing[0]}: write e.g. {self.example}")
        rest = super().parse_args(ctx, [*declared, "--", *words])
        if self.gets_keys:
            ctx.params["keys"] = keys
        return rest

    def invoke(self, ctx):
        """Runs the command's function."""
        if self.needs_recbole:
            require_recbole()
        if self.takes_keys:
            self._check_spelling(ctx.params["keys"])
        return super().invoke(ctx)

    def no_such_option(self, key, known=()):
        """Returns the error for an option that the command does not have.

        Args:
            key (str): name of the option.
            known (iterable of str): config keys to suggest in addition to the options.

        Returns:
            ValueError: its message is one line.
        """
        spelled = {**{key: option.opts[0] for key, option in self.options.items()}, "help": HELP[-1]}
        own = [spelled[name] for name in near(key, spelled)]
        close = [*own, *(f"--{name}" for name in near(key, set(known) - set(spelled)))][:3]
        remedy = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(spelled.values())}"
        return ValueError(f"{self.name} has no option --{key}: {remedy}")

    def _check_options(self, args):
        """Raises ValueError at the first option that the command does not have."""
        for argument in args:
            key = argument.partition("=")[0][2:]
            if argument.startswith("--") and key and key.replace("-", "_") not in self.options:
                raise self.no_such_option(key)

    def _check_words(self, words):
        """Raises ValueError if arguments are missing, empty, or too many."""
        needed = [argument for argument in self.arguments if argument.nargs == 1]
        if len(words) < len(needed):
            first = needed[len(words)]
            usage = " ".join(argument.metavar for argument in needed)
            raise ValueError(f"{self.name} needs {first.metavar}, {first.meaning}: write {self._path} {usage}")
        for word, argument in zip(words, self.arguments):
            if not word.strip():
                raise ValueError(f"{argument.metavar} is empty: name {argument.meaning}")
        if len(words) > len(needed) == len(self.arguments):
            raise not_understood(words[len(needed)])

    @property
    def _path(self):
        return f"unirep {self.name}" if self.example.startswith("unirep") else self.name

    def _check_spelling(self, keys):
        """Raises ValueError if an unknown config key is close to an option of the command.

        Config reports the other unknown keys, but does not know the command's options.
        """
        options = {key for key, option in self.options.items() if not option.is_key}
        doubtful = [key for key in keys if near(key.rpartition(".")[2], options)]
        if not doubtful:
            return
        from recbole_unirep.settings.known_keys import general_keys, keys_in, recbole_models, special_keys

        known = general_keys().union(special_keys(), *map(keys_in, recbole_models().values()))
        for key in doubtful:
            if key.rpartition(".")[2] not in known:
                raise self.no_such_option(key, known)

    def collect_usage_pieces(self, ctx):
        """Pieces of the usage line, such as RUN [OPTIONS]."""
        return [*(argument.usage for argument in self.arguments), self.options_metavar]

    def get_short_help_str(self, limit=45):
        """Returns the first line of the function's docstring, not shortened."""
        return self.help.strip().splitlines()[0]

    def format_help(self, ctx, formatter):
        """Writes usage, description, arguments, options with their defaults, and an example."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        records = [argument.get_help_record(ctx) for argument in self.arguments]
        if records:
            with formatter.section("Arguments"):
                formatter.write_dl(records)
        records = [option.get_help_record(ctx) for option in self.options.values()]
        with formatter.section("Options"):
            formatter.write_dl([*records, *([ANY_KEY] if self.takes_keys else []), ("-h, --help", "Show this help.")])
        with formatter.section("Example"):
            formatter.write(f"{'':>{formatter.current_indent}}{self.example}\n")

    def shell_complete(self, ctx, incomplete):
        """Completes options of the command, and config keys if it takes them."""
        from click.shell_completion import CompletionItem

        found = super().shell_complete(ctx, incomplete)
        if not self.takes_keys or not incomplete.startswith("--"):
            return found
        keys = all_key_lines().items()
        return found + [
            CompletionItem(f"--{key}", help=line.description)
            for key, line in keys
            if f"--{key}".startswith(incomplete) and key not in self.options
        ]


def command(name, *, example, **attributes):
    """Decorator that turns a function into a Command; its docstring is the help text."""
    return click.command(name, cls=Command, example=example, **attributes)

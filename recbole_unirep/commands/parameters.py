"""recbole_unirep.commands.parameters: arguments and options of commands, each with a description and a default."""

import click

from recbole_unirep.commands.types import Place, Switch, Text
from recbole_unirep.settings.key_lines import general_key_lines


class Argument(click.Argument):
    """Positional argument of a command.

    Args:
        declarations (sequence of str): parameter declarations of click.
        meaning (str): description in errors and --help.
        **attributes: attributes of click.Argument, such as `metavar`.
    """

    def __init__(self, declarations, *, meaning, **attributes):
        super().__init__(declarations, required=False, **attributes)  # Command reports missing arguments
        self.meaning = meaning

    @property
    def usage(self):
        """Text in the usage line."""
        return self.metavar if self.nargs == 1 else f"[{self.metavar} ...]"

    def get_help_record(self, ctx):
        """Returns name and description for --help."""
        return self.usage, f"{self.meaning[0].upper()}{self.meaning[1:]}."


class Option(click.Option):
    """Option of a command.

    Args:
        declarations (sequence of str): parameter declarations of click.
        meaning (str or None): a sentence; None takes the remark of the yaml file that declares the key.
        shown (str or None): the default in words, if `default` does not show it.
        is_key (bool): True for a config key, whose text is passed in `keys` unchanged.
        is_needed (bool): True if the option must be given.
        may_be_empty (bool): True if an empty text is allowed.
        **attributes: attributes of click.Option.
    """

    def __init__(
        self, declarations, *, meaning, shown=None, is_key=False, is_needed=False, may_be_empty=False, **attributes
    ):
        super().__init__(declarations, help=meaning, **attributes)
        self.meaning, self.shown, self.is_key = meaning, shown, is_key
        self.is_needed, self.may_be_empty = is_needed, may_be_empty
        self.metavar = None if self.is_flag else self.metavar or self.type.metavar

    @property
    def key(self):
        """Name of the option without dashes."""
        return self.opts[0][2:].replace("-", "_")

    def shown_default(self):
        """Text of the default in --help."""
        if self.is_needed:
            return "required"
        if self.shown is not None:
            return f"default: {self.shown}"
        if self.is_flag:
            return "default: off"
        if self.is_key:
            line = general_key_lines().get(self.key)
            written = line.default.strip("'\"") if line else ""
            return f"default: {'none' if written == '~' else written}"
        return f"default: {self.default}"

    def get_help_record(self, ctx):
        """Returns name, sentence and default for --help."""
        name = self.opts[0] if self.is_flag else f"{self.opts[0]}={self.metavar}"
        meaning = self.meaning
        if meaning is None:
            line = general_key_lines().get(self.key)
            meaning = line.description if line else ""
        return name, f"{meaning}  [{self.shown_default()}]"


def argument(name, metavar, meaning, **attributes):
    """Decorator that adds an argument to a command."""
    return click.argument(name, cls=Argument, metavar=metavar, meaning=meaning, **attributes)


def option(name, value_type, meaning, **attributes):
    """Decorator that adds an option to a command; without `default` or `shown` it must be needed."""
    return click.option(name, cls=Option, type=value_type, meaning=meaning, **attributes)


def flag(name, meaning, **attributes):
    """Decorator that adds an option without a value to a command."""
    return click.option(name, cls=Option, is_flag=True, default=False, meaning=meaning, **attributes)


def key_option(name, value_type, meaning=None, **attributes):
    """Decorator that lists a config key among a command's options; its text goes to the config unchanged."""
    return option(name, value_type, meaning, is_key=True, expose_value=False, **attributes)


INDEXES = ("exact", "faiss", "hnsw")
DATASET = "A folder NAME with NAME.inter in it, under --data_path, or a dataset that RecBole downloads."
dataset_key = key_option("--dataset", Text("NAME"), DATASET, shown="none")
data_path_key = key_option("--data_path", Place("FOLDER"), "Folder that holds the datasets' folders.")
text_encoder_key = key_option("--text_encoder", Text("NAME"))
run_argument = argument("run", "RUN", "the folder of a finished run", type=Place("FOLDER"))
run_data_path = option(
    "--data_path", Place("FOLDER"), "Current folder of the datasets.", shown="the folder that the run used"
)


def ranking_keys(function):
    """Decorator that lists the ranking settings that can differ from the run's."""
    for name, (value_type, meaning) in reversed(RANKING_KEYS.items()):
        function = key_option(f"--{name}", value_type, meaning, shown="the run's")(function)
    return function


RANKING_KEYS = {
    "num_beams": (Text("N"), "Beams in the search of a generative model."),
    "exact_ranking": (Switch(), "For a generative model: score every item instead of using beam search."),
    "scores_at_once": (Text("N"), "Maximum number of scores in memory at once."),
    "eval_batch_size": (Text("N"), "Users per forward pass."),
    "use_gpu": (Switch(), "Use a GPU if there is one."),
    "gpu_id": (Text("N"), "Which GPU."),
}

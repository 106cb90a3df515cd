"""recbole_unirep.commands.parameters: arguments and options of commands, each with a sentence and its default."""

import click

from recbole_unirep.commands.types import Place, Switch, Text
from recbole_unirep.settings.key_lines import general_key_lines


class Argument(click.Argument):
    """What a command takes by its place.

    Args:
        declarations (sequence of str): click's.
        meaning (str): what it is, as an error and --help say it.
        **attributes: click's, `metavar` among them.
    """

    def __init__(self, declarations, *, meaning, **attributes):
        super().__init__(declarations, required=False, **attributes)  # the command says what is missing
        self.meaning = meaning

    @property
    def usage(self):
        """As in the usage line."""
        return self.metavar if self.nargs == 1 else f"[{self.metavar} ...]"

    def get_help_record(self, ctx):
        """Name and meaning."""
        return self.usage, f"{self.meaning[0].upper()}{self.meaning[1:]}."


class Option(click.Option):
    """What a command takes by its name.

    Args:
        declarations (sequence of str): click's.
        meaning (str or None): a sentence; None is the one in the yaml file that declares the key.
        shown (str or None): the default in words, where `default` does not say it.
        is_key (bool): whether it is a config key, whose text goes into `keys` as it is.
        is_needed (bool): whether the command can't do without.
        may_be_empty (bool): whether an empty text means something.
        **attributes: click's.
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
        """Its name without dashes."""
        return self.opts[0][2:].replace("-", "_")

    def shown_default(self):
        """What --help shows of the default."""
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
        """Name, sentence and default."""
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
    """Decorator that adds an option to a command; without `default` or `shown` it has to be needed."""
    return click.option(name, cls=Option, type=value_type, meaning=meaning, **attributes)


def flag(name, meaning, **attributes):
    """Decorator that adds an option without a value to a command."""
    return click.option(name, cls=Option, is_flag=True, default=False, meaning=meaning, **attributes)


def key_option(name, value_type, meaning=None, **attributes):
    """Decorator that lists a config key among a command's options; its text goes to the config as it is."""
    return option(name, value_type, meaning, is_key=True, expose_value=False, **attributes)


INDEXES = ("exact", "faiss", "hnsw")
DATASET = "A folder NAME with NAME.inter in it, under --data_path, or a dataset that RecBole downloads."
dataset_key = key_option("--dataset", Text("NAME"), DATASET, shown="none")
data_path_key = key_option("--data_path", Place("FOLDER"), "Folder that holds the datasets' folders.")
text_encoder_key = key_option("--text_encoder", Text("NAME"))
run_argument = argument("run", "RUN", "the folder of a finished run", type=Place("FOLDER"))
run_data_path = option(
    "--data_path", Place("FOLDER"), "Where the datasets' folders are now.", shown="where the run found them"
)


def ranking_keys(function):
    """Decorator that lists the settings of ranking that may differ from a run's."""
    for name, (value_type, meaning) in reversed(RANKING_KEYS.items()):
        function = key_option(f"--{name}", value_type, meaning, shown="the run's")(function)
    return function


RANKING_KEYS = {
    "num_beams": (Text("N"), "Beams of a generative model's search."),
    "exact_ranking": (Switch(), "Of a generative model: score every item instead of searching by beams."),
    "scores_at_once": (Text("N"), "Most scores to hold in memory at once."),
    "eval_batch_size": (Text("N"), "Users per forward pass."),
    "use_gpu": (Switch(), "Use a GPU if there is one."),
    "gpu_id": (Text("N"), "Which GPU."),
}

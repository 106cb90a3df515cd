"""recbole_unirep.commands.run_recbole: `run_recbole` trains and tests one run."""

import click

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import (
    data_path_key,
    dataset_key,
    flag,
    key_option,
    text_encoder_key,
)
from recbole_unirep.commands.types import Place, Switch, Text
from recbole_unirep.settings.arguments import join_arguments
from recbole_unirep.settings.extensions import extension_names
from recbole_unirep.settings.shipped import shipped_names
from recbole_unirep.version import __version__


def _show_version(context, option, is_asked):
    if is_asked:
        click.echo(f"recbole-unirep {__version__}")
        context.exit()


@command("run_recbole", takes_keys=True, example="run_recbole --model=UniRep --dataset=ml-100k --learning_rate=1e-3")
@key_option(
    "--model",
    Text("NAME", lambda: [*shipped_names("model"), *extension_names("model")]),
    "UniRep, or a model of ours, of RecBole or of another package.",
    shown="none",
)
@dataset_key
@data_path_key
@text_encoder_key
@key_option("--preset", Text("NAME"))
@key_option("--config_files", Place("FILES"))
@key_option("--epochs", Text("N"))
@key_option("--learning_rate", Text("RATE"))
@key_option("--seed", Text("N"))
@key_option("--protocol", Text("NAMES"))
@key_option("--nproc", Text("N"))
@key_option("--run_dir", Place("FOLDER"))
@key_option("--resume", Place("FOLDER"))
@key_option("--debug", Switch(), "Show the traceback of an error.")
@flag("--version", "Show the version.", callback=_show_version, is_eager=True, expose_value=False)
def run_recbole(keys):
    """Train and test a recommender: UniRep, or any model of RecBole.

    All models get the same defaults, data, split, candidates and metrics. Every config key of RecBole and of the
    yaml files under properties can be set.
    """
    import recbole_unirep

    recbole_unirep.run_recbole(arguments=join_arguments(keys))

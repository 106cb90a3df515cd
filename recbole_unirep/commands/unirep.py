"""recbole_unirep.commands.unirep: `unirep COMMAND`; a command's file is imported when it is called."""

import importlib

import click

from recbole_unirep.commands.command import HELP
from recbole_unirep.settings.nearest import nearest
from recbole_unirep.version import __version__

# Command -> its module in commands/, which holds it under the same name.
COMMANDS = {
    "prepare": "prepare",
    "validate": "validate",
    "embed": "embed",
    "tokenize": "tokenize",
    "encode-items": "encode_items",
    "inspect": "inspect_ids",
    "compare": "compare",
    "study": "study",
    "tune": "tune",
    "rank-weights": "rank_weights",
    "figures": "figures",
    "recommend": "recommend",
    "add-items": "add_items",
    "serve": "serve",
    "export": "export",
    "import-recbole": "import_recbole",
}


class Unirep(click.Group):
    """The group of commands."""

    def list_commands(self, ctx):
        """Command names in the order of a project: data, semantic IDs, studies, recommendations."""
        return list(COMMANDS)

    def get_command(self, ctx, name):
        """Returns a command, None if there is none of that name."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"recbole_unirep.commands.{COMMANDS[name]}")
        return getattr(module, COMMANDS[name])

    def parse_args(self, ctx, args):
        """Splits the command from its arguments.

        Raises:
            ValueError: there is no command of that name.
        """
        if not ctx.resilient_parsing and args[0] not in COMMANDS and args[0] not in (*HELP, "--version"):
            raise ValueError(f"command '{args[0]}' is unknown: {nearest(args[0], COMMANDS)}")
        return super().parse_args(ctx, args)

    def format_commands(self, ctx, formatter):
        """Writes a line for each command."""
        with formatter.section("Commands"):
            commands = ((name, self.get_command(ctx, name)) for name in COMMANDS)
            formatter.write_dl([(name, command.get_short_help_str()) for name, command in commands])

    def format_epilog(self, ctx, formatter):
        """Writes how to complete commands and options in a shell."""
        formatter.write(f"\n{self.epilog}\n")


@click.group(
    cls=Unirep,
    context_settings={"help_option_names": list(HELP)},
    subcommand_metavar="COMMAND [OPTIONS]",
    options_metavar="",
    epilog="""\
unirep COMMAND --help shows a command's options, with defaults and an example. Values follow '=' or a blank.
Tab completion in bash, for the shell at hand or in ~/.bashrc (zsh: zsh_source, fish: fish_source):
  eval "$(_UNIREP_COMPLETE=bash_source unirep; _RUN_RECBOLE_COMPLETE=bash_source run_recbole)\"""",
)
@click.version_option(__version__, prog_name="recbole-unirep", message="%(prog)s %(version)s")
def unirep():
    """Semantic IDs, comparisons and recommendations with RecBole.

    Use run_recbole to train a single run.
    """

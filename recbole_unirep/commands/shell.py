"""recbole_unirep.commands.shell: runs a command for a shell: completion, exit codes, errors in one line."""

import os
import sys

import click


def call(command, name, arguments):
    """Runs a command.

    Args:
        command (click.Command): `unirep` or `run_recbole`.
        name (str): name of the command in the shell.
        arguments (list of str): command line after the name.

    Returns:
        int: the exit code: 0; 1 if the command returned False (`inspect` and `validate`: not healthy); 2 for a mistake
        that the user can correct; 130 for Ctrl-C.
    """
    instruction = os.environ.get(variable := f"_{name.upper()}_COMPLETE")
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, name, variable, instruction)
    if not arguments:
        print(click.Context(command, info_name=name).get_help(), file=sys.stderr)
        return 2
    try:
        with command.make_context(name, list(arguments)) as context:
            return int(command.invoke(context) is False)
    except click.exceptions.Exit as end:  # --help, --version
        return end.exit_code
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, ImportError) as error:
        if _wants_traceback(arguments):
            raise
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _wants_traceback(arguments):
    """True if --debug=True or --debug True is given, even if another option is wrong."""
    lower = [argument.lower() for argument in arguments]
    return "--debug=true" in lower or ("--debug", "true") in zip(lower, lower[1:])

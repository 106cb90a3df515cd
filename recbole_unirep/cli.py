"""recbole_unirep.cli: the two entry points, `run_recbole` and `unirep`."""

import sys

from recbole_unirep.commands.shell import call


def run_recbole():
    """Train and test a model; returns the exit code of the process."""
    from recbole_unirep.commands.run_recbole import run_recbole as command

    return call(command, "run_recbole", sys.argv[1:])


def unirep():
    """Run one of the commands of unirep; returns the exit code of the process."""
    from recbole_unirep.commands.unirep import unirep as command

    return call(command, "unirep", sys.argv[1:])

"""recbole-unirep: unified semantic and ID representations for RecBole's sequential recommenders.

Nothing heavy is imported here, so that ``run_recbole --help`` answers at once.
"""

from recbole_unirep.compat import require_recbole

__version__ = "0.1.0"


def register():
    """Make RecBole's own lookups and Config know our models and their yaml; calling it again changes nothing."""
    require_recbole()
    from recbole_unirep import config

    config.register()


def run_recbole(model=None, dataset=None, config_file_list=None, config_dict=None, arguments=()):
    """Train and test a model, see :func:`recbole_unirep.quick_start.run_recbole`."""
    require_recbole()
    from recbole_unirep import quick_start

    return quick_start.run_recbole(model, dataset, config_file_list, config_dict, arguments)


def load_data_and_model(run):
    """Read a run's folder back, see :func:`recbole_unirep.quick_start.load_data_and_model`."""
    require_recbole()
    from recbole_unirep import quick_start

    return quick_start.load_data_and_model(run)


def read_ranks(run):
    """Read the test ranks that a run kept, see :func:`recbole_unirep.training.ranks.read_ranks`."""
    from recbole_unirep.training import ranks

    return ranks.read_ranks(run)

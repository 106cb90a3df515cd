"""recbole-unirep: unified semantic and ID representations for RecBole's sequential recommenders.

Nothing heavy is imported here, so that ``run_recbole --help`` answers at once.
"""

from recbole_unirep.compat.workarounds import require_recbole
from recbole_unirep.version import __version__ as __version__


def register(unsafe_pickle=False):
    """Make RecBole's own lookups and Config know our models and their yaml; calling it again changes nothing.

    Args:
        unsafe_pickle (bool): True lets RecBole's own code read checkpoints that other processes pickled, such as those
            of earlier days, and run whatever is in them; what this process has written it reads anyway.
    """
    require_recbole()
    from recbole_unirep import config
    from recbole_unirep.compat import pickle_guard

    config.register()
    if unsafe_pickle:
        pickle_guard.allow_for_good()


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


def recommend(run, items=None, users=None, k=10, **options):
    """Recommend items to histories or known users, all in one list.

    Args:
        run (str or Path): folder of a finished run.
        items (sequence of sequences of str or None): histories of item tokens, oldest first.
        users (sequence of str or None): tokens of known users; neither items nor users: all known users.
        k (int): how many items each.
        **options: `candidates` and `keep_earlier` of :meth:`recbole_unirep.serving.recommender.Recommender.recommend`,
            others of its `load`, which a service calls once (`recbole_unirep.Recommender`).

    Returns:
        list of Recommendation: user, items, titles and scores of each row.
    """
    require_recbole()
    from recbole_unirep.serving.recommender import Recommender

    asked = {name: options.pop(name) for name in ("candidates", "keep_earlier") if name in options}
    return Recommender.load(run, **options).recommend(items, users, k, **asked)


def add_items(run, new_items, **options):
    """Add new items to a finished run without training, see :func:`recbole_unirep.serving.add_items.add_items`."""
    require_recbole()
    from recbole_unirep.serving import add_items

    return add_items.add_items(run, new_items, **options)


def load_export(folder, n_threads=0):
    """Read what `unirep export` wrote, by numpy and onnxruntime alone, without RecBole, torch or the run's data.

    Args:
        folder (str or Path): of the export.
        n_threads (int): of one forward; 0 is onnxruntime's own choice.

    Returns:
        ExportedRecommender: `recommend` and `scores`, see :mod:`recbole_unirep.serving.exported`.

    Raises:
        FileNotFoundError: there is no export, or a file of it is missing.
        ValueError: a file is not the one that was written; the message names it.
    """
    from recbole_unirep.serving.exported import ExportedRecommender

    return ExportedRecommender(folder, n_threads)


def __getattr__(name):
    """Recommender, whose module is heavy."""
    if name != "Recommender":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    require_recbole()
    from recbole_unirep.serving.recommender import Recommender

    return Recommender


def read_ranks(run):
    """Read the test ranks that a run kept, see :func:`recbole_unirep.scoring.ranks.read_ranks`."""
    from recbole_unirep.scoring import ranks

    return ranks.read_ranks(run)

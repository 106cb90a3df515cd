"""recbole-unirep: unified semantic and ID representations for RecBole's sequential recommenders.

This module imports nothing heavy, so ``run_recbole --help`` is fast.
"""

from recbole_unirep.compat.workarounds import require_recbole
from recbole_unirep.version import __version__ as __version__


def register(unsafe_pickle=False):
    """Register our models and their yaml files with RecBole; further calls have no effect.

    Args:
        unsafe_pickle (bool): True allows RecBole's own code to unpickle checkpoints written by other processes, which
            runs any code they contain. Checkpoints written by this process can always be read.
    """
    require_recbole()
    from recbole_unirep import config
    from recbole_unirep.compat import pickle_guard

    config.register()
    if unsafe_pickle:
        pickle_guard.allow_by_default()


def run_recbole(model=None, dataset=None, config_file_list=None, config_dict=None, arguments=()):
    """Train and test a model, see :func:`recbole_unirep.quick_start.run_recbole`."""
    require_recbole()
    from recbole_unirep import quick_start

    return quick_start.run_recbole(model, dataset, config_file_list, config_dict, arguments)


def load_data_and_model(run):
    """Load a run's config, model and data, see :func:`recbole_unirep.quick_start.load_data_and_model`."""
    require_recbole()
    from recbole_unirep import quick_start

    return quick_start.load_data_and_model(run)


def recommend(run, items=None, users=None, k=10, **options):
    """Recommend items for histories or for known users.

    Args:
        run (str or Path): folder of a finished run.
        items (sequence of sequences of str or None): histories of item tokens, oldest first.
        users (sequence of str or None): tokens of known users. If `items` and `users` are None: all known users.
        k (int): number of items per history or user.
        **options: `candidates` and `keep_earlier` are arguments of
            :meth:`recbole_unirep.serving.recommender.Recommender.recommend`, all others of its `load`. A service should
            load the recommender once (`recbole_unirep.Recommender`) instead of calling this function.

    Returns:
        list of Recommendation: user, items, titles and scores, one per history or user.
    """
    require_recbole()
    from recbole_unirep.serving.recommender import Recommender

    per_call = {name: options.pop(name) for name in ("candidates", "keep_earlier") if name in options}
    return Recommender.load(run, **options).recommend(items, users, k, **per_call)


def add_items(run, new_items, **options):
    """Add new items to a finished run without retraining, see :func:`recbole_unirep.serving.add_items.add_items`."""
    require_recbole()
    from recbole_unirep.serving import add_items

    return add_items.add_items(run, new_items, **options)


def load_export(folder, n_threads=0):
    """Load an export of `unirep export`; needs only numpy and onnxruntime, not RecBole, torch or the run's data.

    Args:
        folder (str or Path): folder of the export.
        n_threads (int): threads per forward pass; 0 lets onnxruntime choose.

    Returns:
        ExportedRecommender: has `recommend` and `scores`, see :mod:`recbole_unirep.serving.exported`.

    Raises:
        FileNotFoundError: the folder holds no export, or one of its files is missing.
        ValueError: a file is damaged; the message names it.
    """
    from recbole_unirep.serving.exported import ExportedRecommender

    return ExportedRecommender(folder, n_threads)


def __getattr__(name):
    """Import `Recommender` on first access, because its module is heavy."""
    if name != "Recommender":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    require_recbole()
    from recbole_unirep.serving.recommender import Recommender

    return Recommender


def read_ranks(run):
    """Read the test ranks stored by a run, see :func:`recbole_unirep.scoring.ranks.read_ranks`."""
    from recbole_unirep.scoring import ranks

    return ranks.read_ranks(run)

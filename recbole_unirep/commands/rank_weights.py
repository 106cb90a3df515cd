"""recbole_unirep.commands.rank_weights: `unirep rank-weights` chooses ranking weights on validation."""

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import option, run_argument, run_data_path
from recbole_unirep.commands.types import Numbers


@command("rank-weights", example="unirep rank-weights RUN --history_similarity=0,1.5,3 --popularity_bias=0,0.2")
@run_argument
@option("--history_similarity", Numbers("A,B,.."), "Weights to try for history_similarity.", shown="the run's weight")
@option("--popularity_bias", Numbers("A,B,.."), "Weights to try for popularity_bias.", shown="the run's weight")
@run_data_path
def rank_weights(run, history_similarity, popularity_bias, data_path):
    """Compare ranking weights of a finished UniRep on validation, without training.

    Ranks the validation items under every combination of weights. Writes the metrics to rank_weights.csv in the run's
    folder, and the best combination to rank_weights.json. No test item is ranked.
    """
    weights = {"history_similarity": history_similarity, "popularity_bias": popularity_bias}
    weights = {key: numbers for key, numbers in weights.items() if numbers is not None}
    if not weights:
        raise ValueError("rank-weights needs weights to try: write e.g. --history_similarity=0,1.5,3")
    from recbole_unirep.study.rank_weights import compare_weights

    return compare_weights(run, weights, data_path)

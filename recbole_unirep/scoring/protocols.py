"""recbole_unirep.scoring.protocols: metrics of a split under each protocol that the config names."""

from recbole_unirep.scoring.evaluation import PROTOCOLS, Ranking, rank_targets
from recbole_unirep.scoring.metrics import metrics_of, n_top_needed
from recbole_unirep.scoring.ranks import write_ranks

RECBOLE = "recbole"  # RecBole's own evaluation


def protocols_asked(protocol):
    """Returns the protocols that the value of the key `protocol` names.

    Args:
        protocol (str or list or None): the key's value; a str may hold several names, separated by commas.

    Returns:
        list[str]: names in PROTOCOLS, or RECBOLE alone.

    Raises:
        ValueError: a name is unknown, or RECBOLE is combined with others.
    """
    protocols = [name.strip() for name in protocol.split(",")] if isinstance(protocol, str) else list(protocol or ())
    for name in protocols:
        if name not in (*PROTOCOLS, RECBOLE):
            raise ValueError(f"protocol={name} is not known: choose among {', '.join(PROTOCOLS)}, or {RECBOLE}")
    if RECBOLE in protocols and len(protocols) > 1:
        raise ValueError(
            f"protocol={','.join(protocols)}: {RECBOLE} has its own data, split and candidates: use it alone"
        )
    return protocols


def evaluate_protocols(model, data, protocols, config, ranks_file):
    """Ranks the targets of a split and computes the metrics.

    Args:
        model (recbole AbstractRecommender): in evaluation mode.
        data (HeldOut): the split.
        protocols (sequence of str): names in `evaluation.PROTOCOLS`.
        config (Config): `metrics`, `topk`, `eval_batch_size`, `scores_at_once`, `device`.
        ranks_file (Path or None): file for the rank of every user's target.

    Returns:
        dict[str, dict[str, float]]: protocol to metrics. With cold items, 'uni99' is followed by 'uni99 warm' and
        'uni99 cold'.
    """
    rankings = rank_targets(
        model,
        data,
        protocols,
        batch_size=config["eval_batch_size"],
        scores_at_once=config["scores_at_once"],
        n_top=n_top_needed(config),
        device=config["device"],
    )
    if ranks_file and rankings:
        ranks = {protocol: ranking.ranks for protocol, ranking in rankings.items()}
        write_ranks(ranks_file, data.user_tokens[data.targets.users.numpy()], ranks)
    return {name: metrics_of(ranking, config, data) for name, ranking in _with_slices(rankings, data)}


def _with_slices(rankings, data):
    """Yields each protocol's ranking; if there are cold targets, also those of warm and of cold targets."""
    is_cold = data.targets.items >= data.n_training_items
    for protocol, ranking in rankings.items():
        yield protocol, ranking
        for name, rows in (("warm", ~is_cold), ("cold", is_cold)) if is_cold.any() else ():
            yield f"{protocol} {name}", Ranking(*(part[rows] for part in ranking))

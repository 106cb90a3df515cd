"""recbole_unirep.model.build: builds a model from its config."""

from logging import getLogger

from recbole_unirep.compat.pickle_guard import pickles
from recbole_unirep.model import MODELS
from recbole_unirep.scoring.model_contract import CAUSAL, RowTrained
from recbole_unirep.scoring.protocols import RECBOLE, protocols_asked
from recbole_unirep.settings.with_keys import with_keys
from recbole_unirep.training.losses import has_row_loss, is_row_loss
from recbole_unirep.training.optimization import check_optimization


def trains_rows(config):
    """True if the model trains on our rows: it has a loss for them, and the config does not select RecBole's loader."""
    if config["training_rows"] not in ("user", "target", "prefix"):
        raise ValueError(f"training_rows={config['training_rows']} is not known: choose user, target or prefix")
    asks_for_prefixes = config["training_rows"] == "prefix" or RECBOLE in protocols_asked(config["protocol"])
    takes_rows = has_row_loss(config["model"], config["loss_type"])
    if config["model"] in MODELS and not takes_rows:
        over_backbone = config["backbone"] is not None
        takes_rows = config["backbone"] in CAUSAL if over_backbone else issubclass(config.model_class, RowTrained)
    return takes_rows and not asks_for_prefixes


def build_model(config, dataset, in_rows=None):
    """Builds the model on its device.

    Args:
        config (Config): ours.
        dataset (recbole Dataset): the training part.
        in_rows (bool or None): result of `trains_rows`; None calls it here.

    Returns:
        recbole AbstractRecommender: one of ours or RecBole's.
    """
    in_rows = trains_rows(config) if in_rows is None else in_rows
    has_row_loss_alone = is_row_loss(config["model"], config["loss_type"], in_rows)  # RecBole has only CE and BPR
    changed = with_keys(config, loss_type="CE") if has_row_loss_alone and config["model"] not in MODELS else config
    try:
        with pickles(config.allows_pickles):  # some RecBole models read pre-trained files here
            model = config.model_class(changed, dataset).to(config["device"])
    except (NotImplementedError, AssertionError) as error:  # RecBole's way to refuse an option
        raise ValueError(
            f"{config['model']} rejects its settings (loss_type={config['loss_type']}): {error or type(error).__name__}"
        ) from error
    check_optimization(config, model)
    getLogger().info(model)
    return model

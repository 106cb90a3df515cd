"""recbole_unirep.model.build: a model from its config."""

from logging import getLogger

from recbole_unirep.compat.pickle_guard import pickles
from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.model import MODELS
from recbole_unirep.model.backbone import with_keys
from recbole_unirep.scoring.model_contract import CAUSAL
from recbole_unirep.scoring.protocols import RECBOLE, protocols_asked
from recbole_unirep.training.losses import has_row_loss, is_row_loss
from recbole_unirep.training.optimization import check_optimization


def trains_rows(config):
    """Whether our rows train this model: there is a loss for it, and nobody asks for RecBole's loader or evaluation."""
    if config["training_rows"] not in ("user", "target", "prefix"):
        raise ValueError(f"training_rows={config['training_rows']} is not known: choose user, target or prefix")
    asks_for_prefixes = config["training_rows"] == "prefix" or RECBOLE in protocols_asked(config["protocol"])
    takes_rows = has_row_loss(config["model"], config["loss_type"])
    if config["model"] in MODELS and not takes_rows:
        takes_rows = config["backbone"] in CAUSAL or getattr(config.model_class, "trains_in_rows", False)
    return takes_rows and not asks_for_prefixes


def build_model(config, dataset):
    """The model on its device.

    Args:
        config (Config): ours.
        dataset (recbole Dataset): the training part.

    Returns:
        recbole AbstractRecommender: one of ours or RecBole's.
    """
    in_rows = is_row_loss(config["model"], config["loss_type"], trains_rows(config))  # RecBole knows CE and BPR only
    changed = with_keys(config, loss_type="CE") if in_rows and config["model"] not in MODELS else config
    try:
        with pickles(config.allows_pickles):  # of pre-trained parts that the settings name
            model = config.model_class(changed, dataset).to(config["device"])
    except (NotImplementedError, AssertionError) as error:  # RecBole's way to refuse an option
        raise ValueError(
            f"{config['model']} refuses its settings (loss_type={config['loss_type']}): {error or type(error).__name__}"
        ) from error
    model.n_training_items = n_training_items(dataset)
    check_optimization(config, model)
    getLogger().info(model)
    return model

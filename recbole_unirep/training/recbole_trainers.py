"""recbole_unirep.training.recbole_trainers: RecBole's trainers over our engine.

RecBole's special trainers (pre-training, knowledge graphs) keep their training steps; the engine does the rest.
"""

from recbole import trainer as recbole

from recbole_unirep.training.pretraining import Pretraining
from recbole_unirep.training.trainer import EngineTrainer


class KGTrainer(recbole.KGTrainer, EngineTrainer):
    """Of knowledge graphs."""


class KGATTrainer(recbole.KGATTrainer, EngineTrainer):
    """Of KGAT."""


class PretrainTrainer(Pretraining, recbole.PretrainTrainer, EngineTrainer):
    """Of two stages."""


class S3RecTrainer(Pretraining, recbole.S3RecTrainer, EngineTrainer):
    """Of S3Rec."""


class RaCTTrainer(Pretraining, recbole.RaCTTrainer, EngineTrainer):
    """Of RaCT."""


class MKRTrainer(recbole.MKRTrainer, EngineTrainer):
    """Of MKR."""


class TraditionalTrainer(recbole.TraditionalTrainer, EngineTrainer):
    """Of rules, such as Pop, which train for one epoch."""


class RecVAETrainer(recbole.RecVAETrainer, EngineTrainer):
    """Of RecVAE."""


class NCLTrainer(recbole.NCLTrainer, EngineTrainer):
    """Of NCL. RecBole's `fit` is Trainer's with a clustering step, which the engine's has as well."""

    fit = EngineTrainer.fit


TRAINERS = {trainer.__name__: trainer for trainer in (
    KGTrainer, KGATTrainer, PretrainTrainer, S3RecTrainer, RaCTTrainer, MKRTrainer, TraditionalTrainer, RecVAETrainer,
    NCLTrainer,
)}  # fmt: skip


def trainer_class(recbole_trainer):
    """The engine with RecBole's special training steps, if any.

    Args:
        recbole_trainer (type): what RecBole's `get_trainer` returns.

    Returns:
        type: EngineTrainer or a subclass.

    Raises:
        ValueError: the trainer is of another kind (decision trees).
    """
    if recbole_trainer is recbole.Trainer:
        return EngineTrainer
    if recbole_trainer.__name__ not in TRAINERS:
        raise ValueError(f"{recbole_trainer.__name__} does not train by gradients: run this model with RecBole itself")
    return TRAINERS[recbole_trainer.__name__]

"""recbole_unirep.training.recbole_trainers: RecBole's special trainers, combined with our engine.

RecBole's special trainers (pre-training, knowledge graphs) keep their training steps. The engine does everything else.
"""

from recbole import trainer as recbole

from recbole_unirep.training.pretraining import Pretraining
from recbole_unirep.training.trainer import EngineTrainer


class KGTrainer(recbole.KGTrainer, EngineTrainer):
    """Trainer of knowledge graph models."""


class KGATTrainer(recbole.KGATTrainer, EngineTrainer):
    """Trainer of KGAT."""


class PretrainTrainer(Pretraining, recbole.PretrainTrainer, EngineTrainer):
    """Trainer of models with pre-training and fine-tuning."""


class S3RecTrainer(Pretraining, recbole.S3RecTrainer, EngineTrainer):
    """Trainer of S3Rec."""


class RaCTTrainer(Pretraining, recbole.RaCTTrainer, EngineTrainer):
    """Trainer of RaCT."""


class MKRTrainer(recbole.MKRTrainer, EngineTrainer):
    """Trainer of MKR."""


class TraditionalTrainer(recbole.TraditionalTrainer, EngineTrainer):
    """Trainer of models without gradients, such as Pop, which train for one epoch."""


class RecVAETrainer(recbole.RecVAETrainer, EngineTrainer):
    """Trainer of RecVAE."""


class NCLTrainer(recbole.NCLTrainer, EngineTrainer):
    """Trainer of NCL. RecBole overrides `fit` only to add a clustering step, which the engine's `fit` has too."""

    fit = EngineTrainer.fit


TRAINERS = {trainer.__name__: trainer for trainer in (
    KGTrainer, KGATTrainer, PretrainTrainer, S3RecTrainer, RaCTTrainer, MKRTrainer, TraditionalTrainer, RecVAETrainer,
    NCLTrainer,
)}  # fmt: skip


def trainer_class(recbole_trainer):
    """Returns the class of the engine, combined with RecBole's special training steps if there are any.

    Args:
        recbole_trainer (type): class returned by RecBole's `get_trainer`.

    Returns:
        type: EngineTrainer or a subclass.

    Raises:
        ValueError: the trainer does not use gradients (decision trees).
    """
    if recbole_trainer is recbole.Trainer:
        return EngineTrainer
    if recbole_trainer.__name__ not in TRAINERS:
        raise ValueError(f"{recbole_trainer.__name__} does not train by gradients: run this model with RecBole itself")
    return TRAINERS[recbole_trainer.__name__]

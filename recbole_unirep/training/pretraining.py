"""recbole_unirep.training.pretraining: RecBole's pre-training (S3Rec), resumable to the same numbers."""

from pathlib import Path
from time import perf_counter

from recbole.utils import init_seed

from recbole_unirep.runs.folder import LAST_PRETRAINED, PRETRAINED
from recbole_unirep.training import checkpoint
from recbole_unirep.training.s3rec import LOSSES, PretrainingStep


def check_stage(config):
    """Raises ValueError where a stage of training has no validation and is followed by none here (RaCT's first two)."""
    if config["train_stage"] in (None, "pretrain", "finetune"):
        return
    if config["model"] != "RaCT":
        raise ValueError(f"train_stage={config['train_stage']} is of RaCT alone: choose pretrain or finetune")
    raise ValueError(
        f"train_stage={config['train_stage']} of RaCT is a run of its own, of RecBole itself: here "
        f"--train_stage=finetune trains on from its file, --pre_model_path=FILE --unsafe_pickle=True"
    )


class Pretraining:
    """Mixin over RecBole's PretrainTrainer and our engine, which stands behind it."""

    def pretrain(self, train_data, verbose=True, show_progress=False):
        """Trains the model's first objective for `pretrain_epochs`; continues where it was interrupted.

        Args:
            train_data: RecBole's loader.
            verbose (bool): whether to log every epoch.
            show_progress (bool): progress bar.

        Returns:
            tuple: as RecBole's, no score and no result.
        """
        step = PretrainingStep(self.model)
        self.loss_names, self.loss_weights = LOSSES, step.weights
        last = self.run_dir / LAST_PRETRAINED
        if last.is_file():
            self._restore(last, train_data, stage="pretrain")
        else:
            self.epoch_log.cut("pretrain", 0)  # a kill may have left the line of an epoch without its checkpoint
        for epoch in range(self.start_epoch, self.pretrain_epochs):
            started = perf_counter()
            self._watch(epoch, train_data)
            losses = self._train_epoch(train_data, epoch, loss_func=step, show_progress=show_progress)
            self._check_weights()
            train_seconds = round(perf_counter() - started, 3)
            self.train_seconds += train_seconds
            record = {"stage": "pretrain", "epoch": epoch, "train_seconds": train_seconds}
            self.epoch_log.write({**record, **self._named(losses, len(train_data))}, False, verbose)
            self._save_last(epoch, train_data, last)
        return self.best_valid_score, self.best_valid_result

    def save_pretrained_model(self, epoch, saved_model_file):
        """Writes the pre-trained model as tensors and plain values, and its cost; RecBole's own pickles its Config."""
        seconds = self.earlier_seconds + perf_counter() - self.started
        cost = {"train_seconds": self.train_seconds, "seconds": seconds}
        checkpoint.save({**self._model_state(epoch), **cost}, Path(saved_model_file))


def hand_over(trainer, train_data, build):
    """Pre-trains unless an earlier session has, and hands the weights to the fine-tuning.

    Args:
        trainer (Pretraining): of the first stage.
        train_data: RecBole's loader.
        build (callable): a trainer of the same run with keys changed.

    Returns:
        tuple: trainer of the fine-tuning, which has counted the seconds so far, and seconds of the epochs before it.
    """
    path, config = trainer.run_dir / PRETRAINED, trainer.config
    if path.is_file():
        trainer.earlier_seconds = checkpoint.load(path, trainer.device)["seconds"]
    else:
        trainer.fit(train_data, show_progress=config["show_progress"])
        trainer.save_pretrained_model(trainer.pretrain_epochs, str(path))
    # The same start, whether it was pre-trained now or in an earlier session.
    init_seed(config["seed"], config["reproducibility"])
    train_data.generator.manual_seed(config["seed"])
    finetuning = build(train_stage="finetune", pre_model_path=str(path))
    finetuning.earlier_seconds, finetuning.started = trainer.earlier_seconds, trainer.started
    return finetuning, round(checkpoint.load(path, trainer.device)["train_seconds"], 3)

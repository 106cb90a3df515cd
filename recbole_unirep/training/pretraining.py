"""recbole_unirep.training.pretraining: RecBole's pre-training (S3Rec); a resumed run gives the same numbers."""

from pathlib import Path
from time import perf_counter

from recbole.utils import init_seed

from recbole_unirep.runs.folder import LAST_PRETRAINED, PRETRAINED
from recbole_unirep.training import checkpoint
from recbole_unirep.training.s3rec import LOSSES, PretrainingStep


def check_stage(config):
    """Raises ValueError for stages that have no validation and no following stage here (the first two of RaCT)."""
    if config["train_stage"] in (None, "pretrain", "finetune"):
        return
    if config["model"] != "RaCT":
        raise ValueError(f"train_stage={config['train_stage']} exists for RaCT only: choose pretrain or finetune")
    raise ValueError(
        f"train_stage={config['train_stage']} of RaCT is a separate run of RecBole itself: run it there, then continue "
        f"here from its file with --train_stage=finetune --pre_model_path=FILE --unsafe_pickle=True"
    )


class Pretraining:
    """Mixin for RecBole's PretrainTrainer; our engine comes after it in the method resolution order."""

    def pretrain(self, train_data, verbose=True, show_progress=False):
        """Trains the pre-training objective for `pretrain_epochs`; continues an interrupted pre-training.

        Args:
            train_data: RecBole's loader.
            verbose (bool): True to log every epoch.
            show_progress (bool): True to show a progress bar.

        Returns:
            tuple: initial validation score and no result, as in RecBole.
        """
        step = PretrainingStep(self.model)
        self.loss_names, self.loss_weights = LOSSES, step.weights
        last = self.run_dir / LAST_PRETRAINED
        if last.is_file():
            self._restore(last, train_data, stage="pretrain")
        else:
            self.epoch_log.cut("pretrain", 0)  # a killed run may have logged an epoch whose checkpoint is missing
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
        """Writes the pre-trained model and its training time as tensors and plain values; RecBole would pickle."""
        seconds = self.earlier_seconds + perf_counter() - self.started
        cost = {"train_seconds": self.train_seconds, "seconds": seconds}
        checkpoint.save({**self._model_state(epoch), **cost}, Path(saved_model_file))


def hand_over(trainer, train_data, build):
    """Pre-trains unless the run has already done so, and passes the weights to the fine-tuning.

    Args:
        trainer (Pretraining): trainer of the first stage.
        train_data: RecBole's loader.
        build (callable): returns a trainer of the same run; takes changed keys.

    Returns:
        tuple: trainer of the fine-tuning, which includes the seconds so far, and seconds of the pre-training epochs.
    """
    path, config = trainer.run_dir / PRETRAINED, trainer.config
    if path.is_file():
        trainer.earlier_seconds = checkpoint.load(path, trainer.device)["seconds"]
    else:
        trainer.fit(train_data, show_progress=config["show_progress"])
        trainer.save_pretrained_model(trainer.pretrain_epochs, str(path))
    # Fine-tuning starts from the same random state, whether pre-training ran just now or before an interruption.
    init_seed(config["seed"], config["reproducibility"])
    train_data.generator.manual_seed(config["seed"])
    finetuning = build(train_stage="finetune", pre_model_path=str(path))
    finetuning.earlier_seconds, finetuning.started = trainer.earlier_seconds, trainer.started
    return finetuning, round(checkpoint.load(path, trainer.device)["train_seconds"], 3)

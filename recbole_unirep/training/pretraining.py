"""recbole_unirep.training.pretraining: RecBole's pre-training (S3Rec), resumable to the same numbers."""

from pathlib import Path
from time import perf_counter

from recbole_unirep.training import checkpoint

LAST_PRETRAINED = "last_pretrained.pt"


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
        last = self.run_dir / LAST_PRETRAINED
        if last.is_file():
            self._restore(last, train_data, stage="pretrain")
        for epoch in range(self.start_epoch, self.pretrain_epochs):
            started = perf_counter()
            losses = self._train_epoch(train_data, epoch, show_progress=show_progress)
            train_seconds = round(perf_counter() - started, 3)
            self.train_seconds += train_seconds
            record = {"stage": "pretrain", "epoch": epoch, "train_seconds": train_seconds}
            self.epoch_log.write({**record, **self._named(losses, len(train_data))}, False, verbose)
            self._save_last(epoch, train_data, last)
        return self.best_valid_score, self.best_valid_result

    def save_pretrained_model(self, epoch, saved_model_file):
        """Writes the pre-trained model as tensors and plain values; RecBole's own pickles its Config."""
        checkpoint.save(self._model_state(epoch), Path(saved_model_file))

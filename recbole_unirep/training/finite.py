"""recbole_unirep.training.finite: stops training on NaN or infinite losses or weights, before a checkpoint is saved.

The error names the epoch, the step, the users of its batch and the last good checkpoint.
"""

import torch
from recbole.data.dataloader import AbstractDataLoader
from recbole.data.interaction import Interaction

from recbole_unirep.data.sequences import RowBatch
from recbole_unirep.data.split import HeldOut
from recbole_unirep.runs.folder import BEST, LAST, LAST_PRETRAINED

SHOWN_USERS = 3


class Finite:
    """Mixin for RecBole's Trainer, whose loops call `_check_nan` once per step.

    The trainer has `run_dir`, `config` and `model`.
    """

    watched_epoch = watched_step = 0
    watched_batch = user_tokens = n_watched_steps = None

    def _watch(self, epoch, train_data, held_out=None):
        """Records the start of an epoch, for the error message.

        Args:
            epoch (int): number of the epoch.
            train_data (TrainingRows or RecBole's loader): its length is the number of steps.
            held_out (HeldOut or None): source of the user tokens.
        """
        self.watched_epoch, self.watched_step, self.watched_batch = epoch, 0, None
        self.n_watched_steps = len(train_data)
        self.user_tokens = None
        if isinstance(train_data, AbstractDataLoader):
            self.user_tokens = train_data._dataset.field2id_token.get(self.config["USER_ID_FIELD"])
        if self.user_tokens is None and isinstance(held_out, HeldOut):
            self.user_tokens = held_out.user_tokens

    def _check_nan(self, loss):
        """Raises ValueError if the loss is NaN, or infinite without a gradient scaler, which would skip the step."""
        self.watched_step += 1
        if torch.isnan(loss).any() or (torch.isinf(loss).any() and not self.config["enable_scaler"]):
            raise ValueError(self._stopped(f"the loss is {loss.sum().item()}"))

    def _check_weights(self):
        """Raises ValueError if a weight is NaN or infinite after the epoch, before the epoch is saved."""
        for name, weight in self.model.named_parameters():
            if not torch.isfinite(weight).all():
                raise ValueError(self._stopped(f"{name} contains NaN or infinity"))

    def _stopped(self, what):
        kept = [name for name in (LAST, LAST_PRETRAINED, BEST) if (self.run_dir / name).is_file()]
        good = f"the last good checkpoint is {self.run_dir / kept[0]}" if kept else "no epoch was finished"
        return (
            f"{self.config['model']}: {what} in epoch {self.watched_epoch}, step {self.watched_step} of "
            f"{self.n_watched_steps}{self._batch()}; {good}: train again with a smaller learning_rate, or with "
            f"clip_grad_norm"
        )

    def _batch(self):
        """Describes the users of the step's batch, if they are known."""
        batch, field = self.watched_batch, self.config["USER_ID_FIELD"]
        if isinstance(batch, RowBatch):
            users = batch.users
        elif isinstance(batch, Interaction) and field in batch.columns:
            users = batch[field]
        else:
            return ""
        numbers = torch.unique(users).tolist()
        names = [str(number if self.user_tokens is None else self.user_tokens[number]) for number in numbers]
        more = ", .." if len(names) > SHOWN_USERS else ""
        return f" (a batch of {len(users)} rows, users {', '.join(names[:SHOWN_USERS])}{more})"

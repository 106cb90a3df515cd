"""recbole_unirep.training.finite: training stops where a loss or a weight is no number, before that is kept.

The line that it ends with names the epoch, the step, the users of its batch and the last good checkpoint.
"""

import torch

from recbole_unirep.runs.folder import BEST, LAST, LAST_PRETRAINED

SHOWN_USERS = 3


class Finite:
    """Mixin over RecBole's Trainer, whose loops call `_check_nan` once a step.

    The trainer has `run_dir`, `config` and `model`.
    """

    watched_epoch = watched_step = 0
    watched_batch = user_tokens = n_watched_steps = None

    def _watch(self, epoch, train_data, held_out=None):
        """Tells which epoch begins.

        Args:
            epoch (int): its number.
            train_data (TrainingRows or RecBole's loader): of so many steps.
            held_out (HeldOut or None): knows the users' tokens.
        """
        self.watched_epoch, self.watched_step, self.watched_batch = epoch, 0, None
        self.n_watched_steps = len(train_data)
        dataset = getattr(train_data, "_dataset", None)  # a loader's
        tokens = getattr(dataset, "field2id_token", {}).get(self.config["USER_ID_FIELD"])
        self.user_tokens = getattr(held_out, "user_tokens", None) if tokens is None else tokens

    def _check_nan(self, loss):
        """Raises ValueError where a step's loss is NaN, or infinite where no gradient scaler would skip the step."""
        self.watched_step += 1
        if torch.isnan(loss).any() or (torch.isinf(loss).any() and not self.config["enable_scaler"]):
            raise ValueError(self._stopped(f"the loss is {loss.sum().item()}"))

    def _check_weights(self):
        """Raises ValueError where the epoch has made a weight NaN or infinite; nothing of it is kept then."""
        for name, weight in self.model.named_parameters():
            if not torch.isfinite(weight).all():
                raise ValueError(self._stopped(f"{name} holds NaN or infinity"))

    def _stopped(self, what):
        kept = [name for name in (LAST, LAST_PRETRAINED, BEST) if (self.run_dir / name).is_file()]
        good = f"the last good checkpoint is {self.run_dir / kept[0]}" if kept else "no epoch was finished"
        return (
            f"{self.config['model']}: {what} in epoch {self.watched_epoch}, step {self.watched_step} of "
            f"{self.n_watched_steps}{self._batch()}; {good}: train anew with a smaller learning_rate, or with "
            f"clip_grad_norm"
        )

    def _batch(self):
        """Who is in the step's batch, as far as that is known."""
        batch, field = self.watched_batch, self.config["USER_ID_FIELD"]
        users = getattr(batch, "users", None)
        if users is None and batch is not None and field in getattr(batch, "columns", ()):
            users = batch[field]
        if users is None:
            return ""
        numbers = torch.unique(users).tolist()
        names = [str(number if self.user_tokens is None else self.user_tokens[number]) for number in numbers]
        more = ", .." if len(names) > SHOWN_USERS else ""
        return f" (a batch of {len(users)} rows, users {', '.join(names[:SHOWN_USERS])}{more})"

"""recbole_unirep.training.trainer: the training engine, a subclass of RecBole's Trainer.

It trains causal models on user sequences, validates by full ranking with one forward pass per user, and writes
checkpoints from which a resumed run gives the same numbers. `recbole_trainers` combines it with RecBole's special
trainers.
"""

from logging import getLogger
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from recbole.data.dataloader import AbstractDataLoader, KnowledgeBasedDataLoader
from recbole.data.interaction import Interaction
from recbole.evaluator import Collector, Evaluator
from recbole.trainer import Trainer
from recbole.utils import early_stopping
from torch.autograd.graph import increment_version
from tqdm import tqdm

from recbole_unirep import parallel
from recbole_unirep.runs.folder import BEST, LAST
from recbole_unirep.scoring.cold_offset import COLD_OFFSET, choose_cold_offset
from recbole_unirep.scoring.model_contract import (
    Clusters,
    FitsCodes,
    HasCodes,
    NamedLosses,
    RowTrained,
    WeightedLosses,
    ranking_bias,
    sequence_states,
)
from recbole_unirep.scoring.protocols import RECBOLE, evaluate_protocols
from recbole_unirep.scoring.ranking_weights import choose_ranking_weights
from recbole_unirep.training import checkpoint
from recbole_unirep.training.data_parallel import SharedLoader, mean_over_processes, synchronised
from recbole_unirep.training.epoch_log import EpochLog, Pace
from recbole_unirep.training.finite import Finite
from recbole_unirep.training.losses import row_loss
from recbole_unirep.training.optimization import Optimization

RECBOLE_LOADERS = (AbstractDataLoader, KnowledgeBasedDataLoader)


class EngineTrainer(Finite, Trainer):
    """RecBole's Trainer with training on user sequences, evaluation by ranks and resumable checkpoints.

    Args:
        config (Config): `run_dir` is the run's folder and must exist.
        model (recbole AbstractRecommender): on its device.
    """

    def __init__(self, config, model):
        self.config, self.model = config, model
        self.logger = getLogger()
        self.run_dir = Path(config["run_dir"])
        self.checkpoint_dir = str(self.run_dir)
        self.saved_model_file = str(self.run_dir / BEST)
        self.epoch_log = EpochLog(config, self.run_dir)
        self.wandblogger = self.epoch_log.wandb  # RecBole's own evaluation writes to it
        self.learner = config["learner"]
        self.learning_rate = config["learning_rate"]
        self.weight_decay = config["weight_decay"]
        self.epochs = config["epochs"]
        self.eval_step = min(config["eval_step"], self.epochs)
        self.stopping_step = config["stopping_step"]
        self.valid_metric = config["valid_metric"].lower()
        self.valid_metric_bigger = config["valid_metric_bigger"]
        self.test_batch_size = config["eval_batch_size"]
        self.device = config["device"]
        self.clip_grad_norm, self.enable_amp = config["clip_grad_norm"], config["enable_amp"]  # these three are read
        self.enable_scaler = config["enable_scaler"]  # by the training loop of RecBole's NCL
        self.gpu_available = self.device.type == "cuda"
        self.start_epoch = self.cur_step = 0
        self.best_valid_score = -np.inf if self.valid_metric_bigger else np.inf
        self.best_valid_result = self.best_epoch = None
        self.train_loss_dict = {}
        self.loss_names = model.loss_names if isinstance(model, NamedLosses) else None
        self.loss_weights = model.loss_weights if isinstance(model, WeightedLosses) else None
        self.n_training_items = None  # number of item ids in our training rows, padding included
        self.train_seconds = self.earlier_seconds = 0.0  # earlier_seconds: of the run before it was resumed
        self.started = perf_counter()
        self.has_stopped = False
        self.optimization = Optimization(config, model)
        self.optimizer = self._build_optimizer(params=self.optimization.dense_parameters)
        if parallel.world_size() > 1 and type(self) is not EngineTrainer:
            raise ValueError(f"{config['model']} ({type(self).__name__}) trains in one process only: leave nproc at 1")
        is_causal = sequence_states(model) is not None
        self.losses = synchronised(model, self._losses, uses_all=is_causal and config["training_rows"] != "prefix")
        self.eval_type = config["eval_type"]
        self.eval_collector = Collector(config)
        self.evaluator = Evaluator(config)
        self.item_tensor = self.tot_item_num = None

    def _build_optimizer(self, **keys):
        """RecBole's optimizer; Adam runs as one kernel per step."""
        optimizer = super()._build_optimizer(**keys)
        if isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)) and self.device.type in ("cpu", "cuda"):
            for group in optimizer.param_groups:
                group["fused"] = True
            optimizer.register_step_post_hook(_mark_as_changed)
        return optimizer

    def fit(self, train_data, valid_data=None, verbose=True, saved=True, show_progress=False, callback_fn=None):
        """Trains until validation has not improved for `stopping_step` evaluations, or for `epochs` epochs.

        Args:
            train_data (TrainingRows or RecBole's loader): the training data.
            valid_data (HeldOut or None): validation split; None keeps the last epoch.
            verbose (bool): True to log every epoch.
            saved (bool): True to write checkpoints.
            show_progress (bool): True to show a progress bar.
            callback_fn (callable or None): called with epoch and validation score after each evaluation; training
                stops if it returns True.

        Returns:
            tuple[float, dict]: best validation score and result.
        """
        if self.config["train_neg_sample_args"]["dynamic"]:
            train_data.get_model(self.model)
        for epoch in range(self.start_epoch, self.epochs):
            if self.has_stopped:
                break
            started = perf_counter()
            if isinstance(self.model, Clusters) and epoch % self.num_m_step == 0:
                self.model.e_step()
            self._watch(epoch, train_data, valid_data)
            losses = self._train_epoch(train_data, epoch, show_progress=show_progress)
            self._check_weights()
            if isinstance(self.model, FitsCodes):
                self.model.fit_codes()
            train_seconds = round(perf_counter() - started, 3)
            record = {"epoch": epoch, "train_seconds": train_seconds, **self._named(losses, len(train_data))}
            record.update(self.optimization.report(self.optimizer))
            is_best = valid_data is None or self.eval_step <= 0  # without validation, the last epoch is kept
            is_end_unvalidated = epoch + 1 == self.epochs and self.best_valid_result is None  # such as Pop's one epoch
            if not is_best and ((epoch + 1) % self.eval_step == 0 or is_end_unvalidated):
                is_best = self._validate(valid_data, record, show_progress)
            self.train_seconds += train_seconds
            self.epoch_log.write(record, is_best and "valid_score" in record, verbose)
            if saved:
                if is_best:
                    self._save_checkpoint(epoch)
                self._save_last(epoch, train_data, self.run_dir / LAST)
            if callback_fn and "valid_score" in record and callback_fn(epoch, record["valid_score"]):
                break
        if saved and not Path(self.saved_model_file).is_file():  # a resumed run that ends before its first validation
            self._save_checkpoint(self.start_epoch - 1)
        self.epoch_log.close()
        return self.best_valid_score, self.best_valid_result

    def _validate(self, valid_data, record, show_progress):
        """Validates, updates early stopping and the epoch's record; returns True if this is the best epoch so far."""
        started = perf_counter()
        score, result = self._valid_epoch(valid_data, show_progress)
        self.best_valid_score, self.cur_step, self.has_stopped, is_best = early_stopping(
            score, self.best_valid_score, self.cur_step, self.stopping_step, self.valid_metric_bigger
        )
        if is_best:
            self.best_valid_result = result
        record.update(valid_seconds=round(perf_counter() - started, 3), valid_score=score, **result)
        if isinstance(self.model, HasCodes):
            record.update(self.model.codebook_report())
        return is_best

    def _valid_epoch(self, valid_data, show_progress=False):
        """Returns validation score and metrics, by full ranking or by RecBole's evaluation under protocol recbole."""
        (result,) = self.evaluate(valid_data, load_best_model=False).values()
        return result[self.valid_metric], result

    def choose_ranking_weights(self, valid_data):
        """Chooses the ranking weights of the best checkpoint on the validation items and stores them in it.

        Args:
            valid_data (HeldOut): validation split.

        Returns:
            dict or None: weights, metric and seconds, for the run's result; None if there is nothing to choose.
        """
        keys, bias = self.config["chosen_on_validation"], ranking_bias(self.model)
        if not keys or bias is None or self.best_valid_result is None or isinstance(valid_data, RECBOLE_LOADERS):
            return None
        started = perf_counter()
        with parallel.main_first():
            state = checkpoint.load_weights(self.model, Path(self.saved_model_file), self.device)
        weight_keys = [key for key in keys if key != COLD_OFFSET]
        bias.set_ranking_weights({key: self.config[key] for key in weight_keys})  # a resumed run may have chosen others
        if COLD_OFFSET in keys:
            bias.cold_offset.zero_()
        choice = choose_ranking_weights(self.model.eval(), valid_data, self.config, weight_keys)
        if choice is None:
            self.logger.info(f"{self.valid_metric} cannot choose {', '.join(keys)}: they keep their configured values")
            return None
        bias.set_ranking_weights(choice.weights)
        offset = choose_cold_offset(self.model, valid_data, self.config) if COLD_OFFSET in keys else None
        cold = {}
        if offset is not None:
            bias.cold_offset.fill_(offset.value)
            cold = {COLD_OFFSET: offset.value, "cold_offset_loss": round(offset.loss, 6)}
        self._save_checkpoint(state["epoch"])
        self.best_valid_score, self.best_valid_result = self._valid_epoch(valid_data)
        seconds = round(perf_counter() - started, 3)
        weights = ", ".join(f"{key} {weight:g}" for key, weight in {**choice.weights, **cold}.items())
        self.logger.info(
            f"chosen by {self.valid_metric} of {choice.n_users} validation users: {weights}; {self.valid_metric} "
            f"{self.best_valid_score:.4f}, {seconds:.1f} s"
        )
        found = {"valid_score": choice.valid_score, "n_users": choice.n_users, "seconds": seconds}
        return {**choice.weights, **cold, **found}

    def evaluate(
        self,
        eval_data,
        load_best_model=True,
        model_file=None,
        show_progress=False,
        protocols=("full",),
        ranks_file=None,
    ):
        """Returns the metrics of a split under each protocol.

        Args:
            eval_data (HeldOut or RecBole's loader): the split; a loader is evaluated by RecBole's own evaluation.
            load_best_model (bool): True to load the best checkpoint first.
            model_file (str or None): checkpoint to load instead of the best one.
            show_progress (bool): unused; part of RecBole's signature.
            protocols (sequence of str): names in `evaluation.PROTOCOLS`.
            ranks_file (Path or None): file for the rank of every user's target.

        Returns:
            dict[str, dict[str, float]]: protocol to metrics.
        """
        if load_best_model:
            with parallel.main_first():  # the main process has written the file
                state = checkpoint.load_weights(self.model, Path(model_file or self.saved_model_file), self.device)
            self.best_epoch = state["epoch"]
        self.model.eval()
        if isinstance(eval_data, RECBOLE_LOADERS):
            result = super().evaluate(eval_data, load_best_model=False)
            return {RECBOLE: {name: float(value) for name, value in result.items()}}
        return evaluate_protocols(self.model, eval_data, protocols, self.config, ranks_file)

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, show_progress=False):
        """Trains one epoch; returns each part of the loss summed over the batches, the form RecBole's trainers use."""
        if isinstance(train_data, RECBOLE_LOADERS):
            loss_func = loss_func or self.model.calculate_loss
            if parallel.world_size() > 1:
                train_data = SharedLoader(train_data)
                loss_func = train_data.weighted(self.losses)
        else:
            loss_func, train_data.epoch = self.losses, epoch_idx
            self.n_training_items = train_data.n_items
        self.model.train()
        self.optimization.total_steps = self.epochs * len(train_data)
        total, pace = 0.0, Pace(len(train_data))
        for batch in tqdm(train_data, desc=f"Train {epoch_idx:>5}", ncols=100, disable=None if show_progress else True):
            self.watched_batch = batch
            with self.optimization.autocast():
                losses = loss_func(batch.to(self.device))
            parts = losses if isinstance(losses, tuple) else (losses,)
            loss = sum(parts)
            self._check_nan(loss)
            self.optimization.step(self.optimizer, loss)
            total = total + torch.stack([part.detach().double() for part in parts])
            if epoch_idx == self.start_epoch:
                pace.step()
        return mean_over_processes(tuple(total.tolist()) if isinstance(losses, tuple) else total.item())

    def _losses(self, batch):
        """Returns the losses of one of RecBole's batches or of a batch of training rows."""
        if isinstance(batch, Interaction):
            return self.model.calculate_loss(batch)
        if isinstance(self.model, RowTrained):
            return self.model.row_losses(batch)
        return (row_loss(self.model, batch, self.n_training_items, self.config),)

    def _named(self, losses, n_batches):
        """Returns the mean training loss per batch and its parts by name; parts with known weights are unweighted."""
        losses = [loss / n_batches for loss in _flat(losses)]
        self.train_loss_dict[len(self.train_loss_dict)] = sum(losses)
        names, weights = self.loss_names, self.loss_weights
        names = [f"part_{place + 1}" for place in range(len(losses))] if names is None else names
        weights = [1] * len(losses) if weights is None else weights
        parts = zip(names, losses, weights) if len(losses) > 1 else ()
        return {"train_loss": sum(losses), **{f"{name}_loss": loss / (weight or 1) for name, loss, weight in parts}}

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        """Writes the best model: weights and RecBole's other parameters."""
        checkpoint.save(self._model_state(epoch), Path(kwargs.get("saved_model_file", self.saved_model_file)))

    def _model_state(self, epoch):
        return {
            "epoch": epoch,
            "state_dict": self.model.state_dict(),
            "other_parameter": checkpoint.plain(self.model.other_parameter()),
        }

    def _save_last(self, epoch, train_data, path):
        """Writes everything that a resumed run needs: weights, optimizer, early stopping and random states."""
        state = {
            **self._model_state(epoch),
            "optimizer": self.optimizer.state_dict(),
            "optimization": self.optimization.state_dict(),
            "random": parallel.gathered(checkpoint.random_state(train_data)),
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": self.best_valid_result,
            "train_seconds": self.train_seconds,
            "seconds": self.earlier_seconds + perf_counter() - self.started,
            "has_stopped": self.has_stopped,
        }
        checkpoint.save(state, path)

    def resume(self, train_data):
        """Restores the last saved epoch. The following epochs give the same numbers as an uninterrupted run.

        Args:
            train_data: the training data; its generator is restored.
        """
        self._restore(self.run_dir / LAST, train_data, stage=None)

    def _restore(self, path, train_data, stage):
        """Reads the file of `_save_last` and drops the later lines of metrics.jsonl."""
        state = checkpoint.load_weights(self.model, path, self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.optimization.load_state_dict(state["optimization"])
        if len(state["random"]) != parallel.world_size():
            raise ValueError(
                f"{path} was written by {len(state['random'])} processes, found {parallel.world_size()}: resume it "
                f"with {len(state['random'])} processes"
            )
        checkpoint.set_random_state(state["random"][parallel.rank()], train_data)
        self.start_epoch = state["epoch"] + 1
        self.cur_step = state["cur_step"]
        self.best_valid_score = state["best_valid_score"]
        self.best_valid_result = state["best_valid_result"]
        self.train_seconds, self.earlier_seconds = state["train_seconds"], state["seconds"]
        self.has_stopped = state["has_stopped"]
        self.epoch_log.cut(stage, self.start_epoch)


def _mark_as_changed(optimizer, args, keys):
    """Raises the version of the parameters, which fused kernels leave as it was; kept item tables depend on it."""
    for group in optimizer.param_groups:
        for part in group["params"]:
            increment_version(part)


def _flat(losses):
    """Flattens the losses of RecBole's trainers (nested tuples, a number or None) to one tuple of float."""
    if isinstance(losses, (tuple, list)):
        return tuple(part for loss in losses for part in _flat(loss))
    return () if losses is None else (float(losses),)

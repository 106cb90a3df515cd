"""recbole_unirep.training.optimization: everything in a training step around the optimizer itself.

Mixed precision, gradient clipping, learning rate warm-up and schedule, row-sparse steps, compiled networks.

Reference:
    Schedules: Vaswani et al., "Attention Is All You Need", NeurIPS 2017 (warm-up, inverse square root);
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017 (cosine).
"""

import math
from logging import getLogger

import torch
from recbole.model.layers import TransformerEncoder
from torch import nn
from torch.nn.utils import clip_grad_norm_

from recbole_unirep import parallel
from recbole_unirep.scoring.model_contract import id_table

AMP_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Factor of the learning rate after the warm-up. done: finished fraction of the steps after the warm-up; ratio: number
# of warm-up steps / number of this step.
SCHEDULES = {
    "constant": lambda done, ratio: 1.0,
    "linear": lambda done, ratio: 1 - done,
    "cosine": lambda done, ratio: (1 + math.cos(math.pi * done)) / 2,
    "inverse_sqrt": lambda done, ratio: math.sqrt(ratio),
}
NETWORKS = (TransformerEncoder, nn.Sequential)  # passed to torch.compile: layers without Python code between them


def multiplies_bfloat16():
    """True if the processor multiplies bfloat16 matrices natively; if not, float32 is far faster."""
    return bool(getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)())


class Optimization:
    """Runs the optimizer steps of one run.

    Args:
        config (Config): keys of `properties/overall.yaml` and RecBole's.
        model (recbole AbstractRecommender): on its device. Its ID table becomes sparse and its networks are compiled in
            place if the config says so.

    Raises:
        ValueError: options that exclude each other.
    """

    def __init__(self, config, model):
        check_optimization(config, model)
        self.device_type = config["device"].type
        self.enable_amp, self.amp_dtype = config["enable_amp"], AMP_DTYPES[config["amp_dtype"]]
        if self.enable_amp and self.device_type == "cpu" and config["amp_dtype"] == "bfloat16":
            self.enable_amp = multiplies_bfloat16()
        if self.enable_amp != config["enable_amp"]:
            getLogger().info("enable_amp is ignored: bfloat16 is slower than float32 on this processor")
        self.scaler = torch.amp.GradScaler(self.device_type, enabled=bool(config["enable_scaler"]))
        self.clip_grad_norm = config["clip_grad_norm"]
        self.lr_schedule, self.warmup_steps = config["lr_schedule"], config["warmup_steps"]
        self.parameters = list(model.parameters())
        self.n_steps, self.total_steps = 0, None
        self.sparse_optimizer = None
        if config["sparse_id_table"]:
            table = id_table(model)
            table.sparse = True
            self.sparse_optimizer = torch.optim.SparseAdam([table.weight], lr=config["learning_rate"])
        for network in networks(model) if config["compile_backend"] else ():
            network.compile(backend=config["compile_backend"], dynamic=True)  # in place: parameter names do not change

    @property
    def precision(self):
        """Data type of the run's matrix products: float32, bfloat16 or float16."""
        return str(self.amp_dtype if self.enable_amp else torch.float32).removeprefix("torch.")

    @property
    def dense_parameters(self):
        """Parameters of the trainer's own optimizer."""
        sparse = {id(part) for group in self._sparse_groups() for part in group["params"]}
        return [part for part in self.parameters if id(part) not in sparse]

    def autocast(self):
        """Returns the autocast context of the forward pass."""
        return torch.autocast(self.device_type, dtype=self.amp_dtype, enabled=self.enable_amp)

    def step(self, optimizer, loss):
        """Runs the backward pass and one optimizer step.

        Args:
            optimizer (torch.optim.Optimizer): optimizer of the dense parameters; RecBole's special trainers replace it.
            loss (Tensor): shape: [].
        """
        optimizers = [optimizer, *([self.sparse_optimizer] if self.sparse_optimizer else [])]
        factor = learning_rate_factor(self.lr_schedule, self.n_steps, self.warmup_steps, self.total_steps)
        for part in optimizers:
            part.zero_grad()
            for group in part.param_groups:
                group["lr"] = factor * group.setdefault("initial_lr", group["lr"])
        self.scaler.scale(loss).backward()
        if self.clip_grad_norm:
            self.scaler.unscale_(optimizer)
            clip_grad_norm_(self.parameters, **self.clip_grad_norm)
        for part in optimizers:
            self.scaler.step(part)
        self.scaler.update()
        self.n_steps += 1

    def report(self, optimizer):
        """Returns the last step's learning rate for the epoch's record; empty if the rate is constant."""
        if self.lr_schedule == "constant" and not self.warmup_steps:
            return {}
        return {"learning_rate": optimizer.param_groups[0]["lr"]}

    def state_dict(self):
        """Returns what the next steps need in addition to the trainer's optimizer, as tensors and plain values."""
        sparse = self.sparse_optimizer.state_dict() if self.sparse_optimizer else None
        return {"n_steps": self.n_steps, "scaler": self.scaler.state_dict(), "sparse_optimizer": sparse}

    def load_state_dict(self, state):
        """Restores a state that `state_dict` returned."""
        self.n_steps = state["n_steps"]
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        if self.sparse_optimizer:
            self.sparse_optimizer.load_state_dict(state["sparse_optimizer"])

    def _sparse_groups(self):
        return self.sparse_optimizer.param_groups if self.sparse_optimizer else []


def learning_rate_factor(schedule, step, warmup_steps, total_steps):
    """Returns the factor of the learning rate at a step.

    Args:
        schedule (str): a key of SCHEDULES.
        step (int): number of steps before this one.
        warmup_steps (int): number of steps over which the factor grows linearly to 1.
        total_steps (int): number of steps of all epochs; 'linear' and 'cosine' reach 0 after them.

    Returns:
        float: between 0 and 1.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return SCHEDULES[schedule](min(done, 1.0), max(warmup_steps, 1) / (step + 1))


def networks(model):
    """Returns the outermost networks of a model that torch.compile can compile as a whole."""
    if isinstance(model, NETWORKS):
        return [model]
    return [network for part in model.children() for network in networks(part)]


def check_optimization(config, model):
    """Checks the options of `Optimization`.

    Args:
        config (Config): ours.
        model (recbole AbstractRecommender): the model to train.

    Raises:
        ValueError: an option is unknown, or two options exclude each other.
    """
    for key, known in (("lr_schedule", SCHEDULES), ("amp_dtype", AMP_DTYPES)):
        if config[key] not in known:
            raise ValueError(f"{key}={config[key]} is not known: choose one of {', '.join(known)}")
    if config["warmup_steps"] < 0:
        raise ValueError(f"warmup_steps={config['warmup_steps']} is too small: give 0 or more")
    if config["enable_amp"] and config["amp_dtype"] == "float16" and not config["enable_scaler"]:
        raise ValueError("amp_dtype=float16 loses small gradients: add --enable_scaler=True or use bfloat16")
    backend = config["compile_backend"]
    if backend and backend not in torch.compiler.list_backends(exclude_tags=()):
        known = ", ".join(torch.compiler.list_backends())
        raise ValueError(f"compile_backend={backend} is not known to torch.compile: choose one of {known}")
    if backend and not networks(model):
        raise ValueError(f"compile_backend={backend}: {config['model']} has no network to compile: leave the key out")
    if config["sparse_id_table"]:
        _check_sparse(config, model)


def _check_sparse(config, model):
    key = "sparse_id_table=True"
    if parallel.world_size() > 1:
        raise ValueError(f"{key} works in one process, found {parallel.world_size()}: leave nproc at 1")
    if not isinstance(id_table(model), nn.Embedding):
        raise ValueError(f"{key}: {config['model']} has no ID table whose rows a step reads in part: leave the key out")
    if config["loss_type"] == "CE" or config["quantization_items"] == "catalogue":
        raise ValueError(f"{key}: loss_type=CE and quantization_items=catalogue touch every row: use loss_type=SSM")
    if config["learner"].lower() != "adam" or config["weight_decay"]:
        raise ValueError(
            f"{key} needs Adam without weight decay, found learner={config['learner']}, "
            f"weight_decay={config['weight_decay']}: use learner=adam and weight_decay=0"
        )
    if config["clip_grad_norm"]:
        raise ValueError(f"{key}: sparse steps do not know the norm of all gradients: leave clip_grad_norm out")

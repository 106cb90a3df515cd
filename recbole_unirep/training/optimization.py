"""recbole_unirep.training.optimization: what one optimizer step does besides the optimizer itself.

Mixed precision, gradient clipping, warm-up and schedule of the learning rate, row-sparse steps, compiled networks.

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
# Share of the learning rate after the warm-up. done: share of the remaining steps; ratio: warm-up steps to steps.
SCHEDULES = {
    "constant": lambda done, ratio: 1.0,
    "linear": lambda done, ratio: 1 - done,
    "cosine": lambda done, ratio: (1 + math.cos(math.pi * done)) / 2,
    "inverse_sqrt": lambda done, ratio: math.sqrt(ratio),
}
NETWORKS = (TransformerEncoder, nn.Sequential)  # what torch.compile is given: layers without Python between them


def multiplies_bfloat16():
    """Whether the processor multiplies matrices of bfloat16 itself; where it does not, float32 is far faster."""
    return bool(getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)())


class Optimization:
    """The steps of one run.

    Args:
        config (Config): keys of `properties/overall.yaml` and RecBole's.
        model (recbole AbstractRecommender): on its device; sparse tables and compiled networks are set in it.

    Raises:
        ValueError: options that do not go together.
    """

    def __init__(self, config, model):
        check_optimization(config, model)
        self.device_type = config["device"].type
        self.enable_amp, self.amp_dtype = config["enable_amp"], AMP_DTYPES[config["amp_dtype"]]
        if self.enable_amp and self.device_type == "cpu" and config["amp_dtype"] == "bfloat16":
            self.enable_amp = multiplies_bfloat16()
        if self.enable_amp != config["enable_amp"]:
            getLogger().info("enable_amp: this processor would be slower in bfloat16, so float32 is used")
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
            network.compile(backend=config["compile_backend"], dynamic=True)  # in place: names stay as they are

    @property
    def precision(self):
        """Data type that the products of the run's matrices have: float32, bfloat16 or float16."""
        return str(self.amp_dtype if self.enable_amp else torch.float32).removeprefix("torch.")

    @property
    def dense_parameters(self):
        """Parameters of the trainer's own optimizer."""
        sparse = {id(part) for group in self._sparse_groups() for part in group["params"]}
        return [part for part in self.parameters if id(part) not in sparse]

    def autocast(self):
        """Context of the forward pass."""
        return torch.autocast(self.device_type, dtype=self.amp_dtype, enabled=self.enable_amp)

    def step(self, optimizer, loss):
        """Backward pass and one step.

        Args:
            optimizer (torch.optim.Optimizer): of the dense parameters; RecBole's special trainers change it.
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
        """The last step's learning rate for an epoch's record, where it is not the same at every step."""
        if self.lr_schedule == "constant" and not self.warmup_steps:
            return {}
        return {"learning_rate": optimizer.param_groups[0]["lr"]}

    def state_dict(self):
        """Tensors and plain values, all that the next steps depend on besides the trainer's own optimizer."""
        sparse = self.sparse_optimizer.state_dict() if self.sparse_optimizer else None
        return {"n_steps": self.n_steps, "scaler": self.scaler.state_dict(), "sparse_optimizer": sparse}

    def load_state_dict(self, state):
        """Inverse of `state_dict`."""
        self.n_steps = state["n_steps"]
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        if self.sparse_optimizer:
            self.sparse_optimizer.load_state_dict(state["sparse_optimizer"])

    def _sparse_groups(self):
        return self.sparse_optimizer.param_groups if self.sparse_optimizer else []


def learning_rate_factor(schedule, step, warmup_steps, total_steps):
    """Share of the learning rate that a step takes.

    Args:
        schedule (str): a key of SCHEDULES.
        step (int): steps before this one.
        warmup_steps (int): the share grows evenly to 1 over so many steps.
        total_steps (int): steps of all epochs; 'linear' and 'cosine' come to 0 after them.

    Returns:
        float: 0 to 1.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return SCHEDULES[schedule](min(done, 1.0), max(warmup_steps, 1) / (step + 1))


def networks(model):
    """Outermost networks of a model that torch.compile can take whole."""
    if isinstance(model, NETWORKS):
        return [model]
    return [network for part in model.children() for network in networks(part)]


def check_optimization(config, model):
    """Looks at the options of `Optimization` together.

    Args:
        config (Config): ours.
        model (recbole AbstractRecommender): the model to train.

    Raises:
        ValueError: one is unknown, or two do not go together.
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
    asked = "sparse_id_table=True"
    if parallel.world_size() > 1:
        raise ValueError(f"{asked} is for one process, {parallel.world_size()} are here: leave nproc at 1")
    if not isinstance(id_table(model), nn.Embedding):
        raise ValueError(f"{asked}: {config['model']} has no table of IDs that a step reads in part: leave the key out")
    if config["loss_type"] == "CE" or config["quantization_items"] == "catalogue":
        raise ValueError(f"{asked}: loss_type=CE and quantization_items=catalogue touch every row: use loss_type=SSM")
    if config["learner"].lower() != "adam" or config["weight_decay"]:
        raise ValueError(
            f"{asked} is Adam without weight decay, found learner={config['learner']}, "
            f"weight_decay={config['weight_decay']}: use learner=adam and weight_decay=0"
        )
    if config["clip_grad_norm"]:
        raise ValueError(f"{asked}: the norm of all gradients is not known to sparse steps: leave clip_grad_norm out")

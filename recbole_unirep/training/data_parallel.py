"""recbole_unirep.training.data_parallel: several processes share each batch, with DistributedDataParallel.

Every process draws the whole batch and computes a part of its rows. A loss is a mean over the batch's rows or
targets. Each process therefore weights the mean of its part by the fraction of rows or targets in it, times the number
of processes. DistributedDataParallel averages gradients over processes, which then gives the gradient of the whole
batch. Per-item computations (encoding, quantization, reconstruction) are identical in every process.
"""

import inspect

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from recbole_unirep import parallel


class Losses(nn.Module):
    """Wraps a model's losses as the forward pass that DistributedDataParallel requires.

    Args:
        model (nn.Module): holds the parameters.
        losses (callable): maps a batch to one loss or several.
    """

    def __init__(self, model, losses):
        super().__init__()
        self.model, self.losses = model, losses

    def forward(self, batch):
        return self.losses(batch)


def synchronised(model, losses, uses_all):
    """Returns the losses; with several processes their gradients are averaged over the processes.

    Args:
        model (nn.Module): on its device, the same in every process.
        losses (callable): maps a batch to one loss or several.
        uses_all (bool): True if the losses depend on every parameter.

    Returns:
        callable: same signature as `losses`.
    """
    if parallel.world_size() == 1:
        return losses
    # torch 2.13 renamed broadcast_buffers to forward_sync_buffers. Buffers are equal in all processes, so none is sent.
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    no_buffers = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
    return DistributedDataParallel(Losses(model, losses), find_unused_parameters=not uses_all, **no_buffers)


def mean_over_processes(losses):
    """Averages one number or several over the processes.

    Args:
        losses (float or tuple of float): this process's sums of an epoch.

    Returns:
        float or tuple of float: the means, same type as `losses`.
    """
    if parallel.world_size() == 1:
        return losses
    values = torch.tensor(losses, dtype=torch.float64)
    return_type = tuple if isinstance(losses, tuple) else float
    return return_type((parallel.all_sum(values) / parallel.world_size()).tolist())


class SharedLoader:
    """Proxy of RecBole's loader that yields only this process's rows of each batch.

    Args:
        loader (recbole AbstractDataLoader): draws the same batches in every process.
    """

    def __init__(self, loader):
        self.loader = loader

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        rank, world_size = parallel.rank(), parallel.world_size()
        for whole in self.loader:
            has_rows = rank < len(whole)
            part = whole[rank::world_size] if has_rows else whole[:1]
            self.weight = len(part) * world_size / len(whole) if has_rows else 0.0
            yield part

    def weighted(self, losses):
        """Returns a function that weights the losses of the last yielded interaction by its fraction of the batch.

        Args:
            losses (callable): maps an interaction to one loss or several.

        Returns:
            callable: same signature as `losses`.
        """

        def weighted_losses(interaction):
            found = losses(interaction)
            return tuple(loss * self.weight for loss in found) if isinstance(found, tuple) else found * self.weight

        return weighted_losses

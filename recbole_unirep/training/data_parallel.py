"""recbole_unirep.training.data_parallel: one batch shared by several processes, by DistributedDataParallel.

Every process draws the whole batch and computes its rows. A loss is a mean over the batch's rows or targets, so each
process weights its own mean by its share of them, times the number of processes: the mean over processes, which
DistributedDataParallel takes of the gradients, is then that of the whole batch. What belongs to items and not to rows
(encoding, quantization, reconstruction) every process computes alike.
"""

import inspect

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from recbole_unirep import parallel


class Losses(nn.Module):
    """A model's losses as the forward pass that DistributedDataParallel wants.

    Args:
        model (nn.Module): holds the parameters.
        losses (callable): batch to one loss or several.
    """

    def __init__(self, model, losses):
        super().__init__()
        self.model, self.losses = model, losses

    def forward(self, batch):
        return self.losses(batch)


def synchronised(model, losses, uses_all):
    """The losses, with gradients that are averaged over the processes, where there are several.

    Args:
        model (nn.Module): on its device, the same in every process.
        losses (callable): batch to one loss or several.
        uses_all (bool): whether every parameter has its part in them.

    Returns:
        callable: the same signature.
    """
    if parallel.world_size() == 1:
        return losses
    # The second is the first's name since torch 2.13; buffers are the same everywhere, nothing need be sent.
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    no_buffers = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
    return DistributedDataParallel(Losses(model, losses), find_unused_parameters=not uses_all, **no_buffers)


def mean_over_processes(losses):
    """Means of one number or several, of which every process has its own.

    Args:
        losses (float or tuple of float): sums of an epoch.

    Returns:
        float or tuple of float: as given.
    """
    if parallel.world_size() == 1:
        return losses
    values = torch.tensor(losses, dtype=torch.float64)
    return_type = tuple if isinstance(losses, tuple) else float
    return return_type((parallel.all_sum(values) / parallel.world_size()).tolist())


class SharedLoader:
    """RecBole's loader, of each of whose batches a process gets its rows; in everything else it is the loader.

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
        """Losses of the interaction that was yielded last, by its share of the batch.

        Args:
            losses (callable): interaction to one loss or several.

        Returns:
            callable: the same signature.
        """

        def of(interaction):
            found = losses(interaction)
            return tuple(loss * self.weight for loss in found) if isinstance(found, tuple) else found * self.weight

        return of

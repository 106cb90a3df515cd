"""recbole_unirep.parallel: several processes that train one model, by torch.distributed.

Every process reads the same data, draws the same batches and holds the same model; it computes its share of a batch
and of an evaluation. A process without a group is a group of one: every function works there and changes nothing.
"""

import os
import pickle
import socket
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import connection

import torch
from torch import distributed, multiprocessing

SECONDS_FOR_THE_FIRST_ERROR = 5


def rank():
    """Number of this process, 0 is the one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size():
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def local_rank():
    """Number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0)) if distributed.is_initialized() else 0


def is_main():
    """Whether this process writes files and speaks."""
    return rank() == 0


def is_launched():
    """Whether torchrun, or `spawn`, has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def join(timeout_days=None):
    """Joins the group that the environment names: NCCL between GPUs, gloo between CPUs.

    Args:
        timeout_days (int or None): how long a process waits for the others, who are at work of their own; None is
            torch's own limit.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    timeout = None if timeout_days is None else timedelta(days=timeout_days)
    distributed.init_process_group(backend, timeout=timeout)
    if "OMP_NUM_THREADS" not in os.environ:
        local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // local_world_size))


def all_sum(tensor):
    """Sums a tensor over the processes, in place, and returns it."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def joined(ids):
    """The ids of all processes one after the other, of any number each, shape: [n], int64."""
    if world_size() == 1:
        return ids
    return torch.tensor([item for part in gathered(ids.tolist()) for item in part], device=ids.device)


def copy_from_main(tensor):
    """Gives a tensor the main process' values, in place."""
    if world_size() > 1:
        distributed.broadcast(tensor, src=0)


def from_main(value):
    """The main process' value, plain and picklable."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def gathered(value):
    """Every process' value, plain and picklable, by rank."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


@contextmanager
def main_first():
    """The main process runs the block while the others wait, so that they find what it has made."""
    if not is_main():
        distributed.barrier()
    yield
    if is_main() and world_size() > 1:
        distributed.barrier()


def spawn(work, n_processes, arguments):
    """Runs `work(*arguments)` in several processes on this machine.

    Args:
        work (callable): a function of a module.
        n_processes (int): how many.
        arguments (tuple): picklable.

    Returns:
        object: what the main process' call returned.

    Raises:
        ValueError: the main process' own, or another's where the main one waits for it; so OSError and ImportError.
        RuntimeError: a process ended otherwise.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    port = _free_port()
    processes = [
        context.Process(target=_enter, args=(number, n_processes, port, work, arguments, sender))
        for number in range(n_processes)
    ]
    for process in processes:
        process.start()
    sender.close()  # only the processes hold it now
    try:
        answer = _answer(processes, receiver)
        if not isinstance(answer, BaseException):
            for process in processes:
                process.join()
    except KeyboardInterrupt:  # the terminal has told every process; the main one says how to continue
        processes[0].join(SECONDS_FOR_THE_FIRST_ERROR)
        raise
    finally:
        for process in processes:
            process.terminate()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _answer(processes, receiver):
    """What the main process sends, an error of its own too; a RuntimeError where a process ended before."""
    running, codes = {process.sentinel: process for process in processes}, []
    while running and not any(codes):
        ready = connection.wait([receiver, *running])
        if receiver in ready:
            try:
                return pickle.loads(receiver.recv_bytes())
            except EOFError:  # no process is left that could send
                ready = list(running)
        codes += [running.pop(sentinel).exitcode for sentinel in ready]
    return RuntimeError(f"processes of the run ended with codes {codes}, before there was a result")


def _enter(number, n_processes, port, work, arguments, sender):
    """A process' whole life."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(number), WORLD_SIZE=str(n_processes))
    os.environ.update(LOCAL_RANK=str(number), LOCAL_WORLD_SIZE=str(n_processes))
    try:
        join()
        result = work(*arguments)
        if is_main():
            sender.send_bytes(pickle.dumps(result))
        distributed.destroy_process_group()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if number:  # most often because the main process has failed, whose error is the one to show
            time.sleep(SECONDS_FOR_THE_FIRST_ERROR)
        if isinstance(error, (ValueError, OSError, ImportError)):
            sender.send_bytes(pickle.dumps(error))
            sys.exit(2)
        raise


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

"""recbole_unirep.parallel: trains one model in several processes, with torch.distributed.

Every process reads the same data, draws the same batches and holds the same model, and computes its share of each batch
and each evaluation. A single process without a group can call every function here and counts as a group of one.
"""

import atexit
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

SECONDS_FOR_MAIN_ERROR = 5  # head start of the main process's error over those of the others


def rank():
    """Number of this process; process 0 is the main one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size():
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def local_rank():
    """Number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0)) if distributed.is_initialized() else 0


def is_main():
    """Whether this is the main process, which alone writes files and logs."""
    return rank() == 0


def is_launched():
    """Whether torchrun or `spawn` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def join(timeout_days=None):
    """Joins the group that the environment variables describe, with NCCL between GPUs and gloo between CPUs.

    Args:
        timeout_days (int or None): how long a process waits for the others; None is torch's default.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    timeout = None if timeout_days is None else timedelta(days=timeout_days)
    distributed.init_process_group(backend, timeout=timeout)
    atexit.register(_leave)  # gloo's threads may abort a process that exits without leaving the group
    if "OMP_NUM_THREADS" not in os.environ:
        local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // local_world_size))


def _leave():
    if distributed.is_initialized():
        distributed.destroy_process_group()


def all_sum(tensor):
    """Sums a tensor over all processes, in place, and returns it."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def joined(ids):
    """Concatenates the ids of all processes, which may differ in number, shape: [n], int64."""
    if world_size() == 1:
        return ids
    return torch.tensor([item for part in gathered(ids.tolist()) for item in part], device=ids.device)


def copy_from_main(tensor):
    """Overwrites a tensor with the main process's values, in place."""
    if world_size() > 1:
        distributed.broadcast(tensor, src=0)


def from_main(value):
    """The main process's value, which must be picklable."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def gathered(value):
    """The values of all processes by rank, which must be picklable (list)."""
    if world_size() == 1:
        return [value]
    values = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


@contextmanager
def main_first():
    """Runs the block in the main process first, so that the other processes find the files it has written."""
    if not is_main():
        distributed.barrier()
    yield
    if is_main() and world_size() > 1:
        distributed.barrier()


def spawn(work, n_processes, arguments):
    """Runs `work(*arguments)` in several processes on this machine.

    Args:
        work (callable): a function at module level.
        n_processes (int): number of processes.
        arguments (tuple): picklable.

    Returns:
        object: what the call in the main process returned.

    Raises:
        ValueError, OSError, ImportError: raised by the main process, or by another one that it waits for.
        RuntimeError: a process ended in another way.
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
    sender.close()  # the processes hold their own copies
    try:
        answer = _answer(processes, receiver)
        if not isinstance(answer, BaseException):
            for process in processes:
                process.join()
    except KeyboardInterrupt:  # Ctrl-C reaches every process; the main one logs how to continue
        processes[0].join(SECONDS_FOR_MAIN_ERROR)
        raise
    finally:
        for process in processes:
            process.terminate()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _answer(processes, receiver):
    """The result or error that a process sent, or a RuntimeError if one ended without sending any."""
    running, codes = {process.sentinel: process for process in processes}, []
    while running and not any(codes):
        ready = connection.wait([receiver, *running])
        if receiver in ready:
            try:
                return pickle.loads(receiver.recv_bytes())
            except EOFError:  # every process that could send has ended
                ready = list(running)
        codes += [running.pop(sentinel).exitcode for sentinel in ready]
    return RuntimeError(f"processes of the run ended with exit codes {codes} before there was a result")


def _enter(number, n_processes, port, work, arguments, sender):
    """Main function of a process."""
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
        if number:  # usually a consequence of the main process's error, which is the one to show
            time.sleep(SECONDS_FOR_MAIN_ERROR)
        if isinstance(error, (ValueError, OSError, ImportError)):
            sender.send_bytes(pickle.dumps(error))
            sys.exit(2)
        raise


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

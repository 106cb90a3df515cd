"""Parts that the sides of a benchmark share: a clock, the operating system's peak memory, the JSON line of results."""

import json
import os
import resource
import sys
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import perf_counter


def timed(work):
    """Returns the result of `work()` and the seconds it took."""
    started = perf_counter()
    result = work()
    return result, perf_counter() - started


def repeated(work, times):
    """Returns the median seconds of `times` calls."""
    return median(timed(work)[1] for _ in range(times))


def memory():
    """Returns the current resident memory of the process in bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def own_memory():
    """Returns `memory()` without the pages of mapped files, which the system can reclaim."""
    return memory() - int(Path("/proc/self/statm").read_text().split()[2]) * os.sysconf("SC_PAGE_SIZE")


def more_memory(work, memory=memory):
    """Returns the result of `work()` and how many bytes the process grew meanwhile, sampled every 2 ms."""
    sizes, is_done = [], Event()

    def watch():
        while not is_done.wait(0.002):
            sizes.append(memory())

    before = memory()
    watcher = Thread(target=watch)
    watcher.start()
    result = work()
    is_done.set()
    watcher.join()
    return result, max(sizes, default=before) - before


def arguments():
    """Returns the measure's name and options; clears the command line, because RecBole's Config reads it."""
    name, *options = sys.argv[1:]
    sys.argv[1:] = []
    return name, dict(option.removeprefix("--").split("=", 1) for option in options)


def report(**numbers):
    """Prints the numbers of a measurement and the process' peak memory as the last line, in JSON."""
    unit = 1 if sys.platform == "darwin" else 1024
    numbers["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps(numbers), flush=True)

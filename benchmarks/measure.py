"""What both sides of a benchmark share: a clock, the operating system's peak memory, one JSON line."""

import json
import resource
import sys
from statistics import median
from time import perf_counter


def timed(work):
    """Result of `work()` and the seconds it took."""
    started = perf_counter()
    result = work()
    return result, perf_counter() - started


def repeated(work, times):
    """Median of the seconds of `times` calls."""
    return median(timed(work)[1] for _ in range(times))


def arguments():
    """Name of the measure and its options; the command line is cleared, because RecBole's Config reads it."""
    name, *options = sys.argv[1:]
    sys.argv[1:] = []
    return name, dict(option.removeprefix("--").split("=", 1) for option in options)


def report(**numbers):
    """Prints the numbers of a measure and the process' peak memory as the last line."""
    unit = 1 if sys.platform == "darwin" else 1024
    numbers["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(json.dumps(numbers), flush=True)

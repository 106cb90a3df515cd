"""recbole_unirep.runs.result: peak memory of a run, and the table of its test metrics."""

import sys

import psutil
import torch
from tabulate import tabulate


def peak_memory(device):
    """Peak memory in bytes of the process, and of the GPU if the model is on one.

    Args:
        device (torch.device): where the model is.

    Returns:
        dict[str, int or None]: 'process' and 'gpu'.
    """
    gpu = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {"process": _peak_of_process(), "gpu": gpu}


def _peak_of_process():
    """Peak resident memory in bytes; the memory in use now where the system records no peak."""
    try:
        import resource  # on Unix only
    except ImportError:
        memory = psutil.Process().memory_info()
        return getattr(memory, "peak_wset", memory.rss)  # Windows records a peak
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def table(result, folder):
    """The last lines of a run's log: test metrics by protocol, or validation metrics without one; sizes; folder.

    Args:
        result (dict): what result.json holds.
        folder (Path): the run's folder.

    Returns:
        str: several lines.
    """
    part, by_protocol = "test", result["test_result"]
    if not by_protocol:
        part, by_protocol = "validation", {"full": result["best_valid_result"] or {}}
    columns = list(next(iter(by_protocol.values()))) or ["nothing was ranked (protocol: [], no validation)"]
    rows = [[protocol, *(metrics.get(name) for name in columns)] for protocol, metrics in by_protocol.items()]
    title = f"{result['model']} on {result['dataset']}, seed {result['seed']}, {part}"
    if result["text_encoder"]:
        title += f", text encoder {result['text_encoder']}"
    item_table = result["item_table_parameters"]
    sizes = "" if item_table is None else f"item table {item_table:,} parameters, "
    sizes += f"all {result['trainable_parameters']:,} parameters"
    if result["counted_numbers"]:
        sizes += f", {result['counted_numbers']:,} counted numbers"
    return f"{title}\n{tabulate(rows, headers=['protocol', *columns], floatfmt='.4f')}\n{sizes}\n{folder}"

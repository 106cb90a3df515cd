"""recbole_unirep.runs.result: peak memory of a run, and the table of its test metrics."""

import resource
import sys

import torch
from tabulate import tabulate


def peak_memory(device):
    """Bytes of the process at its largest, and of the GPU beside it where one is used.

    Args:
        device (torch.device): where the model is.

    Returns:
        dict[str, int or None]: 'process' and 'gpu'.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"process": process, "gpu": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None}


def table(result, folder):
    """Test metrics of every protocol (validation's where there is none), and where the run lies.

    Args:
        result (dict): what result.json holds.
        folder (Path): the run's folder.

    Returns:
        str: the last lines of a run.
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

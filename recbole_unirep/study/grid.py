"""recbole_unirep.study.grid: runs the unfinished cells of a grid one after another."""

import sys
from statistics import mean

from tabulate import tabulate
from tqdm import tqdm

from recbole_unirep.study.cells import check_cell, run_cell
from recbole_unirep.study.comparison import FinishedRun


def run_grid(cells):
    """Runs every cell that is not finished; a cell that fails does not stop the others.

    Args:
        cells (list of Cell): cells that passed `check_cells`.

    Returns:
        dict[Cell.name, str]: why each failed cell failed.

    Raises:
        KeyboardInterrupt: the user stopped the grid; the same call continues it.
    """
    failed, todo = {}, left(cells)
    with tqdm(total=len(cells), initial=len(cells) - len(todo), unit="cell", disable=None, file=sys.stderr) as bar:
        for cell in todo:
            bar.set_description(cell.name)
            message = run_cell(cell)
            if message:
                failed[cell.name] = message
                bar.write(f"{cell.name} failed: {message}")
            else:
                result = cell.result()
                score = result["best_valid_score"]
                shown = "" if score is None else f"{result['valid_metric']} {score:.4f} on validation, "
                bar.write(f"{cell.name}: {shown}{result['seconds']:,.0f} s")
            bar.update()
    return failed


def check_cells(cells, metrics_of):
    """Checks the cells of a grid before any is run.

    Args:
        cells (list of Cell): the grid.
        metrics_of (callable): maps the label of a row to the metrics that tables show for it.

    Raises:
        ValueError: a cell can't be run, or its results will lack a metric.
        FileNotFoundError: a file is missing.
    """
    for cell in cells:
        known = check_cell(cell)
        unknown = [metric for metric in metrics_of(cell.row) if metric not in known]
        if unknown:
            raise ValueError(
                f"metrics={unknown[0]} was requested, {cell.name} will have {', '.join(known)}: choose among them, or "
                f"add it to its metrics and topk"
            )


def left(cells):
    """Cells that are not finished, in order."""
    return [cell for cell in cells if cell.result() is None]


def finished_runs(cells):
    """Finished cells as runs to compare (list of FinishedRun)."""
    found = [(cell, cell.result()) for cell in cells]
    return [FinishedRun(cell.row, cell.folder, result) for cell, result in found if result is not None]


def plan(cells, grid=None):
    """Describes the unfinished cells and the time they should take.

    Args:
        cells (list of Cell): cells to describe.
        grid (list of Cell or None): whole grid, whose finished cells give the times; None means `cells`.

    Returns:
        str: a table and a summary line; times are those of `expected_seconds`.
    """
    todo = left(cells)
    rows, total, n_unknown = [], 0.0, 0
    for cell in todo:
        seconds = expected_seconds(cell, grid or cells)
        total, n_unknown = total + (seconds or 0.0), n_unknown + (seconds is None)
        state = "interrupted" if cell.is_interrupted() else "empty"
        rows.append([cell.row, cell.dataset, cell.seed, state, "unknown" if seconds is None else f"{seconds:,.0f}"])
    table = tabulate(rows, headers=["row", "dataset", "seed", "state", "seconds"], disable_numparse=True)
    known = [f"about {total / 3600:.1f} hours"] if n_unknown < len(todo) else []
    unknown = [f"{n_unknown} cells of unknown time"] if n_unknown else []
    return (
        (table + "\n" if rows else "")
        + f"{len(cells) - len(todo)} of {len(cells)} cells are finished"
        + (f", {len(todo)} are left: {' and '.join(known + unknown)}" if todo else "")
    )


def expected_seconds(cell, cells):
    """Estimates the seconds that a cell takes, from finished cells.

    The estimate is the mean over the finished cells of the same row and dataset, else of the same model and dataset,
    else of the same row.

    Args:
        cell (Cell): a cell that is not finished.
        cells (list of Cell): the grid.

    Returns:
        float or None: None if no similar cell is finished.
    """
    alike = (
        lambda other: (other.row, other.dataset) == (cell.row, cell.dataset),
        lambda other: (other.keys["model"], other.dataset) == (cell.keys["model"], cell.dataset),
        lambda other: other.row == cell.row,
    )
    for is_alike in alike:
        seconds = [other.result()["seconds"] for other in cells if is_alike(other) and other.result() is not None]
        if seconds:
            return mean(seconds)
    return None

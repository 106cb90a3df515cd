"""Trains the cells of a page of results with `run_recbole`, and writes tables into the page."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from recbole_unirep.runs.folder import CONFIG, ENVIRONMENT, LAST, METRICS, RESULT

HERE = Path(__file__).resolve().parent
KEPT = (CONFIG, ENVIRONMENT, RESULT, METRICS)  # a cell's record, under results/


class Request(NamedTuple):
    """What the command line of a script asks for.

    Attributes:
        names (list of str): cells to run.
        runs (Path): folder of the runs.
        options (dict): further options, `data_path` among them.
    """

    names: list
    runs: Path
    options: dict


def parse(arguments, page, cells):
    """Reads `--data_path=FOLDER [--runs=FOLDER] [NAME ...]`.

    Args:
        arguments (list of str): the command line.
        page (str): name of the page, of which the runs have their own folder.
        cells (iterable of str): names of all cells, which run if none is named.

    Returns:
        Request: the cells and where they run.
    """
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    names = [argument for argument in arguments if not argument.startswith("--")] or list(cells)
    return Request(names, Path(options.pop("runs", f"runs/{page}")), options)


def run(arguments, folder, kept, proof=RESULT):
    """Trains a cell, or continues an interrupted one, and copies its record.

    Args:
        arguments (list of str): of `run_recbole`, without `--run_dir`.
        folder (Path): of the run.
        kept (Path): folder for the cell's record.
        proof (str): a file of the record; a cell that has it is not run again.
    """
    if (kept / proof).is_file():
        return
    if (folder / LAST).is_file():
        command = ["run_recbole", f"--resume={folder}"]
    else:
        shutil.rmtree(folder, ignore_errors=True)
        command = ["run_recbole", *arguments, "--show_progress=False", f"--run_dir={folder}"]
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True)
    kept.mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        shutil.copy(folder / file, kept / file)


def write_table(page, mark, table):
    """Replaces the text between `<!-- MARK -->` and `<!-- end -->` of a page.

    Args:
        page (Path): a Markdown file.
        mark (str): which place.
        table (str): lines, each with its end.
    """
    before, start, rest = page.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    page.write_text(before + start + table + rest[rest.index("<!-- end -->") :], encoding="utf-8", newline="\n")

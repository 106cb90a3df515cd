"""Trains the cells of a page of results with `run_recbole`, and writes tables into the page."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from recbole_unirep.runs.folder import CONFIG, ENVIRONMENT, LAST, METRICS, RESULT

HERE = Path(__file__).resolve().parent
FIRST_DEFAULT = f"--config_files={HERE / 'first_default.yaml'}"  # UniRep as it was when the first pages were made
KEPT = (CONFIG, ENVIRONMENT, RESULT, METRICS)  # a cell's record, under results/


class Request(NamedTuple):
    """The command line of a script, parsed.

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
        page (str): name of the page; its runs are in runs/PAGE by default.
        cells (iterable of str): names of all cells; they run if the command line names none.

    Returns:
        Request: the cells and where they run.
    """
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    names = [argument for argument in arguments if not argument.startswith("--")] or list(cells)
    return Request(names, Path(options.pop("runs", f"runs/{page}")), options)


def run(arguments, folder, kept, proof=RESULT):
    """Trains a cell, or continues an interrupted one, and copies its record.

    Args:
        arguments (list of str): arguments of `run_recbole`, without `--run_dir`.
        folder (Path): the run's folder.
        kept (Path): folder for the cell's record.
        proof (str): file name; a cell whose record has this file is not run again.
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
        mark (str): MARK.
        table (str): the new text, complete lines.
    """
    before, start, rest = page.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    page.write_text(before + start + table + rest[rest.index("<!-- end -->") :], encoding="utf-8", newline="\n")

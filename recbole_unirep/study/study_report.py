"""recbole_unirep.study.study_report: writes the report of a study.

FOLDER/DATASET/ROW/seed-SEED/   a cell's run
FOLDER/DATASET/users-HASH.npz   user tokens shared by the test ranks of its finished cells
FOLDER/report.md, report.html   tables and figures, with the cells that are empty
"""

import shutil
from pathlib import Path

from recbole_unirep.reports.document import Code, Report, Section, Table
from recbole_unirep.reports.report import write_report
from recbole_unirep.runs.folder import RANKS
from recbole_unirep.scoring.ranks import pack_ranks
from recbole_unirep.study.codebook_table import codebook_table
from recbole_unirep.study.comparison import check_comparable, compare_runs
from recbole_unirep.study.comparison_tables import comparison_table, write_comparison
from recbole_unirep.study.grid import expected_seconds, finished_runs, left, plan
from recbole_unirep.study.study_figures import study_figures


def write_study_report(out, asked, file, failed):
    """Writes report.md and report.html from the finished cells.

    Args:
        out (Path): folder of the study.
        asked (Study): the study.
        file (str): the study file, for the command in the report.
        failed (dict[str, str]): error messages of failed cells by name.

    Returns:
        Path: report.html.
    """
    parts = [*([asked.text] if asked.text else []), Code(f"unirep study {Path(file).name}")]
    sections = [Section("What this is", parts)]
    runs = finished_runs(asked.cells)
    for table in asked.tables:
        for dataset in table.datasets:
            sections.append(_table_section(out, asked, table, dataset, runs))
    sections += study_figures(asked)
    sections.append(Section("Cells", [_cells_table(asked.cells, failed), plan(asked.cells).splitlines()[-1]]))
    return write_report(out, Report(asked.title, sections))


def pack_finished_ranks(asked):
    """Packs the test ranks of a study's finished cells.

    Args:
        asked (Study): the study.
    """
    for run in finished_runs(asked.cells):
        if (run.folder / RANKS).is_file():
            pack_ranks(run.folder, asked.protocols_of(run.label))


def _table_section(out, asked, table, dataset, runs):
    """Section of a table, with published values of a paper next to it."""
    title = table.title if len(table.datasets) == 1 else f"{table.title}: {dataset}"
    cells = [cell for cell in asked.cells if cell.dataset == dataset and cell.row in table.rows]
    order = {label: place for place, label in enumerate(table.rows)}
    own = [run for run in runs if run.label in order and run.result["dataset"] == dataset]
    own.sort(key=lambda run: (order[run.label], run.result["seed"]))
    parts, folder = [table.text] if table.text else [], out / "tables" / f"{_file_name(table.title)}-{dataset}"
    if own and table.kind == "codebooks":
        check_comparable(own, [])
        parts.append(codebook_table(own) or "No run of this table has codes.")
    elif own:
        ours = [label for label in asked.ours if label in order]
        comparisons = compare_runs(own, table.protocols, table.metrics, ours, table.baseline)
        shown = comparison_table(comparisons)
        folder.mkdir(parents=True, exist_ok=True)
        write_comparison(folder, comparisons, shown)
        parts.append(shown)
    elif folder.is_dir():
        shutil.rmtree(folder)  # its cells were removed
    empty = [cell.name for cell in left(cells)]
    if empty:
        parts.append(f"Empty, not run yet: {'; '.join(empty)}.")
    published = table.published.get(dataset, {})
    if published:
        parts.append(_published(table, published))
    return Section(title, parts)


def _published(table, published):
    metrics = list(dict.fromkeys(metric for found in published.values() for metric in found))
    rows = [
        [label, *(f"{found[metric]:.4f}" if metric in found else "" for metric in metrics)]
        for label, found in published.items()
    ]
    return Table("Published values", ["model", *metrics], rows, f"Published: {table.published_source}")


def _cells_table(cells, failed):
    """Table of all cells with their commands and settings."""
    rows = []
    for cell in cells:
        result = cell.result()
        if result is None:
            seconds = expected_seconds(cell, cells)
            about = "unknown" if seconds is None else f"about {seconds:,.0f}"
            rows.append([cell.name, failed.get(cell.name, "empty"), "", about, "", "", f"`{cell.command}`"])
            continue
        score = result["best_valid_score"]
        rows.append(
            [
                cell.name,
                "finished",
                "" if score is None else f"{score:.4f}",
                f"{result['seconds']:,.0f}",
                result["dataset_fingerprint"][:12],
                (result["candidates_hash"] or "")[:12],
                f"`{cell.command}`",
            ]
        )
    headers = ["cell", "state", "validation", "seconds", "data", "candidates", "command"]
    note = (
        "Config, commit and environment of each lie in its folder: config.yaml, environment.json, result.json. Seconds "
        "of an empty cell are those of the finished ones nearest to it: of its row, or of its model on its dataset."
    )
    return Table("", headers, rows, note)


def _file_name(title):
    return "".join(letter if letter.isalnum() else "_" for letter in title).strip("_").lower()

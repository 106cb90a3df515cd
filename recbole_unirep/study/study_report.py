"""recbole_unirep.study.study_report: runs the grid of a study file and writes its report.

FOLDER/DATASET/ROW/seed-SEED/   a cell's run
FOLDER/DATASET/users-HASH.npz   the user tokens that the test ranks of its finished cells share
FOLDER/report.md, report.html   tables and figures, with the cells that are empty
"""

from pathlib import Path

from recbole_unirep import parallel
from recbole_unirep.commands.compare import names
from recbole_unirep.files.lock import locked
from recbole_unirep.reports.document import Code, Report, Section, Table
from recbole_unirep.reports.report import write_report
from recbole_unirep.runs.folder import RANKS
from recbole_unirep.scoring.ranks import pack_ranks
from recbole_unirep.settings.values import split_arguments
from recbole_unirep.study.codebook_table import codebook_table
from recbole_unirep.study.comparison import check_comparable, compare_runs
from recbole_unirep.study.comparison_tables import comparison_table, write_comparison
from recbole_unirep.study.grid import check_cells, expected_seconds, finished_runs, left, plan, run_grid
from recbole_unirep.study.study_figures import study_figures
from recbole_unirep.study.study_file import read_study


def study(file, arguments):
    """Runs what is left of a study, writes its report, and packs the test ranks of its finished cells.

    Args:
        file (str): the study, YAML.
        arguments (sequence of str): `--out=..`, `--rows=A,B/2020` (runs these alone, B with
            that seed), `--dry-run` (lists what is left), `--report-only`, and settings of every cell.

    Returns:
        Path or None: the report's HTML page; None for a dry run.

    Raises:
        ValueError: something asked for can't be, or a cell failed; the report is written then.
        FileNotFoundError: a file is missing.
    """
    if parallel.world_size() > 1:
        raise ValueError("unirep study runs in one process: start it without torchrun")
    flags = {f"--{name}" for name in ("dry-run", "report-only")} & set(arguments)
    settings = split_arguments(argument for argument in arguments if argument not in flags)
    settings.pop("debug", None)
    out = Path(settings.pop("out", None) or Path(file).with_suffix(""))
    rows = settings.pop("rows", None)
    asked = read_study(file, out, settings)
    check_cells(asked.cells, asked.metrics_of)
    to_run = asked.cells if rows is None else _of_rows(asked.cells, rows)
    if "--dry-run" in flags:
        print(plan(to_run, asked.cells), flush=True)
        return None
    with locked(out):
        failed = {}
        if "--report-only" not in flags:
            try:
                failed = run_grid(to_run)
            except KeyboardInterrupt:
                print(f"stopped; what is trained lies in {out}; the same command continues", flush=True)
                raise
        page = write_study_report(out, asked, file, failed)
        for run in finished_runs(asked.cells):
            if (run.folder / RANKS).is_file():
                pack_ranks(run.folder, asked.protocols_of(run.label))
    print(page, flush=True)
    if failed:
        raise ValueError(f"{len(failed)} of {len(to_run)} cells failed: " + "; ".join(map(": ".join, failed.items())))
    return page


def _of_rows(cells, rows):
    """The cells of some rows, or of ROW/SEED, in the order of the study."""
    known = dict.fromkeys(cell.row for cell in cells)
    of_name = {
        name: [cell for cell in cells if name in (cell.row, f"{cell.row}/{cell.seed}")]
        for name in names({"rows": rows}, "rows", [])
    }
    for name, found in of_name.items():
        row, _, seed = name.partition("/")
        if seed and row in known and not found:
            seeds = dict.fromkeys(str(cell.seed) for cell in cells if cell.row == row)
            raise ValueError(f"rows={rows} names seed {seed} of {row}: its seeds are {', '.join(seeds)}")
        if not found:
            raise ValueError(f"rows={rows} names {name}: the study's rows are {', '.join(known)}")
    return [cell for cell in cells if any(cell in found for found in of_name.values())]


def write_study_report(out, asked, file, failed):
    """Writes report.md and report.html of what is finished.

    Args:
        out (Path): folder of the study.
        asked (Study): what it consists of.
        file (str): its file, for the command shown.
        failed (dict[str, str]): why cells failed, by name.

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


def _table_section(out, asked, table, dataset, runs):
    """A table, beside the values that a paper published."""
    title = table.title if len(table.datasets) == 1 else f"{table.title}: {dataset}"
    cells = [cell for cell in asked.cells if cell.dataset == dataset and cell.row in table.rows]
    order = {label: place for place, label in enumerate(table.rows)}
    own = [run for run in runs if run.label in order and run.result["dataset"] == dataset]
    own.sort(key=lambda run: (order[run.label], run.result["seed"]))
    parts = [table.text] if table.text else []
    if own and table.kind == "codebooks":
        check_comparable(own, [])
        parts.append(codebook_table(own) or "No run of this table has codes.")
    elif own:
        ours = [label for label in asked.ours if label in order]
        comparisons = compare_runs(own, table.protocols, table.metrics, ours, table.baseline)
        shown = comparison_table(comparisons)
        folder = out / "tables" / f"{_file_name(table.title)}-{dataset}"
        folder.mkdir(parents=True, exist_ok=True)
        write_comparison(folder, comparisons, shown)
        parts.append(shown)
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
    """Every cell with its command, and what it rests on."""
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

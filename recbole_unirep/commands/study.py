"""recbole_unirep.commands.study: `unirep study` runs the grid of a study file and writes its report."""

from pathlib import Path

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import argument, flag, option
from recbole_unirep.commands.types import Names, Place


@command("study", takes_keys=True, example="unirep study results/studies/beauty.yaml --data_path=FOLDER --dry-run")
@argument("file", "STUDY.yaml", "the YAML file of a study", type=Place("FILE"))
@option("--rows", Names("A,B/SEED"), "Run only these rows; ROW/SEED runs only that seed.", shown="all rows")
@option("--datasets", Names("A,B"), "Run only the cells on these datasets.", shown="all datasets")
@flag("--dry-run", "List the unfinished cells and their expected time; run nothing.")
@flag("--report-only", "Write the report from the finished cells; run nothing.")
@option("--out", Place("FOLDER"), "Folder of the runs and the report.", shown="STUDY")
def study(file, rows, datasets, dry_run, report_only, out, keys):
    """Run the grid of a study file and write its report.

    The same command continues: finished cells are kept, with packed test ranks, and an interrupted cell is resumed.
    Config keys apply to every cell and override those of the file.
    """
    from recbole_unirep import parallel
    from recbole_unirep.files.lock import locked
    from recbole_unirep.study.grid import check_cells, plan, run_grid
    from recbole_unirep.study.study_file import read_study
    from recbole_unirep.study.study_report import pack_finished_ranks, write_study_report

    if parallel.world_size() > 1:
        raise ValueError("unirep study runs in one process: start it without torchrun")
    out = Path(out or Path(file).with_suffix(""))
    described = read_study(file, out, keys)
    check_cells(described.cells, described.metrics_of)
    cells = described.cells if rows is None else _cells_of_rows(described.cells, rows)
    if datasets is not None:
        cells = _cells_on_datasets(cells, datasets, described.datasets)
    if dry_run:
        print(plan(cells, described.cells), flush=True)
        return None
    with locked(out):
        failed = {}
        if not report_only:
            try:
                failed = run_grid(cells)
            except KeyboardInterrupt:
                print(f"stopped; finished and partial runs are in {out}; the same command continues", flush=True)
                raise
        page = write_study_report(out, described, file, failed)
        pack_finished_ranks(described)
    print(page, flush=True)
    if failed:
        raise ValueError(f"{len(failed)} of {len(cells)} cells failed: " + "; ".join(map(": ".join, failed.items())))
    return page


def _cells_of_rows(cells, rows):
    """Returns the cells of rows, each given as ROW or ROW/SEED, in the order of the study."""
    known = dict.fromkeys(cell.row for cell in cells)
    by_name = {name: [cell for cell in cells if name in (cell.row, f"{cell.row}/{cell.seed}")] for name in rows}
    for name, found in by_name.items():
        row, _, seed = name.partition("/")
        if seed and row in known and not found:
            seeds = dict.fromkeys(str(cell.seed) for cell in cells if cell.row == row)
            raise ValueError(f"--rows names seed {seed} of {row}: its seeds are {', '.join(seeds)}")
        if not found:
            raise ValueError(f"--rows names {name}: the study's rows are {', '.join(known)}")
    return [cell for cell in cells if any(cell in found for found in by_name.values())]


def _cells_on_datasets(cells, names, known):
    """Returns the cells on the named datasets; raises ValueError if the study does not know one."""
    for name in names:
        if name not in known:
            raise ValueError(f"--datasets names {name}: the study's datasets are {', '.join(known)}")
    return [cell for cell in cells if cell.dataset in names]

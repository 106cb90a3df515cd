"""`unirep inspect`: whether semantic IDs are healthy, on the terminal, as CSV, JSON and one HTML page."""

import csv
from pathlib import Path

from tabulate import tabulate

from recbole_unirep.analysis.codebook import collision_rate, unique_item_coverage
from recbole_unirep.analysis.health import Thresholds, findings, level_report, prefix_purity
from recbole_unirep.files.whole import write_json
from recbole_unirep.reports.html_page import html_page
from recbole_unirep.semantic_ids.ids import SemanticIds
from recbole_unirep.settings.values import split_arguments
from recbole_unirep.study.inspection import Inspected, neighbours, read_inspected
from recbole_unirep.study.inspection_page import Inspection, level_table, overall, page, purity_table, spelled

OPTIONS = ("out", "data_path", "item", "min_usage", "min_perplexity", "min_coverage")
DEFAULTS = Thresholds(usage=0.5, perplexity=0.1, coverage=0.8)
N_NEIGHBOURS = 10


def inspect_ids(arguments):
    """Looks into a bundle or a run and writes what it finds.

    Args:
        arguments (sequence of str): the folder, then `--data_path=..`, `--item=..`, `--out=..`, thresholds.

    Returns:
        bool: whether the codes are healthy.

    Raises:
        FileNotFoundError: the folder holds neither a bundle nor a run.
        ValueError: an option is not understood, or what lies there can't be read back.
    """
    if not arguments or arguments[0].startswith("--"):
        raise ValueError("inspect reads a bundle or a run: write unirep inspect FOLDER, the folder first")
    options = _options(arguments[1:])
    inspected = read_inspected(arguments[0], options.get("data_path"))
    found = look(inspected, options["thresholds"], options.get("item"))
    out = Path(options.get("out") or Path(arguments[0]) / "inspection")
    write(inspected, found, out)
    print(_terminal(inspected, found, out))
    return not found.findings


def look(inspected: Inspected, thresholds: Thresholds, item=None) -> Inspection:
    """All numbers of some semantic IDs."""
    codes, sizes = inspected.codes, inspected.codebook_sizes
    levels = level_report(codes, sizes)
    for level, distortion in zip(levels, inspected.distortion or ()):
        level["distortion"] = distortion
    ids = SemanticIds(inspected.items, codes, sizes)
    return Inspection(
        levels,
        {name: prefix_purity(codes, labels) for name, labels in inspected.labels.items()},
        unique_item_coverage(codes),
        collision_rate(codes),
        [[ids.row[item] for item in group] for group in ids.collisions()],
        None if item is None else neighbours(inspected, item, N_NEIGHBOURS),
        findings(codes, sizes, thresholds, inspected.settings),
    )


def write(inspected: Inspected, found: Inspection, out: Path) -> None:
    """Writes levels.csv, purity.csv, collisions.csv, inspection.json and inspection.html into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    _write_csv(out / "levels.csv", found.levels)
    _write_csv(out / "purity.csv", [{"label": name, **row} for name, rows in found.purity.items() for row in rows])
    groups = enumerate(found.collisions, start=1)
    fields = [
        {"group": number, "size": len(rows), "semantic_id": spelled(inspected.codes[row]), "item": inspected.items[row],
         "title": inspected.titles[row]}
        for number, rows in groups for row in rows
    ]  # fmt: skip
    _write_csv(out / "collisions.csv", fields)
    write_json(
        out / "inspection.json",
        {
            "of": inspected.name,
            "items": len(inspected.items),
            "levels": found.levels,
            "purity": found.purity,
            "unique_item_coverage": found.coverage,
            "collision_rate": found.collision_rate,
            "collision_groups": len(found.collisions),
            "neighbours": found.neighbours,
            "findings": [finding._asdict() for finding in found.findings],
        },
    )
    (out / "inspection.html").write_text(html_page(page(inspected, found), {}), encoding="utf-8")


def _write_csv(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _terminal(inspected, found, out):
    levels = level_table(found)
    lines = [inspected.name, tabulate(levels.rows, levels.headers, disable_numparse=True, stralign="right")]
    for name, rows in found.purity.items():
        table = purity_table(name, rows)
        lines += [
            "",
            f"what a prefix says of the {name}",
            tabulate(table.rows, table.headers, disable_numparse=True, stralign="right"),
        ]
    for name, rows in (found.neighbours or {}).items():
        lines += [
            "",
            f"neighbours by {name}",
            tabulate(rows, ["item", "title", "how near"], maxcolwidths=[None, 60, None]),
        ]
    lines += ["", overall(inspected, found)]
    lines += [f"not healthy: {finding.message}" for finding in found.findings] or ["healthy"]
    return "\n".join([*lines, str(out / "inspection.html")])


def _options(arguments):
    options = split_arguments(arguments)
    options.pop("debug", None)
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise ValueError(f"inspect: there is no --{unknown[0]}: known are --{'=.., --'.join(OPTIONS)}=..")
    limits = {
        name: _share(f"min_{name}", options.pop(f"min_{name}", default)) for name, default in DEFAULTS._asdict().items()
    }
    return {**options, "thresholds": Thresholds(**limits)}


def _share(name, given):
    try:
        share = float(given)
    except ValueError:
        share = None
    if share is None or not 0 <= share <= 1:
        raise ValueError(f"{name}={given} is no share: give 0 to 1")
    return share

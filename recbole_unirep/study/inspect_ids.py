"""recbole_unirep.study.inspect_ids: health of semantic IDs, printed and written as CSV, JSON and HTML."""

import csv
from pathlib import Path

from tabulate import tabulate

from recbole_unirep.analysis.codebook import collision_rate, unique_item_coverage
from recbole_unirep.analysis.health import Thresholds, findings, level_report, prefix_purity
from recbole_unirep.files.whole import write_json
from recbole_unirep.reports.html_page import html_page
from recbole_unirep.semantic_ids.ids import SemanticIds
from recbole_unirep.study.inspection import Inspected, neighbours, read_inspected
from recbole_unirep.study.inspection_page import Inspection, level_table, overall, page, purity_table, spelled

N_NEIGHBOURS = 10


def inspect_folder(folder, thresholds: Thresholds, item=None, data_path=None, out=None):
    """Inspects the semantic IDs of a bundle or a run, prints a summary and writes the files.

    Args:
        folder (str or Path): folder of a bundle or a run.
        thresholds (Thresholds): limits below which the IDs are not healthy.
        item (str or None): token of an item whose neighbours are shown.
        data_path (str or None): current folder of the datasets; None uses the one of the run.
        out (str or Path or None): folder of the files; None means FOLDER/inspection.

    Returns:
        bool: True if the IDs are healthy.

    Raises:
        FileNotFoundError: the folder holds neither a bundle nor a run.
        ValueError: the contents can't be read, or the item does not exist.
    """
    inspected = read_inspected(folder, data_path)
    found = look(inspected, thresholds, item)
    out = Path(out or Path(folder) / "inspection")
    write(inspected, found, out)
    print(_terminal(inspected, found, out))
    return not found.findings


def look(inspected: Inspected, thresholds: Thresholds, item=None) -> Inspection:
    """Measures semantic IDs."""
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
            f"purity of {name} by ID prefix",
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

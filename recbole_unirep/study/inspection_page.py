"""The page of `unirep inspect`: tables and interactive charts of semantic IDs."""

from typing import NamedTuple

import numpy as np

from recbole_unirep.analysis import charts
from recbole_unirep.analysis.categories import common_categories
from recbole_unirep.analysis.codebook import level_counts
from recbole_unirep.analysis.projection import sample_rows, tsne
from recbole_unirep.reports.document import Chart, Report, Section, Table
from recbole_unirep.study.inspection import Inspected

N_LEVELS_SHOWN = 8  # histograms
N_GROUPS_SHOWN, N_ITEMS_SHOWN = 20, 6  # collisions
N_CODES_SHOWN, N_CATEGORIES_SHOWN = 24, 12  # heat map
N_POINTS, SEED = 3000, 2020  # map


class Inspection(NamedTuple):
    """Measurements of semantic IDs.

    Attributes:
        levels (list of dict): measures of each level.
        purity (dict[str, list of dict]): purity of each prefix length, by label.
        coverage (float): number of distinct semantic IDs divided by the number of items.
        collision_rate (float): fraction of the items that share an ID.
        collisions (list of list of int): rows of the items that share an ID, the largest group first.
        neighbours (dict or None): neighbours of the requested item.
        findings (list of Finding): measures below their thresholds.
    """

    levels: list
    purity: dict
    coverage: float
    collision_rate: float
    collisions: list
    neighbours: dict
    findings: list


def page(inspected: Inspected, found: Inspection) -> Report:
    """Builds the HTML report."""
    verdict = [finding.message for finding in found.findings] or ["All levels are above their thresholds."]
    sections = [
        Section("Verdict", verdict),
        Section("Levels", [level_table(found), overall(inspected, found), _histograms(inspected)]),
    ]
    for name, rows in found.purity.items():
        parts = [purity_table(name, rows)]
        if name == "category":
            parts.append(_heat_map(inspected))
        sections.append(Section(f"Purity of {name} by ID prefix", parts))
    if found.collisions:
        sections.append(Section("Items that share an ID", [_collision_table(inspected, found)]))
    if found.neighbours is not None:
        sections.append(Section("Neighbours", _neighbour_tables(found.neighbours)))
    sections.append(Section("Map", [_map(inspected)]))
    return Report(f"Semantic IDs: {inspected.name}", sections)


def _histograms(inspected):
    counts = [of_level.numpy() for of_level in level_counts(inspected.codes, inspected.codebook_sizes)]
    caption = "Items that have each code, fullest code first."
    if len(counts) > N_LEVELS_SHOWN:
        caption += f" The first {N_LEVELS_SHOWN} of {len(counts)} levels."
    figure = charts.code_histograms(counts[:N_LEVELS_SHOWN])
    return Chart(charts.chart_html(figure, "histograms", with_library=True), caption)  # first chart of the page


def _heat_map(inspected):
    known = np.array([label is not None for label in inspected.labels["category"]])
    names, group = common_categories([label for label in inspected.labels["category"] if label], N_CATEGORIES_SHOWN)
    level = _first_varied_level(inspected)
    codes = inspected.codes[known, level]
    counts = np.bincount(codes[codes >= 0], minlength=inspected.codebook_sizes[level])
    fullest = [int(code) for code in np.argsort(-counts, kind="stable")[:N_CODES_SHOWN] if counts[code]]
    shares = np.stack([np.bincount(group[codes == code], minlength=len(names)) / counts[code] for code in fullest])
    caption = f"The {len(fullest)} fullest codes of level {level + 1}: share of each category among their items."
    figure = charts.category_heat_map(shares, fullest, names, level + 1)
    return Chart(charts.chart_html(figure, "categories", with_library=False), caption)


def _first_varied_level(inspected):
    """The first level with several codes."""
    return next((level for level, size in enumerate(inspected.codebook_sizes) if size > 1), 0)


def _map(inspected):
    rows = sample_rows(len(inspected.items), N_POINTS, SEED)
    name = next(iter(inspected.vectors), None)
    level = _first_varied_level(inspected)
    if name is None:
        one_hot = [
            np.eye(size + 1)[inspected.codes[rows, place]] for place, size in enumerate(inspected.codebook_sizes)
        ]
        vectors, mapped = np.concatenate(one_hot, axis=1), "their codes, as there are no vectors"
    else:
        vectors, mapped = inspected.vectors[name][rows], f"their {name} vectors"
    points = tsne(vectors, seed=SEED, metric="cosine" if name else "euclidean")
    hover = [
        f"{_escaped(inspected.titles[row])}<br>{spelled(inspected.codes[row])}" + "".join(
            f"<br>{_escaped(labels[row])}" for labels in inspected.labels.values() if labels[row]
        )
        for row in rows
    ]  # fmt: skip
    groups = [f"code {code}" if code >= 0 else "no code" for code in inspected.codes[rows, level]]
    caption = (
        f"{len(rows):,} items by t-SNE of {mapped}, coloured by their code at level {level + 1} (the fullest "
        f"codes only); hover to see title and semantic ID."
    )
    figure = charts.item_map(points, groups, hover)
    return Chart(charts.chart_html(figure, "map", with_library=False), caption)


def _collision_table(inspected, found):
    rows = []
    for group in found.collisions[:N_GROUPS_SHOWN]:
        titles = [_cut(inspected.titles[row], 60) for row in group[:N_ITEMS_SHOWN]]
        more = len(group) - len(titles)
        rows.append(
            [
                spelled(inspected.codes[group[0]]),
                str(len(group)),
                "; ".join(titles) + (f"; {more} more" if more else ""),
            ]
        )
    shown = f"The {len(rows)} largest of {len(found.collisions):,} groups; collisions.csv has all."
    return Table("", ["semantic ID", "items", "titles"], rows, shown)


def _neighbour_tables(found):
    return [
        Table(f"By {name}", ["item", "title", "how near"], [list(row) for row in rows]) for name, rows in found.items()
    ]


def _escaped(text):
    return _cut(text, 90).replace("&", "&amp;").replace("<", "&lt;")


def _cut(text, length):
    return text if len(text) <= length else text[: length - 1] + "…"


def overall(inspected, found):
    """One sentence about all items."""
    return (
        f"{len(inspected.items):,} items, {found.coverage:.4f} distinct semantic IDs per item, "
        f"{found.collision_rate:.1%} of the items share an ID with others, in {len(found.collisions):,} groups."
    )


def level_table(found):
    """Table of the measures of each level."""
    has_distortion = "distortion" in found.levels[0]
    headers = ["level", "codes", "items", "usage", "dead", "entropy, bits", "perplexity"]
    rows = [
        [
            str(row["level"]),
            f"{row['codebook_size']:,}",
            f"{row['items']:,}",
            f"{row['usage']:.1%}",
            f"{row['dead_codes']:,}",
            f"{row['entropy']:.2f}",
            f"{row['perplexity']:.1f}",
            *([f"{row['distortion']:.4f}" if "distortion" in row else ""] if has_distortion else []),
        ]
        for row in found.levels
    ]
    note = "Perplexity: number of equally full codes with the same entropy. Entropy: in bits, over items with a code."
    if has_distortion:
        headers.append("distortion")
        note += " Distortion: squared error after this level as a share of the variance of the quantized vectors."
    return Table("", headers, rows, note)


def purity_table(name, rows):
    """Table of the purity of a label under ID prefixes."""
    body = [[str(r["level"]), f"{r['prefixes']:,}", f"{r['purity']:.1%}", f"{r['chance']:.1%}"] for r in rows]
    note = (
        f"Purity: share of the items whose {name} is the most frequent one of their prefix; by chance: the same "
        f"after shuffling the labels among the items. A prefix with a single item is always pure, also by chance."
    )
    return Table("", ["prefix length", "prefixes", "purity", "by chance"], body, note)


def spelled(codes):
    """Formats an ID as text without unused levels, such as 12-7-0."""
    return "-".join(str(code) for code in codes if code >= 0)

"""recbole_unirep.study.codebook_table: codebook usage of finished runs (Tables 1 and 2 of the paper)."""

from statistics import mean, stdev

from recbole_unirep.reports.document import Table

PER_LEVEL = ("codebook_usage", "perplexity")
MANY_LEVELS = 4  # with more levels, the table shows minimum and mean of each measure instead of a column per level
NOTE = (
    "Of the chosen checkpoint, over all items, mean ± standard deviation over seeds. codebook_usage: share of a level's"
    " codes that some item has; perplexity: exponential of their entropy; unique_item_coverage: distinct semantic IDs "
    "in proportion to items; collision_rate: share of the items that share theirs."
)


def codebook_table(runs):
    """Table of the runs that have codes, with a column per level if no run has more than MANY_LEVELS.

    Args:
        runs (list of FinishedRun): runs of one label are its seeds.

    Returns:
        Table or None: one row per label; None if no run has codes.
    """
    labels = {}
    for run in runs:
        if run.result.get("codebook"):
            labels.setdefault(run.label, []).append(run.result["codebook"])
    if not labels:
        return None
    if any(f"{PER_LEVEL[0]}_{MANY_LEVELS + 1}" in codebook for found in labels.values() for codebook in found):
        labels = {label: [_condensed(codebook) for codebook in found] for label, found in labels.items()}
        measures = list(next(iter(labels.values()))[0])
    else:
        measures = dict.fromkeys(name for found in labels.values() for codebook in found for name in codebook)
        measures = sorted(measures, key=_place)
    rows = [
        [
            label,
            str(len(found)),
            *(_shown([codebook[name] for codebook in found if name in codebook], name) for name in measures),
        ]
        for label, found in labels.items()
    ]
    return Table("", ["model", "seeds", *measures], rows, NOTE)


def _condensed(codebook):
    """Numbers of a codebook, with minimum and mean in place of one number per level."""
    of_levels = {
        measure: [value for name, value in codebook.items() if name.rpartition("_")[0] == measure]
        for measure in PER_LEVEL
    }
    condensed = {"levels": len(of_levels[PER_LEVEL[0]])}
    for measure, values in of_levels.items():
        condensed |= {f"{measure}, least": min(values), f"{measure}, mean": mean(values)}
    return condensed | {name: codebook[name] for name in codebook if name.rpartition("_")[0] not in PER_LEVEL}


def _place(name):
    """Sort key: usage by level, perplexity by level, then measures of the whole ID in the order of the reports."""
    measure, _, level = name.rpartition("_")
    return (PER_LEVEL.index(measure), int(level)) if measure in PER_LEVEL else (len(PER_LEVEL), 0)


def _shown(values, name):
    """Mean and standard deviation as text, empty for levels that a row does not have."""
    if not values:
        return ""
    decimals = 0 if name == "levels" else 1 if name.startswith("perplexity") else 4
    spread = f" ± {stdev(values):.{decimals}f}" if len(values) > 1 else ""
    return f"{mean(values):.{decimals}f}{spread}"

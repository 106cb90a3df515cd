"""Whether semantic IDs are healthy: numbers of each level, what prefixes mean, and what to do where they are ill.

Shapes: N items, L levels. Codes are int64 arrays, unused levels hold -1.
"""

from typing import NamedTuple

import numpy as np

from recbole_unirep.analysis.codebook import (
    codebook_usage,
    collision_rate,
    entropy,
    perplexity,
    unique_item_coverage,
)

CHANCE_SEED = 2020  # of the shuffled labels that purity is held against
REMEDIES = {  # of an illness: the setting that a remedy needs, "" for none, and the remedy
    "usage": (
        ("codebook_init", "codebook_init: kmeans"),
        ("codebook_update", "codebook_update: ema"),
        ("dead_code_steps", "dead_code_steps: 30"),
        ("fit_dead_code_steps", "fit_dead_code_steps: 30"),
        ("", "fewer codes"),
    ),
    "perplexity": (
        ("level_metrics", "level_metrics: cosine"),
        ("", "tokenizer: BalancedRQKMeans"),
        ("collisions", "collisions: sinkhorn"),
    ),
    "coverage": (
        ("n_levels", "more levels"),
        ("codebook_size", "a larger codebook_size"),
        ("collisions", "collisions: append"),
        ("collisions", "collisions: nearest_free"),
    ),
}


class Thresholds(NamedTuple):
    """What codes must reach to count as healthy.

    Attributes:
        usage (float): share of a level's codes in use.
        perplexity (float): perplexity of a level in proportion to the codes that N items could fill.
        coverage (float): distinct semantic IDs in proportion to items.
    """

    usage: float
    perplexity: float
    coverage: float


class Finding(NamedTuple):
    """One thing that is not as it should be, with advice."""

    level: int  # counted from 1; 0 for the whole ID
    message: str


def level_report(codes, codebook_sizes) -> list:
    """Numbers of each level.

    Args:
        codes (ndarray): shape: [N, L].
        codebook_sizes (sequence of int): shape: [L].

    Returns:
        list of dict: level, codebook_size, items (that have a code), usage, dead_codes, entropy (bits), perplexity.
    """
    usages, bits = codebook_usage(codes, codebook_sizes), entropy(codes, codebook_sizes)
    return [
        {
            "level": level,
            "codebook_size": size,
            "items": int((codes[:, level - 1] >= 0).sum()),
            "usage": usage,
            "dead_codes": size - round(usage * size),
            "entropy": of_level,
            "perplexity": 2**of_level,
        }
        for level, (size, usage, of_level) in enumerate(zip(codebook_sizes, usages, bits), start=1)
    ]


def prefix_purity(codes, labels) -> list:
    """How well a prefix tells an item's label, against what prefixes of that size tell by chance.

    Args:
        codes (ndarray): shape: [N, L].
        labels (sequence): a category, a brand, ..., one an item; None where it is unknown, which leaves the item out.

    Returns:
        list of dict: level, prefixes (distinct ones), purity (share of the items whose label is the most frequent under
        their prefix) and chance (the same after the labels were shuffled).
    """
    known = np.array([label is not None for label in labels])
    labels = np.unique([str(label) for label in labels if label is not None], return_inverse=True)[1]
    shuffled = np.random.default_rng(CHANCE_SEED).permutation(labels)
    report = []
    for level in range(1, codes.shape[1] + 1):
        prefixes, group = np.unique(codes[known, :level], axis=0, return_inverse=True)
        report.append(
            {
                "level": level,
                "prefixes": len(prefixes),
                "purity": _purity(group.reshape(-1), labels),
                "chance": _purity(group.reshape(-1), shuffled),
            }
        )
    return report


def findings(codes, codebook_sizes, thresholds: Thresholds, settings) -> list:
    """What falls below the thresholds.

    Args:
        codes (ndarray): shape: [N, L].
        codebook_sizes (sequence of int): shape: [L].
        thresholds (Thresholds): what they must reach.
        settings (collection of str): keys of what makes such codes, which advice may name.

    Returns:
        list of Finding: empty where the codes are healthy.
    """
    found, n_items = [], len(codes)
    usages, perplexities = codebook_usage(codes, codebook_sizes), perplexity(codes, codebook_sizes)
    for level, (size, usage, varied) in enumerate(zip(codebook_sizes, usages, perplexities), start=1):
        fillable = min(size, int((codes[:, level - 1] >= 0).sum()))  # more codes than items can't all be used
        if fillable and usage * size < thresholds.usage * fillable:
            found.append(
                Finding(
                    level,
                    f"level {level} uses {usage:.0%} of its {size} codes: try {_remedies('usage', settings)}",
                )
            )
        elif fillable and varied < thresholds.perplexity * fillable:
            found.append(
                Finding(
                    level,
                    f"level {level} has the perplexity of {varied:.1f} of {size} codes, so a few hold most items: try "
                    f"{_remedies('perplexity', settings)}",
                )
            )
    coverage = unique_item_coverage(codes)
    if coverage < thresholds.coverage:
        found.append(
            Finding(
                0,
                f"{coverage:.1%} distinct semantic IDs an item, {collision_rate(codes):.1%} of {n_items} items share "
                f"theirs: try {_remedies('coverage', settings)}",
            )
        )
    return found


def _remedies(illness, settings):
    return " or ".join(remedy for key, remedy in REMEDIES[illness] if not key or key in settings)


def _purity(group, labels):
    """Share of the items whose label is the most frequent one of their group."""
    if not len(labels):
        return float("nan")
    pairs, counts = np.unique(np.stack([group, labels]), axis=1, return_counts=True)
    largest = np.zeros(group.max() + 1, dtype=np.int64)
    np.maximum.at(largest, pairs[0], counts)
    return float(largest.sum() / len(labels))

"""Checks the health of semantic IDs: statistics per level, purity of prefixes, and advice if a threshold is missed.

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

CHANCE_SEED = 2020  # seed of the shuffled labels, whose purity is the baseline
REMEDIES = {  # problem -> (setting that the remedy needs, "" if none; remedy) pairs
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
    """Lower bounds for healthy codes.

    Attributes:
        usage (float): fraction of a level's codes in use.
        perplexity (float): perplexity of a level, divided by the number of codes that its items can fill.
        coverage (float): number of distinct semantic IDs divided by number of items.
    """

    usage: float
    perplexity: float
    coverage: float


class Finding(NamedTuple):
    """One problem, with advice."""

    level: int  # counted from 1; 0 for the whole ID
    message: str


def level_report(codes, codebook_sizes) -> list:
    """Statistics of each level.

    Args:
        codes (ndarray): shape: [N, L].
        codebook_sizes (sequence of int): shape: [L].

    Returns:
        list of dict: level, codebook_size, items (number with a code), usage, dead_codes, entropy (bits), perplexity.
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
    """Measures how well prefixes of the ID predict an item's label, compared with shuffled labels.

    Args:
        codes (ndarray): shape: [N, L].
        labels (sequence): a category, a brand, ... per item; items with None, for an unknown label, are left out.

    Returns:
        list of dict: level, prefixes (number of distinct ones), purity (fraction of items whose label is the most
        frequent one of their prefix) and chance (purity of shuffled labels).
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
    """Lists the measures that are below their thresholds, with advice.

    Args:
        codes (ndarray): shape: [N, L].
        codebook_sizes (sequence of int): shape: [L].
        thresholds (Thresholds): lower bounds.
        settings (collection of str): the tokenizer's config keys; advice names only these.

    Returns:
        list of Finding: empty if the codes are healthy.
    """
    found, n_items = [], len(codes)
    usages, perplexities = codebook_usage(codes, codebook_sizes), perplexity(codes, codebook_sizes)
    for level, (size, usage, level_perplexity) in enumerate(zip(codebook_sizes, usages, perplexities), start=1):
        fillable = min(size, int((codes[:, level - 1] >= 0).sum()))  # N items fill at most N codes
        if fillable and usage * size < thresholds.usage * fillable:
            found.append(
                Finding(
                    level,
                    f"level {level} uses {usage:.0%} of its {size} codes: try {_remedies('usage', settings)}",
                )
            )
        elif fillable and level_perplexity < thresholds.perplexity * fillable:
            found.append(
                Finding(
                    level,
                    f"level {level} has perplexity {level_perplexity:.1f} with {size} codes, so a few codes hold most "
                    f"items: try {_remedies('perplexity', settings)}",
                )
            )
    coverage = unique_item_coverage(codes)
    if coverage < thresholds.coverage:
        found.append(
            Finding(
                0,
                f"unique item coverage is {coverage:.1%}, {collision_rate(codes):.1%} of {n_items} items share their "
                f"semantic ID: try {_remedies('coverage', settings)}",
            )
        )
    return found


def _remedies(problem, settings):
    return " or ".join(remedy for key, remedy in REMEDIES[problem] if not key or key in settings)


def _purity(group, labels):
    """Fraction of items whose label is the most frequent one of their group."""
    if not len(labels):
        return float("nan")
    pairs, counts = np.unique(np.stack([group, labels]), axis=1, return_counts=True)
    largest = np.zeros(group.max() + 1, dtype=np.int64)
    np.maximum.at(largest, pairs[0], counts)
    return float(largest.sum() / len(labels))

"""Health of semantic IDs: statistics, purity and advice, by hand."""

import numpy as np
import pytest

from recbole_unirep.analysis.health import Thresholds, findings, level_report, prefix_purity

THRESHOLDS = Thresholds(usage=0.5, perplexity=0.3, coverage=0.9)
EVEN = np.stack([np.arange(64) // 8, np.arange(64) % 8], axis=1)


def test_statistics_of_a_level():
    codes = np.array([[0, 0], [0, -1], [1, 1], [1, 1]])
    first, second = level_report(codes, [2, 4])
    assert first == {
        "level": 1,
        "codebook_size": 2,
        "items": 4,
        "usage": 1.0,
        "dead_codes": 0,
        "entropy": 1.0,
        "perplexity": 2.0,
    }
    assert (second["items"], second["dead_codes"], second["usage"]) == (3, 2, 0.5)


def test_a_prefix_that_determines_the_label_is_pure_and_shuffled_labels_are_not():
    labels = [f"kind {code}" for code in EVEN[:, 0]]
    first, second = prefix_purity(EVEN, labels)
    assert (first["prefixes"], first["purity"]) == (8, 1.0)
    assert first["chance"] < 0.5
    assert second["purity"] == second["chance"] == 1.0  # one prefix per item


def test_purity_leaves_out_items_with_unknown_label():
    codes = np.array([[0], [0], [0], [1], [1], [1]])
    (report,) = prefix_purity(codes, ["a", "a", "b", "b", None, None])
    assert report["purity"] == 3 / 4


def test_healthy_codes_have_no_findings():
    assert findings(EVEN, [8, 8], THRESHOLDS, ()) == []


def test_more_codes_than_items_are_not_a_problem():
    assert findings(np.arange(10)[:, None], [1000], THRESHOLDS, ()) == []


@pytest.mark.parametrize(
    ("codes", "sizes", "level", "message"),
    [
        (EVEN, [64, 8], 1, "level 1 uses 12% of its 64 codes: try codebook_init: kmeans"),
        (
            np.array([[0, i] for i in range(60)] + [[i, 60] for i in range(1, 8)]),
            [8, 61],
            1,
            "level 1 has perplexity",
        ),
        (
            np.repeat(EVEN, 2, axis=0),
            [8, 8],
            0,
            "unique item coverage is 50.0%, 100.0% of 128 items share their semantic ID",
        ),
    ],
)
def test_a_problem_is_reported_with_its_remedy(codes, sizes, level, message):
    (finding,) = findings(codes, sizes, THRESHOLDS, {"codebook_init"})
    assert finding.level == level
    assert finding.message.startswith(message)


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"codebook_size"}, "try fewer codes"),
        ({"codebook_update", "dead_code_steps"}, "try codebook_update: ema or dead_code_steps: 30 or fewer codes"),
        ({"fit_dead_code_steps"}, "try fit_dead_code_steps: 30 or fewer codes"),
    ],
)
def test_advice_names_only_available_settings(settings, advice):
    (finding,) = findings(EVEN, [64, 8], THRESHOLDS, settings)
    assert finding.message.endswith(advice)

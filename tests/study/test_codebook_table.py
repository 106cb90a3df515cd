"""The table of codebooks: means over seeds, by hand."""

from pathlib import Path

from recbole_unirep.study.codebook_table import codebook_table
from recbole_unirep.study.comparison import FinishedRun


def runs_of(**codebooks):
    return [
        FinishedRun(label, Path(label), {"codebook": codebook})
        for label, found in codebooks.items()
        for codebook in found
    ]


def test_means_and_deviations_by_hand():
    table = codebook_table(
        runs_of(
            hybrid=[
                {"codebook_usage_1": 1.0, "perplexity_1": 200.0, "unique_item_coverage": 0.5},
                {"codebook_usage_1": 0.5, "perplexity_1": 100.0, "unique_item_coverage": 0.7},
            ],
            cosine=[{"codebook_usage_1": 0.25, "codebook_usage_2": 0.125, "perplexity_1": 7.0}],
            SASRec=[{}],
        )
    )
    # Usage of every level, then perplexity, then the whole ID. Of two values the standard deviation is their difference
    # over the root of 2.
    assert table.headers[2:] == ["codebook_usage_1", "codebook_usage_2", "perplexity_1", "unique_item_coverage"]
    assert table.rows == [
        ["hybrid", "2", "0.7500 ± 0.3536", "", "150.0 ± 70.7", "0.6000 ± 0.1414"],
        ["cosine", "1", "0.2500", "0.1250", "7.0", ""],
    ]


def test_many_levels_become_their_least_and_mean():
    long = {f"codebook_usage_{level}": level / 5 for level in range(1, 6)}
    long |= {f"perplexity_{level}": 10.0 * level for level in range(1, 6)}
    short = {"codebook_usage_1": 0.5, "perplexity_1": 2.0, "unique_item_coverage": 0.1, "collision_rate": 0.9}
    table = codebook_table(runs_of(long=[{**long, "unique_item_coverage": 1.0, "collision_rate": 0.0}], short=[short]))
    assert table.headers[2:] == [
        "levels",
        "codebook_usage, least",
        "codebook_usage, mean",
        "perplexity, least",
        "perplexity, mean",
        "unique_item_coverage",
        "collision_rate",
    ]
    assert table.rows == [
        ["long", "1", "5", "0.2000", "0.6000", "10.0", "30.0", "1.0000", "0.0000"],
        ["short", "1", "1", "0.5000", "0.5000", "2.0", "2.0", "0.1000", "0.9000"],
    ]


def test_without_codes_there_is_no_table():
    assert codebook_table(runs_of(SASRec=[{}, None])) is None

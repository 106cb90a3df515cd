"""Every committed study still describes its finished cells."""

from pathlib import Path

import pytest

from recbole_unirep import cli

RESULTS = Path(__file__).resolve().parents[2] / "results"
DATA = RESULTS.parent.parent / "shared" / "datasets"
NEED_DATA = (
    "eight",
    "eight_shuffled",
    "cold",
)  # their datasets have no settings of ours, so a command reads the files' columns
STUDIES = sorted(file.relative_to(RESULTS.parent) for file in (RESULTS / "studies").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_a_study_is_continued_and_not_begun_anew(file, monkeypatch, capsys):
    if file.stem in NEED_DATA and not DATA.is_dir():
        pytest.skip("../shared/datasets, with the study's datasets, is missing")
    monkeypatch.chdir(RESULTS.parent)
    monkeypatch.setattr("sys.argv", ["unirep", "study", str(file), "--data_path=../shared/datasets", "--dry-run"])
    code, found = cli.unirep(), capsys.readouterr()
    assert (code, found.err) == (0, "")
    n_finished = len(list((RESULTS / "studies" / file.stem).glob("*/*/seed-*/result.json")))
    assert f"{n_finished} of " in found.out

"""A study packs the ranks of its cells without changing its report."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from recbole_unirep import read_ranks
from recbole_unirep.commands.compare import compare
from recbole_unirep.commands.study import study
from recbole_unirep.quick_start import run_recbole

CHECKOUT = Path(__file__).resolve().parents[2]
SMALL = {"hidden_size": 16, "inner_size": 8, "n_layers": 1, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 1}


@pytest.mark.slow
def test_a_study_packs_its_ranks_and_reports_the_same(tiny):
    file = "study.yaml"
    asked = {
        "dataset": "tiny",
        "seeds": [1, 2],
        "settings": {**SMALL, "data_path": str(tiny.parent), "protocol": ["uni99", "full"]},
        "rows": {"SASRec": {"model": "SASRec"}, "Pop": {"model": "Pop", "seeds": [1]}},
        "ours": ["SASRec"],
        "tables": {"Overall": {"protocol": ["full"], "metrics": ["hit@10", "mrr"]}},
    }
    Path(file).write_text(yaml.safe_dump(asked))
    study([file])
    cell, gains = Path("study/tiny/SASRec/seed-1"), Path("study/tables/overall-tiny/gains.csv")
    assert len(list(Path("study/tiny").glob("users-*.npz"))) == 1
    with np.load(cell / "ranks.npz") as arrays:
        assert sorted(arrays.files) == ["full", "users_sha256"] and arrays["full"].dtype == np.uint16
    report = {path: path.read_bytes() for path in Path("study").rglob("*") if path.suffix in (".md", ".html", ".csv")}
    assert len(report) == 5
    study([file, "--report-only"])
    assert report == {path: path.read_bytes() for path in report}

    with open(gains, newline="") as lines:
        (shown,) = [line for line in csv.DictReader(lines) if line["metric"] == "mrr"]
    cells = [str(cell), "study/tiny/SASRec/seed-2", "study/tiny/Pop/seed-1"]
    (found,) = compare([*cells, "--ours=SASRec", "--protocol=full", "--metrics=mrr"])[0].gains
    assert [float(shown[key]) for key in ("low", "high")] == pytest.approx(found.differences["mrr"][1:3], rel=1e-12)

    result = (cell / "result.json").read_bytes()
    run_recbole(arguments=[f"--resume={cell}"])  # ranks anew, with users and every protocol of the run
    (cell / "result.json").write_bytes(result)  # its seconds differ now
    assert sorted(read_ranks(cell).ranks) == ["full", "uni99"]
    study([file, "--report-only"])
    assert report == {path: path.read_bytes() for path in report} and sorted(read_ranks(cell).ranks) == ["full"]

    asked["tables"]["Overall"]["protocol"] = ["uni99", "full"]
    Path(file).write_text(yaml.safe_dump(asked))
    study([file, "--report-only"])
    with open(gains, newline="") as lines:
        assert {line["protocol"]: line["low"] != "" for line in csv.DictReader(lines)} == {"uni99": False, "full": True}


def test_committed_ranks_are_packed():
    """`unirep study STUDY.yaml --report-only` packs them."""
    files = sorted((CHECKOUT / "results").rglob("ranks.npz"))
    assert files
    for file in files:
        with np.load(file) as arrays:
            assert "users" not in arrays.files, file
        users, ranks = read_ranks(file.parent)
        assert {len(part) for part in ranks.values()} == {len(users)}, file

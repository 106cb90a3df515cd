"""unirep study: runs, continues and reports a grid described in YAML."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from recbole_unirep import cli
from recbole_unirep.commands.study import study
from recbole_unirep.study.cells import parse_seeds
from recbole_unirep.study.figure_specs import id_dimension
from recbole_unirep.study.study_file import read_study

pytestmark = pytest.mark.slow  # a study trains its cells in processes

CHECKOUT = Path(__file__).resolve().parents[2]
SMALL = {"hidden_size": 16, "inner_size": 8, "n_layers": 1, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 1}
OF_UNIREP = {"text_encoder": "lexical", "lexical_dim": 16, "codebook_size": 8, "code_dim": 8, "encoder_sizes": [12]}
OF_UNIREP["n_levels"] = 3
OF_UNIREP["fusion"] = "project"  # to a hidden size that is given


@pytest.fixture
def asked(tiny):
    """`asked(rows=.., ...)` writes study.yaml and returns the arguments for it."""

    def write(**changes):
        keys = {
            "title": "A small study",
            "dataset": "tiny",
            "seeds": [1, 2],
            "settings": {**SMALL, "data_path": str(tiny.parent), "protocol": ["uni99", "full"]},
            "rows": {"SASRec CE": {"model": "SASRec", "loss_type": "CE"}, "Pop": {"model": "Pop", "seeds": [1]}},
            "tables": {"Overall": {"protocol": ["full"], "metrics": ["hit@10", "mrr"]}},
            **changes,
        }
        Path("study.yaml").write_text(
            yaml.safe_dump({key: value for key, value in keys.items() if value is not None}, sort_keys=False)
        )
        return "study.yaml"

    return write


def test_a_study_from_dry_run_to_report(asked, capsys):
    rows = {
        "Codes": {"model": "UniRep", "representation": "semantic", **OF_UNIREP},
        "ID 2": {"model": "UniRep", "id_embedding_size": 2, **OF_UNIREP},
        "ID 4": {"model": "UniRep", "id_embedding_size": 4, **OF_UNIREP},
        "Pop": {"model": "Pop", "seeds": [1]},
    }
    published = {"tiny": {"UniRep": {"hit@10": 0.5318, "mrr": 0.3025}}}
    file = asked(
        rows=rows,
        seeds=1,
        text="What this study is for.",
        tables={
            "Overall": {
                "protocol": "full",
                "metrics": ["hit@10", "mrr"],
                "published": published,
                "published_source": "Lin et al., Table 4",
            },
            "Codebooks": {
                "kind": "codebooks",
                "rows": ["ID 4"],
                "published": {"tiny": {"hybrid": {"unique_item_coverage": 0.8327}}},
                "published_source": "Table 2",
            },
        },
        figures={
            "Quality by ID dimension": {
                "kind": "quality_by_id_dimension",
                "rows": ["Codes", "ID 2", "ID 4"],
                "metrics": ["mrr"],
            },
            "Usage": {"kind": "codebook_usage", "row": "ID 4"},
            "Curves": {"kind": "learning_curves"},
        },
    )
    assert study([file, "--dry-run"]) is None
    out = capsys.readouterr().out
    assert "0 of 4 cells are finished, 4 are left: 4 cells of unknown time" in out
    study([file, "--dry-run", "--rows=Pop,ID 4"])
    out = capsys.readouterr().out
    assert "0 of 2 cells are finished" in out and "ID 2" not in out
    with pytest.raises(ValueError, match="--rows names ID 5: the study's rows are Codes, ID 2, ID 4, Pop"):
        study([file, "--rows=ID 5"])
    with pytest.raises(ValueError, match="--rows names seed 7 of Pop: its seeds are 1$"):
        study([file, "--rows=Pop/7"])
    with pytest.raises(ValueError, match="--datasets names other: the study's datasets are tiny$"):
        study([file, "--datasets=other"])
    study([file, "--dry-run", "--rows=Pop", "--datasets=tiny"])
    assert "0 of 1 cells are finished" in capsys.readouterr().out
    assert not Path("study").exists()

    study([file, "--report-only"])
    page = Path("study/report.md").read_text()
    empty = ("Codes on tiny, seed 2020", "ID 2 on tiny, seed 2020", "ID 4 on tiny, seed 2020", "Pop on tiny, seed 1")
    assert f"Empty, not run yet: {'; '.join(empty)}." in page
    assert "Not drawn: no row is run." in page
    assert "Not drawn: 3 of its 3 cells are empty." in page and "Not drawn: ID 4 on tiny, seed 2020 is empty." in page

    study([file])
    page = Path("study/report.md").read_text()
    result = json.loads(Path("study/tiny/ID_4/seed-2020/result.json").read_text())
    assert f"{result['test_result']['full']['hit@10']:.4f}" in page
    assert f"{result['codebook']['unique_item_coverage']:.4f}" in page
    for text in (
        "What this study is for.",
        "0.5318",
        "0.8327",
        "codebook\\_usage\\_3",
        "Lin et al., Table 4",
        "ID 2 over Pop, %",
        "--id\\_embedding",
    ):
        assert text in page or text.replace("\\", "") in page, text
    assert "4 of 4 cells are finished" in page and "Empty" not in page
    assert len(list(Path("study/figures").glob("*.png"))) == 3
    assert "the first seed of each row; the dot is" in page
    dimensions = {cell.row: id_dimension(cell) for cell in read_study(file, Path("study"), {}).cells}
    assert dimensions == {"Codes": 0, "ID 2": 2, "ID 4": 4, "Pop": None}
    assert Path("study/report.html").read_text().count("data:image/png;base64") == 3
    assert Path("study/tables/overall-tiny/comparison.tex").is_file()

    stamps = {path: path.stat().st_mtime_ns for path in Path("study/tiny").rglob("*") if path.is_file()}
    for checkpoint in Path("study").rglob("*.pt"):
        checkpoint.unlink()  # as on another machine that has only the small files
    study([file, "--report-only"])
    assert Path("study/report.md").read_text() == page
    kept = {path: at for path, at in stamps.items() if path.suffix != ".pt"}
    assert kept == {path: path.stat().st_mtime_ns for path in kept}

    shutil.rmtree("study/tiny")  # a table of removed cells goes, too
    study([file, "--report-only"])
    assert not Path("study/tables/overall-tiny").exists()


def start(*arguments, as_a_job=False):
    """Starts a study, as in a terminal or as a background job of a script, which ignores Ctrl-C."""
    handler = "SIG_IGN" if as_a_job else "default_int_handler"
    code = f"import signal; signal.signal(signal.SIGINT, signal.{handler}); import sys; "
    code += "from recbole_unirep.cli import unirep; sys.exit(unirep())"
    return subprocess.Popen(
        [sys.executable, "-c", code, "study", *arguments],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_study_continues_where_it_stopped(asked, tiny, kind):
    """Ctrl-C reaches the study and its run; if only the study is killed, its run also ends and unlocks its folder."""
    settings = {**SMALL, "data_path": str(tiny.parent), "protocol": ["full"], "epochs": 60, "stopping_step": 60}
    file = asked(rows={"SASRec": {"model": "SASRec"}}, seeds=[1], settings=settings)
    process = start(file, as_a_job=kind == signal.SIGKILL)
    curve = Path("study/tiny/SASRec/seed-1/metrics.jsonl")
    until = time.monotonic() + 120
    while not curve.is_file() or len(curve.read_text().splitlines()) < 3:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    if kind == signal.SIGINT:
        os.killpg(process.pid, kind)
        assert process.wait(60) == 130
        assert "the same command continues" in process.stdout.read()
    else:
        process.kill()
        process.wait()
        while "stopped" not in (curve.parent / "log.txt").read_text():
            assert time.monotonic() < until
            time.sleep(0.05)
    process.stdout.close()
    trained = len(curve.read_text().splitlines())
    assert 3 <= trained < 60 and not (curve.parent / "result.json").exists()
    study([file])
    epochs = [json.loads(line)["epoch"] for line in curve.read_text().splitlines()]
    assert epochs == list(range(60)) and (curve.parent / "result.json").is_file()


def test_a_bad_study_file_is_a_one_line_error_and_runs_nothing(asked, capsys, monkeypatch):
    sasrec = {"SASRec": {"model": "SASRec"}}
    for changes, message in (
        ({"rows": None}, "study study.yaml: it has no rows"),
        ({"title": None, "titel": "x"}, "it has a key titel: known are title"),
        ({"rows": {"A": {"model": "SASRecc"}}}, "SASRecc"),
        ({"rows": {"A": {"learning_rate": 1}}}, "row A is {'learning_rate': 1}: write at least model: NAME"),
        ({"rows": {"A": {"model": "SASRec", "learning_rat": 1}}}, "learning_rat"),
        ({"rows": {"A/B": {"model": "SASRec"}}}, "row 'A/B' can't name a folder"),
        ({"rows": {"A, B": {"model": "SASRec"}}}, "row 'A, B' can't name a folder"),
        ({"rows": {"A": {"model": "SASRec", "seed": 1}}}, "row A sets seed"),
        ({"rows": sasrec, "datasets": ["tiny"]}, "give dataset or datasets"),
        ({"seeds": "many"}, "seeds: seeds=many is not understood"),
        ({"ours": ["UniRep"]}, "ours names UniRep: known are SASRec CE, Pop"),
        ({"tables": {"T": {"rows": ["X"]}}}, "rows of table T names X"),
        ({"tables": {"T": {"row": ["X"]}}}, "table T has a key row"),
        ({"tables": {"T": {"protocol": "uni98"}}}, "protocol of table T names uni98"),
        ({"tables": {"T": {"protocol": "full cold"}}}, "table T shows full cold of SASRec CE: give that row split"),
        ({"tables": {"T": {"baseline": "X"}}}, "baseline of table T names X: known are SASRec CE, Pop"),
        ({"tables": {"T": {"kind": "bars"}}}, "table T has kind bars: choose one of quality, codebooks"),
        (
            {"tables": {"T": {"kind": "codebooks", "metrics": ["mrr"]}}},
            "table T of kind codebooks has no metrics: leave the key out",
        ),
        ({"figures": {"F": {"kind": "pie"}}}, "figure F is {'kind': 'pie'}: give kind, one of"),
        ({"figures": {"F": {"kind": "quality_by_id_dimension"}}}, "row SASRec CE sets no id_embedding_size"),
        (
            {"figures": {"F": {"kind": "learning_curves", "row": "Pop"}}},
            "figure F has a key row: known are kind",
        ),
        ({"figures": {"F": {"kind": "codebook_usage", "row": "Pop", "seed": 2}}}, "has seeds [1], not 2"),
    ):
        file = asked(**changes)
        monkeypatch.setattr("sys.argv", ["unirep", "study", file])
        assert cli.unirep() == 2, message
        said = capsys.readouterr().err
        assert message in said and len(said.splitlines()) == 1, said
    for arguments, message in (
        ([], "unirep study STUDY.yaml"),
        (["nowhere.yaml"], "study nowhere.yaml does not exist"),
    ):
        monkeypatch.setattr("sys.argv", ["unirep", "study", *arguments])
        assert cli.unirep() == 2
        assert message in capsys.readouterr().err
    assert not Path("study").exists() and not Path("runs").exists()


def test_a_changed_row_does_not_reuse_the_old_run(asked):
    study([asked(rows={"Pop": {"model": "Pop"}}, seeds=[1])])
    with pytest.raises(ValueError, match="holds Pop on tiny, seed 1 with model=Pop, this command sets model=ItemKNN"):
        study([asked(rows={"Pop": {"model": "ItemKNN"}}, seeds=[1])])


def test_seeds_and_rows_of_a_study(asked):
    file = asked(seeds=3, rows={"A b": {"model": "SASRec"}, "P": {"model": "Pop", "seeds": [7]}})
    found = read_study(file, Path("out"), {"epochs": "2"})
    assert [(cell.row, cell.seed, cell.keys["epochs"]) for cell in found.cells] == [
        ("A b", 2020, "2"),
        ("P", 7, "2"),  # every row's first seed before any second one
        ("A b", 2021, "2"),
        ("A b", 2022, "2"),
    ]
    assert found.cells[0].folder == Path("out/tiny/A_b/seed-2020")
    assert found.ours == []


def test_parse_seeds():
    assert parse_seeds("3") == parse_seeds(3) == parse_seeds([2020, 2021, 2022]) == [2020, 2021, 2022]
    assert parse_seeds("7,9") == parse_seeds([7, 9]) == [7, 9]
    assert parse_seeds([5]) == [5]


@pytest.mark.parametrize("file", sorted((CHECKOUT / "results" / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_committed_study_files_are_valid(file):
    found = read_study(file, Path("out"), {})
    assert found.cells
    folders = [cell.folder for cell in found.cells]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("model", ["TIGER", "RPG"])
def test_the_best_preset_of_a_generative_model_is_its_row_on_beauty(model):
    rows = yaml.safe_load((CHECKOUT / "results" / "studies" / "beauty.yaml").read_text())["rows"]
    row = {key: value for key, value in rows[model].items() if key not in ("model", "seeds")}
    assert yaml.safe_load((CHECKOUT / "properties" / "preset" / f"{model}.best.yaml").read_text()) == row


def test_warm_and_cold_targets_have_separate_tables(asked, tiny):
    """Each slice shows the run's metrics; p is n/a because stored ranks do not tell warm from cold targets."""
    settings = {**SMALL, "data_path": str(tiny.parent), "split": "cold_items", "cold_item_share": 0.2}
    file = asked(
        seeds=1,
        settings=settings,
        rows={"SASRec CE": {"model": "SASRec", "loss_type": "CE"}, "BCE": {"model": "SASRec", "loss_type": "BCE"}},
        ours=["SASRec CE"],
        tables={"Cold": {"protocol": ["uni99 cold", "full warm"], "metrics": ["hit@10"], "baseline": "BCE"}},
    )
    study([file])
    result = Path("study/tiny/BCE/seed-2020/result.json")
    found = json.loads(result.read_text())["test_result"]
    lines = Path("study/tables/cold-tiny/comparison.csv").read_text().splitlines()
    for protocol in ("uni99 cold", "full warm"):
        (row,) = [line for line in lines if line.startswith("BCE,") and f",{protocol}," in line]
        assert float(row.split(f",{protocol},")[1].split(",")[0]) == pytest.approx(found[protocol]["hit@10"], abs=1e-6)
    page = Path("study/tables/cold-tiny/comparison.md").read_text()
    assert "SASRec CE over BCE, %" in page
    assert "[" not in page  # no interval


def test_a_single_seed_of_a_row_can_be_run(asked, capsys):
    file = asked()
    study([file, "--dry-run", "--rows=SASRec CE/2,Pop"])
    listed = [line.split()[:-2] for line in capsys.readouterr().out.splitlines() if " tiny " in line]
    assert listed == [["Pop", "tiny", "1"], ["SASRec", "CE", "tiny", "2"]]

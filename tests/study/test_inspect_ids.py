"""`unirep inspect`: numbers by hand, files, advice and exit codes."""

import csv
import json
import re

import numpy as np
import pytest

from recbole_unirep import cli, run_recbole
from recbole_unirep.analysis.health import Thresholds
from recbole_unirep.semantic_ids.ids import SemanticIds
from recbole_unirep.study.inspect_ids import look, write
from recbole_unirep.study.inspection import Inspected, neighbours, read_inspected

LOW = Thresholds(usage=0.0, perplexity=0.0, coverage=0.0)
CODES = np.array([[0, 0], [0, 1], [0, 1], [1, 2], [1, -1]])
INSPECTED = Inspected(
    "five items",
    ["a", "b", "c", "d", "e"],
    CODES,
    [2, 3],
    ["rose soap", "rose oil", "<b>mint</b> soap", "lip balm", "lip gloss"],
    {"category": ["bath", "skin", "bath", "lip", "lip"], "brand": ["Ann", "Ann", None, "Bo", "Bo"]},
    {"text": np.array([[1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0], [0.0, 0.9]])},
    [0.5, 0.25],
    frozenset({"n_levels", "collisions"}),
)


@pytest.fixture
def shell(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["unirep", *map(str, arguments)])
        code = cli.unirep()
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def bundle(shell, tiny, tmp_path):
    folder = tmp_path / "ids"
    data = ("--dataset=tiny", f"--data_path={tiny.parent}", "--text_encoder=lexical", "--lexical_dim=8")
    assert shell("tokenize", *data, "--codebook_size=8", f"--out={folder}")[0] == 0
    return folder


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_by_hand():
    found = look(INSPECTED, LOW)
    assert [row["usage"] for row in found.levels] == [1.0, 1.0]
    assert [row["distortion"] for row in found.levels] == [0.5, 0.25]
    assert (found.coverage, found.collision_rate) == (4 / 5, 2 / 5)
    assert found.collisions == [[1, 2]]
    assert [row["purity"] for row in found.purity["category"]] == [4 / 5, 4 / 5]
    assert [row["purity"] for row in found.purity["brand"]] == [1.0, 1.0]
    assert found.findings == []


def test_neighbours_by_text_and_by_code():
    found = neighbours(INSPECTED, "b", count=2)
    assert [token for token, _, _ in found["text"]] == ["a", "c"]
    assert [(token, near) for token, _, near in found["code"]] == [
        ("c", "2 of 2 leading codes"),
        ("a", "1 of 2 leading codes"),
    ]
    with pytest.raises(ValueError, match="item=z is not among the 5 items"):
        neighbours(INSPECTED, "z", count=2)


def test_files_contain_the_same_numbers(tmp_path):
    write(INSPECTED, look(INSPECTED, LOW, item="b"), tmp_path)
    record = json.loads((tmp_path / "inspection.json").read_text(encoding="utf-8"))
    assert (record["items"], record["collision_groups"]) == (5, 1)
    assert [float(row["perplexity"]) for row in rows_of(tmp_path / "levels.csv")] == [
        row["perplexity"] for row in record["levels"]
    ]
    assert [(row["item"], row["semantic_id"]) for row in rows_of(tmp_path / "collisions.csv")] == [
        ("b", "0-1"),
        ("c", "0-1"),
    ]
    assert len(rows_of(tmp_path / "purity.csv")) == 4


def test_the_page_needs_no_network_and_shows_titles_as_text(tmp_path):
    write(INSPECTED, look(INSPECTED, LOW, item="b"), tmp_path)
    page = (tmp_path / "inspection.html").read_text(encoding="utf-8")
    assert not re.search(r"<script[^>]+src=|<link[^>]+href=|<img[^>]+src=\"http", page)
    assert page.count("window.PlotlyConfig") == 1  # the library is included once
    assert page.count('class="plotly-graph-div"') == 3
    assert "<b>mint</b>" not in page
    assert "rose oil" in page and "By code" in page and "All levels are above their thresholds." in page


def test_a_bundle_is_inspected_with_its_dataset_and_without(shell, bundle, tiny, tmp_path):
    code, shown, error = shell(
        "inspect", bundle, f"--data_path={tiny.parent}", "--item=i3", f"--out={tmp_path}/look", "--min_coverage=0"
    )
    assert (code, error) == (0, "")
    assert "purity of category by ID prefix" in shown and "neighbours by text" in shown and "healthy" in shown
    levels = rows_of(tmp_path / "look" / "levels.csv")
    assert float(levels[2]["distortion"]) < float(levels[0]["distortion"]) < 1

    code, shown, error = shell("inspect", bundle, "--min_coverage=0")
    assert (code, error) == (0, "")
    assert "category" not in shown
    assert (bundle / "inspection" / "inspection.html").is_file()


def test_a_level_that_numbers_items_has_no_distortion(shell, tiny, tmp_path):
    data = ("--dataset=tiny", f"--data_path={tiny.parent}", "--text_encoder=lexical", "--lexical_dim=8")
    shell("tokenize", *data, "--codebook_size=8", "--collisions=append", f"--out={tmp_path}/numbered")
    code, out, error = shell("inspect", f"{tmp_path}/numbered", f"--data_path={tiny.parent}")
    assert code in (0, 1), error
    last, before = (line.split() for line in (re.search(rf"^ +{level} .*$", out, re.M)[0] for level in (4, 3)))
    assert len(last) == len(before) - 1 and float(before[-1]) < 1


def test_a_bundle_of_settings_that_do_not_fit_is_named(shell, tmp_path):
    ids = SemanticIds(["a"], np.array([[0]]), [8])
    ids.save(tmp_path / "raw", {"tokenizer": "RandomIDs", "settings": {"n_levels": 1}}, {})
    code, _, error = shell("inspect", tmp_path / "raw")
    assert code == 2 and "raw has settings that RandomIDs does not accept" in error


def test_an_unhealthy_bundle_gives_exit_code_one(shell, bundle):
    code, shown, error = shell("inspect", bundle, "--min_coverage=1")
    assert (code, error) == (1, "")
    assert "not healthy: " in shown
    assert "try more levels or a larger codebook_size or collisions: append or collisions: nearest_free" in shown


@pytest.mark.parametrize(
    ("keys", "has_distortion", "may_advise"),
    [
        ({}, True, set()),
        ({"train_on_codes": True}, True, {"dead_code_steps", "codebook_update"}),
        ({"tokenizer": "RQKMeans"}, False, {"collisions"}),
        ({"tokenizer": "RandomIDs"}, False, {"collisions"}),
    ],
)
def test_a_run_is_inspected(shell, tiny, tmp_path, keys, has_distortion, may_advise):
    settings = {
        "codebook_size": 8,
        "text_encoder": "lexical",
        "lexical_dim": 8,
        "epochs": 1,
        "run_dir": str(tmp_path / "run"),
    }
    run_recbole("UniRep", "tiny", config_dict={"data_path": str(tiny.parent), **settings, **keys})
    code, shown, error = shell(
        "inspect", tmp_path / "run", "--item=i3", "--min_coverage=0", "--min_usage=0", "--min_perplexity=0"
    )
    assert (code, error) == (0, "")
    assert "neighbours by ID" in shown
    assert ("distortion" in shown) == has_distortion
    settings = read_inspected(tmp_path / "run").settings
    assert settings & {"collisions", "dead_code_steps", "codebook_update"} == may_advise


def test_an_rqvae_that_tiger_reads_was_fitted_alone(tiny, tmp_path):
    settings = {"tokenizer": "RQVAE", "codebook_size": 8, "fit_epochs": 1, "text_encoder": "lexical", "lexical_dim": 8}
    model = {"n_layers": 1, "hidden_size": 8, "n_heads": 1, "head_size": 8, "inner_size": 8, "epochs": 1}
    paths = {"data_path": str(tiny.parent), "run_dir": str(tmp_path / "run")}
    run_recbole("TIGER", "tiny", config_dict={**settings, **model, **paths})
    found = read_inspected(tmp_path / "run").settings
    assert {"fit_dead_code_steps", "collisions"} <= found and "dead_code_steps" not in found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "inspect needs BUNDLE|RUN, the folder of a bundle or of a finished run"),
        (["nothing"], "nothing holds no run: no config.yaml in it"),
        (["nothing", "--colour=red"], "inspect has no option --colour: known are --data_path, --item"),
        (["nothing", "--min_usage=2"], "min_usage=2 is not a number from 0 to 1"),
        (["nothing", "--min_usage=much"], "min_usage=much is not a number from 0 to 1"),
    ],
)
def test_bad_input_is_one_line(shell, arguments, message):
    code, _, error = shell("inspect", *arguments)
    assert code == 2 and message in error and error.count("\n") == 1


def test_a_run_without_codes_says_so(shell, tiny, tmp_path):
    run_recbole(
        "SASRec", "tiny", config_dict={"data_path": str(tiny.parent), "epochs": 1, "run_dir": str(tmp_path / "run")}
    )
    code, _, error = shell("inspect", tmp_path / "run")
    assert code == 2 and "SASRec has no codes: inspect a run of UniRep, TIGER or RPG, or a bundle" in error


def test_titles_of_several_tokens_are_one_text(tiny, tmp_path):
    """Titles as in ml-100k's column movie_title:token_seq."""
    file = tiny / "tiny.item"
    file.write_text(file.read_text(encoding="utf-8").replace("title:token", "title:token_seq"), encoding="utf-8")
    settings = {"data_path": str(tiny.parent), "text_encoder": "lexical", "lexical_dim": 8, "codebook_size": 8}
    small = {"code_dim": 8, "encoder_sizes": [8], "epochs": 1, "use_gpu": False, "show_progress": False}
    run_recbole("UniRep", "tiny", config_dict={**settings, **small, "run_dir": str(tmp_path / "run")})
    inspected = read_inspected(tmp_path / "run")
    assert all(isinstance(title, str) for title in inspected.titles)
    assert re.fullmatch(r"\w+ number \d", inspected.titles[0])

"""unirep compare: which runs can share a table, best values, and significance."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from recbole_unirep import cli
from recbole_unirep.commands.compare import compare
from recbole_unirep.quick_start import run_recbole
from recbole_unirep.study import cells as cells_module
from recbole_unirep.study.cells import Cell, run_cell
from recbole_unirep.study.comparison import compare_runs, read_run

SMALL = ["--hidden_size=16", "--inner_size=8", "--MAX_ITEM_LIST_LENGTH=5", "--n_layers=1", "--text_encoder=lexical"]
SMALL += ["--lexical_dim=16", "--codebook_size=8", "--code_dim=8", "--encoder_sizes=[12]", "--id_embedding_size=8"]


def drawn(best, seed=0, n=400):
    """Ranks between 1 and `best`."""
    return np.random.default_rng(seed).integers(1, best + 1, size=n)


def read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines_of(text, label):
    return [line for line in text.splitlines() if re.search(rf"\b{re.escape(label)}\b", line)]


@pytest.mark.slow
def test_runs_are_trained_once_and_compared(tiny, capsys):
    asked = ["--dataset=tiny", f"--data_path={tiny.parent}", "--models=UniRep,SASRec", "--seeds=5,6", "--epochs=1"]
    asked += ["--UniRep.learning_rate=0.01", "--protocol=uni99,full", "--metrics=hit@10,mrr", "--out=out", *SMALL]
    comparisons = compare(asked)
    assert [comparison.protocol for comparison in comparisons] == ["uni99", "full"]
    for model, rate in (("UniRep", 0.01), ("SASRec", 0.001)):
        for seed in (5, 6):
            folder = Path("out") / model / f"seed-{seed}"
            config = yaml.safe_load((folder / "config.yaml").read_text())
            assert (config["model"], config["seed"], config["learning_rate"]) == (model, seed, rate)
    results = [json.loads((Path("out") / "SASRec" / f"seed-{seed}" / "result.json").read_text()) for seed in (5, 6)]
    row = next(row for row in comparisons[0].rows if row.label == "SASRec")
    assert row.means["hit@10"] == pytest.approx(np.mean([r["test_result"]["uni99"]["hit@10"] for r in results]))
    assert row.deviations["mrr"] == pytest.approx(np.std([r["test_result"]["uni99"]["mrr"] for r in results], ddof=1))
    assert results[0]["candidates_hash"] == results[1]["candidates_hash"]  # for any seed
    run = run_recbole("SASRec", "tiny", arguments=[f"--data_path={tiny.parent}", "--seed=5", "--epochs=1", *SMALL])
    assert run["test_result"]["full"] == results[0]["test_result"]["full"]

    written = read_csv("out/comparison.csv")
    assert [(line["protocol"], line["label"]) for line in written][:2] == [("uni99", "UniRep"), ("uni99", "SASRec")]
    gains = read_csv("out/gains.csv")
    assert {(line["ours"], line["baseline"], line["p_value_holm"]) for line in gains} == {("UniRep", "SASRec", "")}
    assert "hit@10" in Path("out/comparison.md").read_text() and "toprule" in Path("out/comparison.tex").read_text()
    capsys.readouterr()
    stamps = {path: path.stat().st_mtime_ns for path in Path("out").glob("*/*/result.json")}
    compare(asked)
    assert stamps == {path: path.stat().st_mtime_ns for path in Path("out").glob("*/*/result.json")}
    assert "UniRep over SASRec, p" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"out/UniRep/seed-5 holds .* learning_rate=0.01, this command sets .*=0.02"):
        compare([part.replace("=0.01", "=0.02") for part in asked])


def test_best_second_gain_and_p_value(made_run, capsys):
    for seed in (1, 2, 3):
        made_run("UniRep", seed, drawn(20, seed))
        made_run("SASRec", seed, drawn(60, 10 + seed), valid_score=0.2)
        made_run("GRU4Rec", seed, drawn(40, 20 + seed), valid_score=0.1)
    folders = [str(folder) for folder in sorted(Path("made").iterdir())]
    comparisons = compare([*folders, "--metrics=hit@10,ndcg@10", "--out=table"])
    out = capsys.readouterr().out
    values = {row.label: row.means["hit@10"] for row in comparisons[0].rows}
    assert values["UniRep"] > values["GRU4Rec"] > values["SASRec"]
    assert f"{values['UniRep']:.4f}" in out and re.search(r"UniRep +3 +[\d.]+ ± [\d.]+ \*", out)
    assert re.search(r"GRU4Rec +3 +[\d.]+ ± [\d.]+ _", out)
    gain = comparisons[0].gains[0]
    assert gain.baseline == "SASRec", "validation chooses the baseline, though GRU4Rec is better on test"
    assert gain.percent["hit@10"] == pytest.approx(100 * (values["UniRep"] / values["SASRec"] - 1))
    assert gain.differences["hit@10"].p_value == pytest.approx(2 / 10_001)
    assert gain.p_values["hit@10"] == pytest.approx(4 * 2 / 10_001)  # two metrics, two protocols
    markdown, tex = Path("table/comparison.md").read_text(), Path("table/comparison.tex").read_text()
    assert f"**{values['UniRep']:.4f} ±" in markdown and f"<ins>{values['GRU4Rec']:.4f} ±" in markdown
    assert f"\\textbf{{{values['UniRep']:.4f} $\\pm$" in tex and "hit@10" in tex and "UniRep over SASRec, \\%" in tex
    assert "| 1,000 | 23,456 | 20 | 0.50 GB |" in markdown


def test_two_seeds_have_an_interval_and_no_p_value(made_run, capsys):
    for seed in (1, 2):
        made_run("UniRep", seed, drawn(20, seed))
        made_run("SASRec", seed, drawn(22, 10 + seed))
    compare([str(folder) for folder in sorted(Path("made").iterdir())])
    line = lines_of(capsys.readouterr().out, "UniRep over SASRec, p")[0]
    assert re.search(r"n/a \[[+-]0\.\d+, [+-]0\.\d+\]", line)


def test_a_loss_of_ours_against_the_baseline_is_shown(made_run, capsys):
    for seed in (1, 2, 3):
        made_run("UniRep", seed, drawn(60, seed))
        made_run("SASRec", seed, drawn(20, 10 + seed))
    compare([str(folder) for folder in sorted(Path("made").iterdir())])
    out = capsys.readouterr().out
    assert re.search(r"over SASRec, % +-\d", out)
    assert re.search(r"SASRec +3 +[\d.]+ ± [\d.]+ \*", out)


def test_labels_of_runs_of_one_model_name_differing_settings(made_run, capsys):
    made_run("SASRec", 1, drawn(20), keys={"loss_type": "CE"})
    made_run("SASRec", 1, drawn(30), keys={"loss_type": "BPR"})
    comparisons = compare([str(folder) for folder in sorted(Path("made").iterdir())])
    assert {row.label for row in comparisons[0].rows} == {"SASRec loss_type=CE", "SASRec loss_type=BPR"}
    assert comparisons[0].gains == []


def test_ours_can_be_named(made_run):
    made_run("SASRec", 1, drawn(20))
    made_run("GRU4Rec", 1, drawn(30))
    folders = [str(folder) for folder in sorted(Path("made").iterdir())]
    found = compare([*folders, "--ours=GRU4Rec"])[0].gains
    assert [(gain.label, gain.baseline) for gain in found] == [("GRU4Rec", "SASRec")]
    with pytest.raises(ValueError, match="ours=BERT4Rec: BERT4Rec is not among GRU4Rec, SASRec"):
        compare([*folders, "--ours=BERT4Rec"])


def test_a_named_baseline_may_be_one_of_ours(made_run):
    for model, worst in (("UniRep", 40), ("RPG", 20), ("SASRec", 60)):
        made_run(model, 1, drawn(worst))
    runs = [read_run(folder.name.split("-")[0], folder) for folder in sorted(Path("made").iterdir())]
    found = compare_runs(runs, ["full"], ["hit@10"], ["UniRep", "RPG"], baseline="RPG")[0].gains
    assert [(gain.label, gain.baseline) for gain in found] == [("UniRep", "RPG")]
    assert found[0].percent["hit@10"] < 0


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"dataset_fingerprint": "e" * 64}, "has dataset_fingerprint eeeeeeeeeeee and .* ffffffffffff"),
        ({"candidates_hash": "d" * 64}, "has candidates_hash dddddddddddd and .* cccccccccccc"),
        ({"tie_order": "shuffled", "tie_seed": 1}, "has tie_order shuffled"),
        ({"valid_metric": "MRR"}, "has valid_metric MRR"),
        ({"dataset": "other"}, "has dataset other"),
        ({"test_result": {"full": {"hit@10": 0.1}}}, "was not ranked under uni99, only full"),
    ],
)
def test_runs_that_are_not_comparable_are_refused(made_run, changes, message):
    first = made_run("SASRec", 1, drawn(20))
    second = made_run("UniRep", 1, drawn(20), **changes)
    with pytest.raises(ValueError, match=message):
        compare([str(first), str(second)])


def test_bad_requests_are_one_line_errors(made_run, tiny, capsys):
    run = str(made_run("SASRec", 1, drawn(20)))
    twice = str(made_run("SASRec", 1, drawn(30)))
    grid = ["--dataset=tiny", f"--data_path={tiny.parent}", "--models=SASRec"]
    for arguments, message in (
        ([run, twice], "SASRec has two runs of seed 1"),
        ([run, "--metrics=gauc"], "has no gauc under uni99: its metrics are hit@5"),
        ([run, "--epochs=3"], "--epochs is for training, but finished runs were given: leave it out"),
        ([run, "--protocol=full_unseen"], "was not ranked under full_unseen"),
        (["nowhere"], "nowhere holds no run: no config.yaml in it"),
        (["--models=SASRec"], "compare needs --dataset"),
        (["--dataset=tiny"], "compare needs --models"),
        ([*grid, "--seeds=0"], "seeds=0: give a number of seeds, at least 1"),
        ([*grid, "--seeds=1,1"], "seeds=1,1 is not understood"),
        ([*grid, "--seed=3"], "compare takes no --seed: use --seeds=3 or"),
        ([*grid, "--GRU4Rec.epochs=1"], "--GRU4Rec.epochs: GRU4Rec is not among models=SASRec"),
        ([*grid, "--learning_rat=1"], "learning_rat"),
        ([*grid, "--ours=UniRep"], "ours=UniRep: UniRep is not among models=SASRec"),
        (["--dataset=tiny", "--models=SASRec,SASRec"], "name each once"),
        ([*grid, "--models=SASRecc", "--dataset=tiny"], "given twice"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.argv", ["unirep", "compare", *arguments])
            assert cli.unirep() == 2
        said = capsys.readouterr()
        assert message in said.err and len(said.err.splitlines()) == 1, said.err
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_failed_run_leaves_the_others_in_the_table(tiny, capsys):
    asked = ["--dataset=tiny", f"--data_path={tiny.parent}", "--models=Pop,SASRec", "--seeds=1", "--epochs=1"]
    asked += ["--SASRec.hidden_size=15", "--SASRec.n_heads=2", "--out=out"]
    with pytest.raises(ValueError, match=r"1 of 2 runs failed: SASRec on tiny, seed 2020: .*15"):
        compare(asked)
    assert [line["label"] for line in read_csv("out/comparison.csv")] == ["Pop"] * 3


@pytest.mark.slow
def test_a_killed_cell_is_reported_and_continued(tiny):
    keys = {"model": "SASRec", "dataset": "tiny", "seed": 3, "data_path": str(tiny.parent), "epochs": 3}
    keys |= {"hidden_size": 16, "inner_size": 8, "n_layers": 1, "MAX_ITEM_LIST_LENGTH": 5, "protocol": ["full"]}
    whole = Cell("SASRec", "tiny", 3, keys, Path("whole"))
    assert run_cell(whole) == ""
    cell = Cell("SASRec", "tiny", 3, keys, Path("cell"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells_module, "CHILD", KILLED_AFTER_ONE_EPOCH)
        assert run_cell(cell) == "killed by signal 9 (9 often means out of memory)"
    assert cell.is_interrupted() and cell.result() is None
    assert run_cell(cell) == ""
    assert cell.result()["best_valid_score"] == whole.result()["best_valid_score"]
    assert cell.result()["test_result"] == whole.result()["test_result"]


KILLED_AFTER_ONE_EPOCH = """
import os, signal, sys
from recbole_unirep.quick_start import run_recbole
def stop(epoch, score):
    if epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
run_recbole(arguments=sys.argv[1:], callback_fn=stop)
"""

"""unirep tune: equal trials per model, judged on validation, pruned, continued and stored."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from recbole_unirep import cli, quick_start
from recbole_unirep.commands.tune import tune
from recbole_unirep.files.lock import locked
from recbole_unirep.quick_start import run_recbole
from recbole_unirep.study import search_space, tuning

pytestmark = pytest.mark.slow  # trials train in processes

CHECKOUT = Path(__file__).resolve().parents[2]
SMALL = ["--hidden_size=16", "--inner_size=8", "--MAX_ITEM_LIST_LENGTH=5", "--users_per_batch=16", "--n_layers=1"]
SMALL += ["--text_encoder=lexical", "--lexical_dim=16", "--codebook_size=8", "--code_dim=8", "--encoder_sizes=[12]"]
SMALL += ["--id_embedding_size=8", "--show_progress=False"]
SPACE = {
    "shared": {"learning_rate": {"loguniform": ["1e-4", "1e-1"]}, "hidden_dropout_prob": {"uniform": [0.1, 0.5]}},
    "UniRep": {"level_metrics": {"choice": [["cosine", "cosine", "euclidean"], ["cosine", "cosine", "cosine"]]}},
}


@pytest.fixture
def asked(tiny):
    """The arguments of a tuning: `asked(trials=2, space=SPACE, ...)`; other keys go to the command as they are."""

    def arguments(space=SPACE, **options):
        Path("space.yaml").write_text(yaml.safe_dump(space))
        options = {"models": "UniRep,SASRec", "trials": 2, "space": "space.yaml", "out": "out", "epochs": 2} | options
        given = [f"--{key}={value}" for key, value in options.items() if value is not None]
        return ["--dataset=tiny", f"--data_path={tiny.parent}", *SMALL, *given]

    return arguments


def trials(out="out"):
    with open(Path(out) / "trials.csv", encoding="utf-8", newline="") as file:
        return [{key: text for key, text in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def test_all_models_have_equally_many_trials_and_best_yaml_runs(asked, tiny):
    best = tune(asked())
    rows = trials()
    assert [(row["model"], row["trial"], row["state"]) for row in rows] == [
        ("UniRep", "1", "complete"),
        ("UniRep", "2", "complete"),
        ("SASRec", "1", "complete"),
        ("SASRec", "2", "complete"),
    ]
    for row in rows:
        assert 1e-4 <= float(row["learning_rate"]) <= 1e-1 and 0.1 <= float(row["hidden_dropout_prob"]) <= 0.5
        result = json.loads((Path("out") / row["run"] / "result.json").read_text())
        config = yaml.safe_load((Path("out") / row["run"] / "config.yaml").read_text())
        assert result["test_result"] == {} and not (Path("out") / row["run"] / "ranks.npz").exists()
        assert result["best_valid_score"] == float(row["valid_score"])
        assert config["learning_rate"] == float(row["learning_rate"]) and config["epochs"] == 2
    for model, found in best.items():
        scores = [float(row["valid_score"]) for row in rows if row["model"] == model]
        assert found["valid_score"] == max(scores)
    assert [row["level_metrics"] for row in rows if row["model"] == "SASRec"] == ["", ""]
    arguments = ["--config_files=out/UniRep/best.yaml", f"--data_path={tiny.parent}", "--protocol=full"]
    again = run_recbole(arguments=arguments)
    assert again["best_valid_score"] == best["UniRep"]["valid_score"] and again["test_result"]["full"]


def test_more_trials_are_added_to_existing_ones(asked):
    tune(asked(models="SASRec"))
    first = trials()
    folder = Path("out/SASRec/trial-0001/result.json")
    written = folder.stat().st_mtime_ns
    tune(asked(models="SASRec", trials=3))
    assert trials()[:2] == first and len(trials()) == 3 and folder.stat().st_mtime_ns == written
    tune(asked(models="SASRec", trials=3, out="whole"))
    assert trials("whole") == trials()


def start(arguments, **options):
    code = "import sys; from recbole_unirep.cli import unirep; sys.exit(unirep())"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen([sys.executable, "-c", code, "tune", *arguments], env=environment, **options)


def test_a_killed_tuning_ends_with_the_trials_of_an_uninterrupted_one(asked):
    """After a kill in the third trial, the first two do not run again and the third resumes at its last epoch."""
    arguments = asked(epochs=30, stopping_step=50)
    process = start(arguments)
    curve = Path("out/UniRep/trial-0002/metrics.jsonl")
    until = time.monotonic() + 120
    while not curve.is_file() or len(curve.read_text().splitlines()) < 3:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert len(trials()) == 2 and not (curve.parent / "result.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in Path("out").glob("*/trial-0001/*")}
    tune(arguments)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert "Continuing" in (curve.parent / "log.txt").read_text() or len(curve.read_text().splitlines()) == 30
    tune(asked(epochs=30, stopping_step=50, out="whole"))
    assert trials() == trials("whole")


def test_ctrl_c_says_that_the_same_command_continues(asked, monkeypatch, capsys):
    def interrupted(*args, **keys):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "run_recbole", interrupted)
        patch.setattr("sys.argv", ["unirep", "tune", *asked(models="SASRec")])
        assert cli.unirep() == 130
    assert "the same command continues" in capsys.readouterr().out
    tune(asked(models="SASRec"))
    assert [row["trial"] for row in trials()] == ["1", "2"]


def test_a_trial_below_the_median_is_ended_early(asked, tiny):
    with open(tiny / "tiny.inter", "w", encoding="utf-8") as file:  # the next item can be learned from this data
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        file.writelines(f"u{user}\ti{(user + time) % 60}\t{time}\n" for user in range(60) for time in range(8))
    space = {"shared": {"learning_rate": {"choice": [1e-9, 0.01]}}}
    tune(asked(space=space, models="SASRec", trials=14, epochs=8, stopping_step=20, prune_after=1))
    rows = trials()
    pruned = [row for row in rows if row["state"] == "pruned"]
    complete = [row for row in rows if row["state"] == "complete"]
    assert len(rows) == 14 and len(complete) >= 5 and pruned
    assert all(1 < int(row["epochs"]) < 8 for row in pruned) and all(row["epochs"] == "8" for row in complete)
    assert all(float(row["learning_rate"]) == 1e-9 for row in pruned)
    best = yaml.safe_load(Path("out/SASRec/best.yaml").read_text())
    assert best["learning_rate"] == 0.01
    assert Path("out/importance.csv").read_text().splitlines() == [
        "model,key,importance,complete_trials",
        *([f"SASRec,learning_rate,1.0,{len(complete)}"] if len(complete) >= 10 else []),
    ]


def test_a_failed_trial_is_stored_with_its_message_and_the_others_continue(asked, monkeypatch, capsys):
    def diverging(model, config_dict, **others):
        if config_dict["learning_rate"] > 0.01:
            raise ValueError("the loss is\nnan")
        return quick_start.run_recbole(model, config_dict=config_dict, **others)

    monkeypatch.setattr(tuning, "run_recbole", diverging)
    space = {"shared": {"learning_rate": {"loguniform": [1e-3, 1e-1]}}}
    tune(asked(space=space, models="SASRec", trials=6, epochs=1))
    rows = trials()
    failed = [row for row in rows if float(row["learning_rate"]) > 0.01]
    assert len(rows) == 6 and 0 < len(failed) < 6
    assert {row["state"] for row in failed} == {"failed"}
    assert {row["message"] for row in failed} == {"ValueError: the loss is nan"}
    assert "failed ValueError: the loss is nan" in capsys.readouterr().out
    with pytest.raises(ValueError, match="none of 1 trials of SASRec is complete, the last failed with: ValueError"):
        space = {"shared": {"learning_rate": {"loguniform": [2e-2, 1e-1]}}}
        tune(asked(space=space, models="SASRec", trials=1, out="none"))


def test_levers_that_a_model_lacks_are_named_and_left_out(asked, capsys):
    space = {"shared": {**SPACE["shared"], "n_heads": {"choice": [1, 2]}}}
    tune(asked(space=space, models="GRU4Rec", trials=1, epochs=1))
    assert "GRU4Rec has no hidden_dropout_prob, n_heads: left out of its trials" in capsys.readouterr().out
    assert not trials()[0].keys() & {"hidden_dropout_prob", "n_heads"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": None}, "tune needs either --model or --models: write e.g. --models=UniRep,SASRec"),
        ({"models": "SASRec,SASRec"}, "name each once"),
        ({"models": "SASRek"}, "model 'SASRek' is unknown: did you mean 'SASRec'"),
        ({"trials": 0}, "trials=0 is not a whole number of at least 1"),
        ({"prune_after": "soon"}, "prune_after=soon is not a whole number of at least 0"),
        ({"protocol": "full"}, "tune takes no --protocol: trials are judged only on validation"),
        ({"run_dir": "x"}, "tune takes no --run_dir"),
        ({"nproc": 2}, "tune takes no --nproc"),
        ({"learning_rate": 0.1}, "learning_rate is set but is also a lever of UniRep"),
        ({"stoping_step": 3}, "unknown key 'stoping_step', did you mean 'stopping_step'"),
        ({"models": "Pop"}, "Pop uses none of the space's levers: add a part 'Pop' to the space"),
        ({"space": {"shared": {"learning_rat": {"uniform": [0, 1]}}}}, "unknown key 'learning_rat', did you mean"),
        ({"space": {"shared": {"learning_rate": {"uniform": [-1, 1]}}}}, "learning_rate=-1"),
        ({"space": {"UniRap": SPACE["shared"]}}, "part 'UniRap' is neither 'shared' nor a model: did you mean"),
        ({"space": {"shared": {"learning_rate": {"log": [1, 2]}}}}, "drawn by 'log', which is not known"),
        ({"space": {"shared": {"learning_rate": {"uniform": [2, 1]}}}}, "low must be less than high"),
        ({"space": {"shared": {"learning_rate": {"loguniform": [0, 1]}}}}, "low must be above 0"),
        ({"space": {"shared": {"n_layers": {"int": [1, 2.5]}}}}, "give whole numbers"),
        ({"space": {"shared": {"n_layers": {"choice": [1]}}}}, "give at least two values"),
        ({"space": {"shared": {"n_layers": {"choice": [1, 1]}}}}, "give each value once"),
        ({"space": {"shared": {"n_layers": [1, 2]}}}, "write one of loguniform, uniform, int, choice"),
        (
            {"space": {"shared": {"seed": {"int": [1, 2]}}}},
            "seed can't be tuned, it decides which runs are comparable",
        ),
        ({"space": {"shared": {"epochs": {"int": [1, 2]}}, "UniRep": {"epochs": {"int": [1, 2]}}}}, "give it once"),
        ({"space": {"GRU4Rec": SPACE["shared"]}}, "the space has no levers for UniRep"),
        ({"space": []}, "holds no parts"),
    ],
)
def test_a_bad_tuning_is_a_one_line_error_before_anything_runs(asked, monkeypatch, options, message):
    monkeypatch.setattr(tuning, "run_recbole", None)
    with pytest.raises(ValueError) as error:
        tune(asked(**options))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not Path("out").exists()


def test_the_error_for_a_missing_space_names_the_shipped_ones(asked):
    arguments = [text for text in asked() if not text.startswith("--space")]
    with pytest.raises(FileNotFoundError, match="space gone.yaml is not a file: give a YAML file or one of default"):
        tune([*arguments, "--space=gone.yaml"])


def test_the_shipped_space_gives_sasrec_the_levers_of_unirep_except_text_and_codes():
    parts = search_space.read_spaces("default")
    assert parts["SASRec"] == {} and parts["shared"].keys() & {"learning_rate", "hidden_dropout_prob", "n_layers"}
    assert all(len(lever.values) > 1 for part in parts.values() for lever in part.values())


def test_a_folder_belongs_to_one_tuning(asked):
    tune(asked(models="SASRec", trials=1, epochs=1))
    with pytest.raises(
        ValueError, match="out=out was started with settings: epochs 1, this command sets 3: take another"
    ):
        tune(asked(models="SASRec", trials=1, epochs=3))
    with pytest.raises(ValueError, match="out=out was started with prune_after 5, this command sets 0"):
        tune(asked(models="SASRec", trials=1, epochs=1, prune_after=0))
    with locked(Path("out")), pytest.raises(ValueError, match="out=out is in use by another command"):
        tune(asked(models="SASRec", trials=1, epochs=1))
    Path("other").mkdir()
    Path("other/thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"out=other holds thesis.tex but no tuning to continue"):
        tune(asked(models="SASRec", trials=1, epochs=1, out="other"))
    assert [path.name for path in Path("other").iterdir() if path.name != "lock"] == ["thesis.tex"]


def test_without_optuna_the_error_says_what_to_install(asked, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in ("recbole_unirep.study.trials", "recbole_unirep.study.tuning"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("sys.argv", ["unirep", "tune", *asked()])
    assert cli.unirep() != 0
    assert "pip install 'recbole-unirep[tune]'" in capsys.readouterr().err

"""Another package adds a tokenizer, a backbone, a model and a text encoder without changes in this one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_unirep.semantic_ids.bundle import load_bundle

pytestmark = pytest.mark.slow  # each test starts Python and most train
ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "package"
CHECKS = """
from recbole.utils import get_model
import recbole_unirep
from recbole_unirep.testing import check_backbone, check_model, check_text_encoder, check_tokenizer

check_tokenizer("PrincipalBins", codebook_size=5)
check_backbone("RunningMean")
check_model("RunningMean")
check_text_encoder("HashedWords")
recbole_unirep.register()
assert get_model("RunningMean").__module__ == "its_parts.runningmean"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder with the package, installed by pip."""
    source, folder = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("installed")
    shutil.copytree(PACKAGE, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, f"--target={folder}", source], check=True)
    return folder


@pytest.fixture
def python(installed, tmp_path):
    """Runs Python with the package on its path; a failure shows standard error."""

    def run(code, *arguments):
        paths = os.pathsep.join(map(str, (installed, ROOT)))
        call = [sys.executable, "-c", code, *arguments]
        environment = {**os.environ, "PYTHONPATH": paths}
        answer = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    return run


def command(name):
    return f"import sys; from recbole_unirep.cli import {name}; sys.exit({name}())"


def test_its_parts_keep_the_contracts(python):
    python(CHECKS)


def test_unirep_trains_over_its_parts_by_their_names(python, tiny, tmp_path):
    asked = {"model": "UniRep", "tokenizer": "PrincipalBins", "backbone": "RunningMean", "text_encoder": "HashedWords"}
    keys = {**asked, "n_levels": 2, "n_maps": 3, "codebook_size": 5, "epochs": 1, "run_dir": "run", "dataset": "tiny"}
    keys |= {"data_path": tiny.parent, "show_progress": False, "eval_batch_size": 50, "code_embedding_size": 8}
    python(command("run_recbole"), *(f"--{key}={value}" for key, value in keys.items()))
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["text_encoder"] == "HashedWords" and set(result["test_result"]) == {"uni99", "full", "full_unseen"}
    bundle = json.loads((tmp_path / "run" / "tokenizer" / "bundle.json").read_text(encoding="utf-8"))
    assert bundle["tokenizer"] == "PrincipalBins"
    assert bundle["settings"]["n_levels"] == 2 and bundle["settings"]["fit_seed"] == 2020  # from its yaml
    vectors = json.loads((tiny / "tiny.HashedWords.json").read_text(encoding="utf-8"))
    assert vectors["package"] == "its-parts 1.0" and vectors["versions"] == {"its-parts": "1.0"}


def test_its_model_trains_by_its_name(python, tiny, tmp_path):
    keys = ("--model=RunningMean", "--dataset=tiny", f"--data_path={tiny.parent}", "--epochs=1", "--run_dir=run")
    python(command("run_recbole"), *keys, "--loss_type=BCE", "--show_progress=False")
    assert json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))["model"] == "RunningMean"
    log = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert "(0): Linear(in_features=64, out_features=64" in log and "does not use" not in log


def test_its_tokenizer_makes_a_bundle(python, tiny, tmp_path, monkeypatch):
    keys = ("--dataset=tiny", f"--data_path={tiny.parent}", "--text_encoder=lexical", "--lexical_dim=8")
    python(command("unirep"), "tokenize", *keys, "--tokenizer=PrincipalBins", "--codebook_size=4", "--out=ids")
    read = (
        "from recbole_unirep.semantic_ids.bundle import load_bundle as f; print(f('ids').semantic_ids.codebook_sizes)"
    )
    assert python(read).strip() == "[4, 4, 4]"
    with pytest.raises(ValueError, match="ids was made by tokenizer 'PrincipalBins', which is not known"):
        load_bundle(tmp_path / "ids")  # the package is not installed here


@pytest.mark.parametrize(
    ("name", "line", "offered"),
    [
        ("run_recbole", "run_recbole --model Run", "RunningMean"),
        ("unirep", "unirep tokenize --tokenizer Pri", "PrincipalBins"),
    ],
)
def test_a_shell_completes_its_names(python, monkeypatch, name, line, offered):
    asked = {f"_{name.upper()}_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    for key, value in asked.items():
        monkeypatch.setenv(key, value)
    assert python(command(name)).split() == [f"plain,{offered}"]

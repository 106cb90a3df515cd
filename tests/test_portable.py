"""Training, recommending, serving and preparing need no module that only some systems have."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # a process trains and recommends

CHECKOUT = Path(__file__).resolve().parents[1]
# Refuses the modules to our packages alone: torch, filelock and others have fallbacks of their own.
HOOK = """
import builtins, sys

REFUSED = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "msvcrt", "winreg"}
import_module = builtins.__import__

def refusing(name, globals=None, *arguments, **keys):
    importer = ((globals or {}).get("__name__") or "").partition(".")[0]
    if importer in ("recbole_unirep", "dataset_prep") and name.partition(".")[0] in REFUSED:
        raise ModuleNotFoundError(f"{name} is refused to {importer}")
    return import_module(name, globals, *arguments, **keys)

builtins.__import__ = refusing
"""
COMMAND = "from recbole_unirep import cli; command = sys.argv.pop(1); sys.exit(getattr(cli, command)())"
SMALL = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1, "MAX_ITEM_LIST_LENGTH": 5, "epochs": 1}
SMALL |= {"show_progress": False, "protocol": "[full]"}


def python(code, *arguments):
    """Standard output of code that runs under the hook."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", HOOK + code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_hook_refuses_the_modules_to_our_packages_alone():
    module = "resource" if os.name == "posix" else "msvcrt"
    code = f"exec('import {module}', {{'__name__': 'another.package'}})\n"
    code += f"try:\n    exec('import {module}', {{'__name__': 'recbole_unirep.runs.result'}})\n"
    code += "except ModuleNotFoundError as error:\n    print(error)\n"
    assert python(code) == f"{module} is refused to recbole_unirep\n"


def test_an_epoch_and_a_recommendation(tiny, tmp_path):
    keys = {"model": "SASRec", "dataset": "tiny", "data_path": tiny.parent, "run_dir": tmp_path / "run", **SMALL}
    python(COMMAND, "run_recbole", *(f"--{key}={value}" for key, value in keys.items()))
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert result["best_epoch"] == 0 and result["peak_memory_bytes"]["process"] > 2**20
    said = python(COMMAND, "unirep", "recommend", tmp_path / "run", "--items=i1,i2", "--k=3")
    assert len([line for line in said.splitlines() if line.split()[0] in "123"]) == 3


def test_serving_and_preparing_are_imported():
    modules = ("commands.serve", "serving.service", "commands.prepare", "study.cells", "commands.tune", "parallel")
    python("".join(f"import recbole_unirep.{module}\n" for module in modules))


def test_preparing_needs_neither_recbole_nor_torch(tmp_path):
    (tmp_path / "raw.csv").write_text("user_id,item_id\nu1,i1\nu1,i2\n", encoding="utf-8")
    without = "sys.modules.update(recbole=None, torch=None)\n" + COMMAND
    arguments = ["--dataset=made", f"--reviews={tmp_path / 'raw.csv'}", "--core=1", f"--data_path={tmp_path}"]
    python(without, "unirep", "prepare", *arguments)
    assert (tmp_path / "made" / "made.inter").read_text(encoding="utf-8").splitlines()[1:] == ["u1\ti1", "u1\ti2"]

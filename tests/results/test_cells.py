"""Cells of a page of results: each runs once, continues after an interruption, and leaves its record."""

import importlib.util
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "results" / "cells.py"
RECORD = ["config.yaml", "environment.json", "metrics.jsonl", "result.json"]


@pytest.fixture
def cells():
    spec = importlib.util.spec_from_file_location("cells", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def commands(monkeypatch):
    """The commands that were run; each leaves the files of a finished run."""
    called = []

    def finish(command, check):
        called.append(command)
        folder = Path(command[-1].partition("=")[2])
        folder.mkdir(exist_ok=True)
        for name in [*RECORD, "model.pt"]:
            (folder / name).write_text(name, encoding="utf-8")

    monkeypatch.setattr(subprocess, "run", finish)
    return called


def test_a_cell_runs_once_and_leaves_its_record(cells, commands, tmp_path):
    folder, kept = tmp_path / "run", tmp_path / "kept" / "cell"
    folder.mkdir(), (folder / "config.yaml").write_text("of a run without a checkpoint")
    for _ in range(2):
        cells.run(["--model=SASRec"], folder, kept)
    assert commands == [["run_recbole", "--model=SASRec", "--show_progress=False", f"--run_dir={folder}"]]
    assert sorted(path.name for path in kept.iterdir()) == RECORD
    (kept / "result.json").unlink()
    cells.run(["--model=SASRec"], folder, kept, proof="metrics.jsonl")
    assert len(commands) == 1


def test_an_interrupted_cell_is_continued(cells, commands, tmp_path):
    (tmp_path / "last.pt").write_text("a checkpoint")
    cells.run(["--model=SASRec"], tmp_path, tmp_path / "kept")
    assert commands == [["run_recbole", f"--resume={tmp_path}"]]


def test_arguments_and_tables(cells, tmp_path):
    request = cells.parse(["--data_path=data", "b"], "page", ["a", "b"])
    assert request == (["b"], Path("runs/page"), {"data_path": "data"})
    assert cells.parse(["--runs=there"], "page", ["a", "b"]) == (["a", "b"], Path("there"), {})
    page = tmp_path / "page.md"
    page.write_text("text\n<!-- one -->\nold\n<!-- end -->\n<!-- two -->\nkept\n<!-- end -->\n", encoding="utf-8")
    cells.write_table(page, "one", "new\n")
    assert page.read_text() == "text\n<!-- one -->\nnew\n<!-- end -->\n<!-- two -->\nkept\n<!-- end -->\n"

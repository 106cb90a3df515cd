"""Setup of all tests: no network, nothing written outside a temporary folder, pytest's flags hidden from RecBole."""

import os
import random
from pathlib import Path

import pytest
import yaml

FIRST_DEFAULT = Path(__file__).resolve().parents[1] / "results" / "first_default.yaml"
SHARED_DATASETS = Path(__file__).resolve().parents[2] / "shared" / "datasets"


def pytest_xdist_auto_num_workers(config):
    """One worker per core for the whole suite. Chosen files run in this process, where they start at once."""
    return 0 if config.args_source is config.ArgsSource.ARGS else os.cpu_count()


def pytest_configure():
    """Sets environment variables that libraries read at import time."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Workers and the processes that tests start share the cores: more threads than cores are many times slower.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Keeps item text embeddings made by tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Runs each test in its own folder: RecBole reads sys.argv and writes log/, log_tensorboard/ and saved/ there."""
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shared_datasets() -> Path:
    """Folder of the prepared Amazon data, next to the checkout. Tests that need it are skipped if it is missing."""
    if not SHARED_DATASETS.is_dir():
        pytest.skip(f"{SHARED_DATASETS} is missing: it holds the prepared Amazon data, which is not shipped")
    return SHARED_DATASETS


@pytest.fixture
def tiny(tmp_path) -> Path:
    """Folder of a small dataset, tmp_path/data/tiny: 60 users and 120 items, one of them without text."""
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    draw = random.Random(0)
    kinds = ["shampoo", "perfume", "lipstick", "soap", "brush"]
    with open(folder / "tiny.inter", "w", encoding="utf-8") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user in range(60):
            for time, item in enumerate(draw.sample(range(120), draw.randint(5, 9))):
                file.write(f"u{user}\ti{item}\t{1_300_000_000 + 86_400 * time}\n")
    with open(folder / "tiny.item", "w", encoding="utf-8") as file:
        file.write("item_id:token\ttitle:token\tcategories:token_seq\tprice:float\n")
        for item in range(119):
            kind = draw.choice(kinds)
            file.write(f"i{item}\t{kind} number {item % 7}\t'Beauty', '{kind}'\t{item % 13}.5\n")
        file.write("i119\t\t\t\n")
    return folder


@pytest.fixture
def shell(tiny, monkeypatch, capsys):
    """Runs `unirep` with a subcommand, or else `run_recbole`; returns exit code and lines of standard error.

    `shell.data` holds the settings of the tiny dataset. `shell.said(lines)` returns the command's one error line.
    """
    from recbole_unirep import cli

    def call(*arguments, **keys):
        argv = [*arguments, *(f"--{key}={value}" for key, value in keys.items())]
        monkeypatch.setattr("sys.argv", ["shell", *argv])
        code = cli.run_recbole() if argv[0].startswith("--") else cli.unirep()
        return code, capsys.readouterr().err.splitlines()

    def said(lines):
        own = [line for line in lines if line.startswith(("run_recbole: ", "unirep: "))]
        assert own == lines[-1:] and "Traceback" not in "".join(lines), lines
        return own[0]

    call.data, call.said = {"dataset": "tiny", "data_path": tiny.parent}, said
    return call


SMALL = {
    "hidden_size": 16,
    "inner_size": 16,
    "embedding_size": 16,
    "users_per_batch": 32,
    "train_batch_size": 64,
    "MAX_ITEM_LIST_LENGTH": 6,
    "eval_batch_size": 25,
}
FEATURES = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "categories"]},
    "selected_features": ["categories"],
    "item_attribute": "categories",
}
WITH_FEATURES = ("FDSA", "FM", "GRU4RecF", "SASRecF", "S3Rec")


@pytest.fixture
def load(tiny):
    """Builds config, data and model, seeded like a run before training."""
    from recbole.utils import init_seed

    from recbole_unirep.config import Config
    from recbole_unirep.data.split import load_data
    from recbole_unirep.model.build import build_model, trains_rows

    def load_all(model, **keys):
        features = FEATURES if model in WITH_FEATURES else {}
        config = Config(model, "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **features, **keys})
        init_seed(config["seed"], config["reproducibility"])
        data = load_data(config, one_row_a_user=trains_rows(config))
        init_seed(config["seed"], config["reproducibility"])
        return config, data, build_model(config, data.train)

    return load_all


SIZES = ("codebook_size", "level_metrics", "users_per_batch")  # which tests set themselves


@pytest.fixture
def plain():
    """Keys that leave out what UniRep's default adds to the paper's model: its former default, without SIZES."""
    keys = yaml.safe_load(FIRST_DEFAULT.read_text(encoding="utf-8"))
    return {key: value for key, value in keys.items() if key not in SIZES}


@pytest.fixture(params=[1, 2, 3, 7, 50], ids=lambda rows: f"{rows} rows a chunk")
def chunk_rows(request, monkeypatch):
    """Sets the number of positions per chunk of the softmax; the tests have seven positions."""
    from recbole_unirep.training import softmax

    monkeypatch.setattr(softmax, "_chunk_rows", lambda table: request.param)

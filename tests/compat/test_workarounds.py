"""Each workaround for RecBole 1.2.1 fixes its bug and changes nothing else."""

import logging
import types
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import recbole
import torch
from recbole.data.dataset import dataset as recbole_dataset
from scipy.sparse import dok_matrix

from recbole_unirep.compat import workarounds


@pytest.fixture(autouse=True)
def _workarounds():
    workarounds.apply()


def test_a_missing_recbole_is_reported_with_the_install_command(monkeypatch):
    monkeypatch.setattr(workarounds.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"^RecBole is not installed .*: pip install --no-deps recbole==1.2.1$"):
        workarounds.require_recbole()


def test_an_unsupported_version_of_recbole_is_an_error(monkeypatch):
    monkeypatch.setattr(recbole, "__version__", "1.1.1")
    with pytest.raises(ImportError, match="RecBole 1.2.1 is needed, found 1.1.1: pip install"):
        workarounds.require_recbole()


def test_numpy_gets_the_names_that_recbole_and_ray_use(monkeypatch):
    for name in ("float_", "complex_", "unicode_", "bool8"):
        if name in vars(np):  # numpy 1.26 provides bool8 dynamically
            monkeypatch.delattr(np, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        workarounds.add_numpy_names()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy 1.26 has bool8 and warns
        names = np.float_, np.complex_, np.unicode_, np.bool8
    assert names == (np.float64, np.complex128, np.str_, np.bool_)


def test_existing_numpy_names_are_not_replaced(monkeypatch):
    monkeypatch.setattr(np, "float_", "numpy's own", raising=False)
    workarounds.add_numpy_names()
    assert np.float_ == "numpy's own"


@pytest.fixture
def download(tmp_path, monkeypatch):
    """A dataset with a fake download, and a list that records whether the folder existed during the download."""
    seen = []

    def fetch(url, folder):
        seen.append((tmp_path / "data" / "shop").exists())
        if url == "broken":
            raise RuntimeError("Stopped downloading due to interruption.")
        path = f"{folder}/Shop.zip"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("Shop.inter", "user_id:token\titem_id:token\n")
        return path

    monkeypatch.setattr(recbole_dataset, "decide_download", lambda url: True)
    monkeypatch.setattr(recbole_dataset, "download_url", fetch)
    dataset = types.SimpleNamespace(
        config={"local_rank": 0},
        logger=logging.getLogger(),
        dataset_name="shop",
        dataset_path=str(tmp_path / "data" / "shop"),
        _get_download_url=lambda kind: "whole",
    )
    return dataset, seen


def test_one_process_downloads_without_a_process_group(download, tmp_path):
    dataset, seen = download
    recbole_dataset.Dataset._download(dataset)
    assert seen == [False]  # the folder appears only when it is complete
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["shop"]
    assert [path.name for path in (tmp_path / "data" / "shop").iterdir()] == ["shop.inter"]
    assert dataset.dataset_path == str(tmp_path / "data" / "shop")


def test_an_interrupted_download_leaves_no_folder(download, tmp_path):
    dataset, _ = download
    dataset._get_download_url = lambda kind: "broken"
    barrier = torch.distributed.barrier
    with pytest.raises(RuntimeError, match="interruption"):
        recbole_dataset.Dataset._download(dataset)
    assert not (tmp_path / "data").exists()
    (tmp_path / "data" / "other").mkdir(parents=True)
    with pytest.raises(RuntimeError, match="interruption"):
        recbole_dataset.Dataset._download(dataset)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["other"]
    assert torch.distributed.barrier is barrier


def test_dok_matrix_has_the_update_that_recboles_graph_models_call():
    matrix = dok_matrix((2, 2))
    matrix._update({(0, 1): 3.0})
    assert matrix.toarray().tolist() == [[0.0, 3.0], [0.0, 0.0]]


def test_only_future_warnings_of_recbole_are_hidden():
    with warnings.catch_warnings(record=True) as shown:
        warnings.resetwarnings()
        warnings.simplefilter("always")
        workarounds.silence_deprecations()
        for module in ("recbole.data.dataset.dataset", "recbole_unirep.model.unirep", "pandas"):
            warnings.warn_explicit("fillna", FutureWarning, f"{module}.py", 1, module=module)
        warnings.warn_explicit("other", UserWarning, "recbole.py", 1, module="recbole.trainer.trainer")
    assert [warning.filename for warning in shown] == ["recbole_unirep.model.unirep.py", "pandas.py", "recbole.py"]


def test_anomaly_detection_is_off_after_importing_recboles_models():
    source = (Path(recbole.__file__).parent / "model" / "sequential_recommender" / "sine.py").read_text(
        encoding="utf-8"
    )
    assert "set_detect_anomaly(True)" in source
    workarounds.apply()
    assert not torch.is_anomaly_enabled()

"""Ranks kept in a run's folder: sorted by user, read back as they were, never half written."""

import numpy as np
import pytest
import torch

from recbole_unirep.runs.folder import RANKS
from recbole_unirep.scoring.ranks import read_ranks, write_ranks


def test_ranks_come_back_by_user_token(tmp_path):
    users = np.array(["u9", "ü1", "u10"], dtype=object)
    write_ranks(tmp_path / RANKS, users, {"full": torch.tensor([3, 1, 70_000]), "uni99": torch.tensor([2, 1, 100])})
    kept = read_ranks(tmp_path)
    assert kept.users.tolist() == ["u10", "u9", "ü1"]
    assert {name: ranks.tolist() for name, ranks in kept.ranks.items()} == {
        "full": [70_000, 3, 1],
        "uni99": [100, 2, 1],
    }
    assert [path.name for path in tmp_path.iterdir()] == [RANKS]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    write_ranks(tmp_path / RANKS, np.array(["a"]), {"full": torch.tensor([1])})

    def fails(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fails)
    with pytest.raises(OSError, match="disk full"):
        write_ranks(tmp_path / RANKS, np.array(["a"]), {"full": torch.tensor([2])})
    assert read_ranks(tmp_path).ranks["full"].tolist() == [1]


def test_objects_are_not_read(tmp_path):
    np.savez(tmp_path / RANKS, users=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_ranks(tmp_path)


def test_a_run_without_ranks_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no ranks.npz"):
        read_ranks(tmp_path)

"""Ranks stored in a run's folder: sorted by user, read back unchanged, never half written."""

import re
import shutil

import numpy as np
import pytest
import torch

from recbole_unirep.runs.folder import RANKS
from recbole_unirep.scoring.ranks import pack_ranks, read_ranks, write_ranks


def test_ranks_are_read_back_sorted_by_user_token(tmp_path):
    users = np.array(["u9", "ü1", "u10"], dtype=object)
    write_ranks(tmp_path / RANKS, users, {"full": torch.tensor([3, 1, 70_000]), "uni99": torch.tensor([2, 1, 100])})
    kept = read_ranks(tmp_path)
    assert kept.users.tolist() == ["u10", "u9", "ü1"]
    assert {name: ranks.tolist() for name, ranks in kept.ranks.items()} == {
        "full": [70_000, 3, 1],
        "uni99": [100, 2, 1],
    }
    assert [path.name for path in tmp_path.iterdir()] == [RANKS]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    write_ranks(tmp_path / RANKS, np.array(["a"]), {"full": torch.tensor([1])})

    def fails(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fails)
    with pytest.raises(OSError, match="disk full"):
        write_ranks(tmp_path / RANKS, np.array(["a"]), {"full": torch.tensor([2])})
    assert read_ranks(tmp_path).ranks["full"].tolist() == [1]


def test_pickled_objects_are_not_read(tmp_path):
    np.savez(tmp_path / RANKS, users=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_ranks(tmp_path)


def test_a_run_without_ranks_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no ranks.npz"):
        read_ranks(tmp_path)


@pytest.fixture
def cells(tmp_path):
    """Two cells of a study with ranks of 2,000 users, and these ranks. One rank of the second cell exceeds 65,535."""
    folders, written = [tmp_path / "tiny" / row / "seed-1" for row in "AB"], []
    generator = np.random.default_rng(0)
    users = np.array([f"ü{user:05d}" for user in range(2_000)])
    for folder, largest in zip(folders, (12_000, 70_000)):
        full = torch.from_numpy(generator.integers(10, 12_000, size=len(users)))
        full[0] = largest
        seen = torch.from_numpy(generator.integers(0, 9, size=len(users)))
        folder.mkdir(parents=True)
        write_ranks(folder / RANKS, users, {"uni99": full % 100 + 1, "full": full, "full_unseen": full - seen})
        written.append(read_ranks(folder))
    return folders, written


def assert_same(found, expected, protocols):
    assert found.users.tolist() == expected.users.tolist()
    assert sorted(found.ranks) == sorted(protocols)
    for protocol, ranks in found.ranks.items():
        assert ranks.dtype == np.int32
        np.testing.assert_array_equal(ranks, expected.ranks[protocol])


@pytest.mark.parametrize(
    "shown, kept",
    [
        (("uni99", "full", "full_unseen"), ("uni99", "full", "full_unseen")),
        (("full_unseen", "uni99"), ("full_unseen", "uni99")),
        (("full", "full cold"), ("full",)),
        ((), ("uni99", "full", "full_unseen")),  # a row that no table shows
    ],
)
def test_packing_keeps_the_ranks_of_the_protocols_shown(cells, shown, kept):
    folders, written = cells
    for folder, expected in zip(folders, written):
        pack_ranks(folder, shown)
        assert_same(read_ranks(folder), expected, kept)
    assert len(list(folders[0].parents[1].glob("users-*.npz"))) == 1


def test_packed_ranks_are_small_and_are_not_packed_again(cells):
    folders, _ = cells
    before = [(folder / RANKS).stat().st_size for folder in folders]
    for folder in folders:
        pack_ranks(folder, ["uni99", "full", "full_unseen"])
    with np.load(folders[0] / RANKS) as few, np.load(folders[1] / RANKS) as many:
        assert (few["full"].dtype, many["full"].dtype) == (np.uint16, np.uint32)
    assert (folders[0] / RANKS).stat().st_size < before[0] / 2
    content = (folders[0] / RANKS).read_bytes()
    pack_ranks(folders[0], ["full"])
    assert (folders[0] / RANKS).read_bytes() == content


def test_a_rank_that_is_worse_under_full_unseen_survives_packing(tmp_path):
    """A beam search may find a target among all items and miss it among the unseen items."""
    run = tmp_path / "tiny" / "TIGER" / "seed-1"
    run.mkdir(parents=True)
    ranks = {"full": torch.tensor([3, 9]), "full_unseen": torch.tensor([12_000, 8])}
    write_ranks(run / RANKS, np.array(["a", "b"]), ranks)
    pack_ranks(run, ["full", "full_unseen"])
    assert read_ranks(run).ranks["full_unseen"].tolist() == [12_000, 8]


def test_damage_to_packed_files_is_named(cells):
    (run, other), _ = cells
    for folder in (run, other):
        pack_ranks(folder, ["full"])
    (users,) = run.parents[1].glob("users-*.npz")
    for path in (run / RANKS, users):
        whole = path.read_bytes()
        for damaged in (whole[:50], whole[:-1], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], b""):
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is not the file that was written"):
                read_ranks(run)
        path.write_bytes(whole)
    write_ranks(users.with_name("others.npz"), np.array(["a"]), {})
    shutil.move(users.with_name("others.npz"), users)  # an intact file with different users
    with pytest.raises(ValueError, match="users-.* is not the file that was written .it holds different users"):
        read_ranks(run)
    users.unlink()
    with pytest.raises(FileNotFoundError, match="users-.*npz, the users of .*ranks.npz, is missing"):
        read_ranks(run)

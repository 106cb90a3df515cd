"""Files and folders are written atomically, and an error says what is at the path."""

import errno
import os

import pytest

from recbole_unirep.files.whole import UnwrittenError, whole, whole_folder, write_text

FULL = OSError(errno.ENOSPC, "No space left on device")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_appears_when_the_block_ends(tmp_path, shared):
    path = tmp_path / "file.txt"
    with whole(path, shared) as partial:
        partial.write_text("new")
        assert not path.exists()
        assert partial.name == (f"file.txt.{os.getpid()}.partial" if shared else "file.txt.partial")
    assert names(tmp_path) == ["file.txt"] and path.read_text() == "new"


def test_a_full_disk_leaves_the_previous_file_and_says_so(tmp_path):
    path = tmp_path / "file.txt"
    for there, content in (("nothing was written", None), ("the existing one is unchanged", "before")):
        with pytest.raises(UnwrittenError) as caught, whole(path) as partial:
            partial.write_text("ne")
            raise FULL
        assert str(caught.value) == (
            f"cannot write {path} (No space left on device), {there}: free disk space and run the command again"
        )
        assert (path.read_text() if path.exists() else None) == content
        path.write_text("before")
    assert names(tmp_path) == ["file.txt"]


def test_other_errors_pass_unchanged(tmp_path):
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error), whole(tmp_path / "file.txt") as partial:
            partial.write_text("ne")
            raise error
        with pytest.raises(error), whole_folder(tmp_path / "folder") as partial:
            (partial / "file.txt").write_text("ne")
            raise error
    assert names(tmp_path) == []


def test_an_error_about_a_file_inside_names_that_file(tmp_path):
    one_line = r"^cannot write \S+inner.txt \(No space left on device\), nothing was written: \D+$"
    folder, outer, inner = (tmp_path / name for name in ("folder", "outer.txt", "inner.txt"))
    with pytest.raises(UnwrittenError, match=one_line), whole_folder(folder), whole(outer), whole(inner):
        raise FULL
    assert names(tmp_path) == []


def test_a_folder_appears_when_the_block_ends(tmp_path):
    with whole_folder(tmp_path / "new" / "folder") as partial:
        (partial / "file.txt").write_text("one")
        assert not (tmp_path / "new" / "folder").exists()
    assert names(tmp_path / "new") == ["folder"] and names(tmp_path / "new" / "folder") == ["file.txt"]


def test_a_folder_is_replaced_only_if_it_may_be(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(), (folder / "old.txt").write_text("old")
    unchanged = r"^cannot write \S+folder \(.+\), the existing one is unchanged: "
    with pytest.raises(UnwrittenError, match=unchanged), whole_folder(folder) as partial:
        (partial / "new.txt").write_text("new")
    assert names(tmp_path) == ["folder"] and names(folder) == ["old.txt"]
    with whole_folder(folder, replace=True) as partial:
        (partial / "new.txt").write_text("new")
    assert names(tmp_path) == ["folder"] and names(folder) == ["new.txt"]


def test_a_folder_created_meanwhile_is_kept(tmp_path):
    folder = tmp_path / "folder"
    with pytest.raises(FileExistsError, match="was created by another command meanwhile"), whole_folder(folder):
        folder.mkdir(), (folder / "theirs.txt").write_text("theirs")
    assert names(tmp_path) == ["folder"] and names(folder) == ["theirs.txt"]


def test_a_folder_that_can_not_be_moved_leaves_the_previous_one(tmp_path, monkeypatch):
    folder, replace = tmp_path / "folder", os.replace
    folder.mkdir(), (folder / "old.txt").write_text("old")

    def stopped(source, target):
        if str(source).endswith(".partial"):
            raise FULL
        replace(source, target)

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(UnwrittenError, match="the existing one is unchanged"), whole_folder(folder, True) as partial:
        (partial / "new.txt").write_text("new")
    assert names(tmp_path) == ["folder"] and names(folder) == ["old.txt"]


def test_a_text_has_the_same_bytes_on_every_system(tmp_path):
    write_text(tmp_path / "file.txt", "one\ntwo\u00e9\n")
    assert (tmp_path / "file.txt").read_bytes() == b"one\ntwo\xc3\xa9\n"

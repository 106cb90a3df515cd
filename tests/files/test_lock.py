"""A folder's lock: one process at a time, released when the process dies, whichever kind of lock the system has."""

import os
import subprocess
import sys
import time

import filelock
import pytest

from recbole_unirep.files import lock
from recbole_unirep.files.lock import LOCK, locked

HOLD = "import filelock, sys, time; lock = getattr(filelock, sys.argv[1])(sys.argv[2]); lock.acquire(); "
HOLD += "print('held', flush=True); time.sleep(float(sys.argv[3]))"


@pytest.fixture(params=["FileLock", "SoftFileLock"])
def kind(request, monkeypatch):
    """The system's own lock, then the soft one of systems without any."""
    monkeypatch.setattr(lock, "FileLock", getattr(filelock, request.param))
    return request.param


@pytest.fixture
def hold(tmp_path):
    """Starts a process that locks the folder for some seconds."""
    processes = []

    def start(kind, seconds=900):
        arguments = [sys.executable, "-c", HOLD, kind, str(tmp_path / LOCK), str(seconds)]
        processes.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout.readline() == "held\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill(), process.wait(), process.stdout.close()


def test_a_second_process_is_refused_in_one_line(tmp_path, kind, hold):
    hold(kind)
    with pytest.raises(ValueError) as caught, locked(tmp_path, "run_dir"):
        pass
    assert str(caught.value) == f"run_dir={tmp_path} is in use by another command: wait, or choose another --run_dir"
    with pytest.raises(ValueError, match="^shop is busy$"), locked(tmp_path, busy="shop is busy"):
        pass


def test_a_second_lock_in_one_process_is_refused_too(tmp_path, kind):
    with locked(tmp_path / "new"), pytest.raises(ValueError, match="in use"), locked(tmp_path / "new"):
        pass
    with locked(tmp_path / "new"):
        pass


def test_a_killed_process_holds_no_lock(tmp_path, kind, hold):
    process = hold(kind)
    process.kill(), process.wait()
    with locked(tmp_path):
        pass


def test_a_lock_that_is_soon_released_is_waited_for(tmp_path, kind, hold):
    hold(kind, seconds=0.5)
    with locked(tmp_path, seconds=30):
        pass


@pytest.mark.parametrize(("hours", "is_named"), [(23, False), (25, True)])
def test_an_old_soft_lock_of_another_host_is_named_with_its_remedy(tmp_path, monkeypatch, hours, is_named):
    monkeypatch.setattr(lock, "FileLock", filelock.SoftFileLock)
    file = tmp_path / LOCK
    file.write_text("17\nelsewhere\n", encoding="utf-8")
    then = time.time() - 3600 * hours - 60
    os.utime(file, times=(then, then))
    with pytest.raises(ValueError) as caught, locked(tmp_path):
        pass
    added = f". Process 17 on host elsewhere locked it {hours} hours ago: if it is gone, remove {file}"
    assert str(caught.value).endswith(added if is_named else "choose another --out")
    file.unlink()
    with locked(tmp_path):
        pass

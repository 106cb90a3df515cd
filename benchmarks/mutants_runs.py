"""Runs of pytest in copies of the checkout, with a mutation or without; for benchmarks/mutants.py."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

GRACE = 60  # seconds that importing and collecting may take on a busy machine
ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def copies(n, state_path):
    """Queue of n copies of the checkout in a temporary folder, with links to the datasets next to the checkout."""
    listed = subprocess.check_output(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, text=True)
    names = [name for name in listed.split("\0") if (ROOT / name).is_file()]
    # One folder per state, so that the next run removes what a killed one left.
    scratch = Path(tempfile.gettempdir()) / f"mutants-{hashlib.sha256(str(state_path).encode()).hexdigest()[:8]}"
    shutil.rmtree(scratch, ignore_errors=True)
    queue = Queue()
    try:
        for number in range(n):
            copy = scratch / f"copy-{number}" / "checkout"
            for name in names:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
            if (ROOT.parent / "shared").is_dir():
                (copy.parent / "shared").symlink_to(ROOT.parent / "shared")
            queue.put(copy)
        yield queue
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def in_parallel(work, tasks, jobs, state_path):
    """Results of work(copy, task) as they come; no two calls share a copy of the checkout."""
    if not tasks:
        return
    n_workers = min(jobs, len(tasks))
    with copies(n_workers, state_path) as queue, ThreadPoolExecutor(n_workers) as workers:

        def with_copy(task):
            copy = queue.get()
            try:
                return work(copy, task)
            finally:
                queue.put(copy)

        futures = [workers.submit(with_copy, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            workers.shutdown(cancel_futures=True)


def pytest(copy, files, request):
    """Runs pytest in a copy, with mutants_side.py as plugin.

    Returns:
        tuple: exit status, None if the run passed `limit` seconds, and the end of the output.
    """
    note, limit = copy.parent / "request.json", request["limit"]
    note.write_text(json.dumps(request | {"limit": limit + 30, "parent": os.getpid()}), encoding="utf-8")
    keys = {"MUTANTS_REQUEST": str(note), "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'benchmarks'}"}
    keys |= {"OMP_NUM_THREADS": "1", "COVERAGE_CORE": "ctrace"}
    keys["PYTHONDONTWRITEBYTECODE"] = "1"  # Python tells bytecode from stale bytecode by seconds and size alone
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "mutants_side",
        "-p",
        "no:cacheprovider",
        f"--rootdir={copy}",
    ]
    command += [f"--basetemp={copy.parent / 'tmp'}", *(["-x"] if "killer" in request else []), *files]
    with open(copy.parent / "output", "w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            command, cwd=copy, env=os.environ | keys, stdout=output, stderr=output, start_new_session=True
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        return status, "".join(output.readlines()[-15:])


def attempt(copy, tests):
    """Verdict of the tests on a copy as it is, and the first that failed."""
    killer = copy.parent / "killer"
    killer.unlink(missing_ok=True)
    request = {"tests": list(tests), "killer": str(killer), "limit": round(3 * sum(tests.values())) + GRACE}
    status, output = pytest(copy, sorted({test.partition("::")[0] for test in tests}), request)
    if status is None:
        return "timeout", f"over {request['limit']} s"
    if status in (0, 5):  # all passed, or none is left: tests that the mutation takes away cannot fail
        return "survived", None
    if killer.exists():
        return "killed", killer.read_text(encoding="utf-8")
    return "killed", f"status {status}: {output.strip().rpartition(chr(10))[2][:200]}"


def judge(copy, mutant, tests):
    """Verdict on a mutant and its killing test.

    A test that fails without the mutation too is left out, and the others are run again.

    Args:
        tests (dict): test -> its usual seconds, in the order to run them.

    Raises:
        ValueError: the source in the copy is not the one that the mutant was drawn from.
    """
    path = copy / mutant["file"]
    original = path.read_text(encoding="utf-8")
    lines, first, last = original.split("\n"), mutant["start"] - 1, mutant["start"] - 1 + len(mutant["before"])
    if lines[first:last] != mutant["before"]:
        raise ValueError(f"{mutant['id']} replaces {mutant['before']}, {mutant['file']} has {lines[first:last]}")
    mutated = "\n".join(lines[:first] + mutant["after"] + lines[last:])
    while tests:
        path.write_text(mutated, encoding="utf-8")
        try:
            verdict, killer = attempt(copy, tests)
        finally:
            path.write_text(original, encoding="utf-8")
        if verdict == "survived":
            break
        names = list(tests)
        ran = names[: names.index(killer) + 1] if killer in tests else names
        control, failed = attempt(copy, {name: tests[name] for name in ran})
        if control == "survived":
            return verdict, killer
        if failed not in tests:
            return "undecided", f"without the mutation: {control}, {failed}"
        print(f"{failed} fails without {mutant['id']} too: left out", flush=True)
        tests = {name: seconds for name, seconds in tests.items() if name != failed}
    return "survived", None

"""Checks that two commits train to the same numbers, to the last digit, on this machine.

    python benchmarks/same_numbers.py BEFORE [AFTER] [--cases="SASRec,UniRep best"] [--jobs=2] [--out=FILE]
                                      [--keep=FOLDER]

Checks out both commits (AFTER is HEAD where it is not named), trains every case on ml-100k in both and compares each
value of result.json and metrics.jsonl, except seconds and memory, then each user's test ranks and each weight of the
chosen checkpoint. Prints one line per case. The exit code is 1 if a case differs or fails. Compare BEFORE with itself
first: that shows whether this machine repeats its own numbers.

Every training is a separate process with one thread; `--jobs` trainings run at a time. The two commits share no
cache, so each encodes the item text itself. `--out` keeps all numbers as JSON, `--keep` the run folders.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("before", "after")
LINES_OF_LOG = 15  # shown of a training that failed
FILES = ("result.json", "metrics.jsonl", "model.pt", "environment.json")  # read of each run
NOT_COMPARED = ("seconds", "memory", "sha256")  # parts of key names: time, memory, and the checksum over both

# The console script's two lines, after a look at which package answers: an installed one must not replace the checkout.
START = """\
import os, sys
import recbole_unirep.cli
if not recbole_unirep.__file__.startswith(os.environ["PYTHONPATH"] + os.sep):
    sys.exit(f"{recbole_unirep.__file__} was imported, expected it below {os.environ['PYTHONPATH']}")
sys.exit(recbole_unirep.cli.run_recbole())
"""
COMMON = (
    "--dataset=ml-100k",
    "--text_encoder=lexical",
    "--text_dir=text",
    "--run_dir=run",
    "--use_gpu=False",
    "--show_progress=False",
    "--debug=True",
)
TWO, ONE = "--epochs=2", "--epochs=1"
RECBOLE = "--protocol=recbole"
FEW_USERS = ("--user_inter_num_interval=[20,40]", "--item_inter_num_interval=[1,inf)")
SHORT = (ONE, "--MAX_ITEM_LIST_LENGTH=10", *FEW_USERS)
SMALL_T5 = ("--n_layers=1", "--hidden_size=32", "--n_heads=2", "--head_size=16", "--inner_size=64", "--num_beams=20")
CASES = {
    "UniRep": ["--model=UniRep", TWO],
    "UniRep paper": ["--model=UniRep", "--preset=paper", TWO],
    "UniRep frozen codes": ["--model=UniRep", "--tokenizer=RQKMeans", TWO],
    "UniRep recbole": ["--model=UniRep", RECBOLE, *SHORT],
    "TIGER": ["--model=TIGER", *SMALL_T5, *SHORT],
    "RPG": ["--model=RPG", "--n_levels=8", TWO, *FEW_USERS],
    "SASRec": ["--model=SASRec", TWO],
    "SASRec recbole": ["--model=SASRec", RECBOLE, *SHORT],
    "GRU4Rec": ["--model=GRU4Rec", TWO],
    "UniRep over BERT4Rec": ["--model=UniRep", "--backbone=BERT4Rec", *SHORT],
    "UniRep cold items": ["--model=UniRep", "--split=cold_items", "--cold_id_embedding=nearest", *SHORT],
    "UniRep fused codes": ["--model=UniRep", "--tokenizer=Fused", "--collisions=nearest_free", *SHORT],
    "TIGER decoder only": ["--model=TIGER", "--decoder_only=True", "--training_rows=user", *SMALL_T5, *SHORT],
    "LIGER": ["--model=LIGER", *SMALL_T5, *SHORT],
    "EAGER": ["--model=EAGER", *SMALL_T5, *SHORT],
    "ActionPiece": ["--model=ActionPiece", "--vocabulary_size=3000", "--n_segmentations=2", *SMALL_T5, *SHORT],
    "MBGen": ["--model=MBGen", "--behaviour_field=rating", "--behaviour_cuts=[4]", *SMALL_T5, *SHORT],
    "VQRec": ["--model=VQRec", *SHORT],
    "HSTU": ["--model=HSTU", "--loss_type=SSM", *SHORT],
    "TextKNN": ["--model=TextKNN", *SHORT],
    "S3Rec": ["--model=S3Rec", "--train_stage=pretrain", "--pretrain_epochs=1", *SHORT],
    "BPR": ["--model=BPR", TWO, *FEW_USERS],
}


class Trained(NamedTuple):
    """One training.

    Attributes:
        values (dict[str, Any] or None): what is compared, by name; None where the training failed.
        environment (dict): what the run says of its machine and versions.
        seconds (float): of the whole process.
        failure (str): command and end of the log of a training that failed, else "".
    """

    values: dict
    environment: dict
    seconds: float
    failure: str


def main():
    options = parse_arguments()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve()
        runs = Path(options.keep).resolve() if options.keep else scratch / "runs"
        commits = dict(zip(SIDES, map(commit_of, (options.before, options.after))))
        checkouts = {side: stack.enter_context(checkout(commits[side], scratch / side)) for side in SIDES}
        pool = ThreadPoolExecutor(options.jobs)
        stack.callback(pool.shutdown, cancel_futures=True)  # Ctrl-C starts no further training
        started = {
            name: {side: pool.submit(train, CASES[name], checkouts[side], runs / name / side) for side in SIDES}
            for name in options.cases
        }
        compared = {}
        for name, sides in started.items():
            compared[name] = report(name, {side: training.result() for side, training in sides.items()})
    if options.out:
        write(options.out, commits, compared)
    n_equal = sum(case["equal"] for case in compared.values())
    print(f"{n_equal} of {len(compared)} cases equal, {commits['before'][:7]} and {commits['after'][:7]}")
    return 0 if n_equal == len(compared) else 1


def parse_arguments():
    """The command line, checked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", metavar="BEFORE", help="commit whose numbers count")
    parser.add_argument("after", metavar="AFTER", nargs="?", default="HEAD", help="commit that must repeat them")
    parser.add_argument("--cases", metavar="A,B", default=",".join(CASES), help=f"out of: {', '.join(CASES)}")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time (2)")
    parser.add_argument("--out", metavar="FILE", help="JSON file for all numbers")
    parser.add_argument("--keep", metavar="FOLDER", help="folder for the runs, which are removed otherwise")
    options = parser.parse_args()
    options.cases = [name.strip() for name in options.cases.split(",")]
    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        parser.error(f"case {unknown[0]!r} is not known: choose from {', '.join(CASES)}")
    if options.keep and Path(options.keep).exists():
        parser.error(f"{options.keep} exists: remove it, or name another folder")
    return options


def commit_of(name):
    """Full hash of a commit; ends the program if there is none of that name."""
    asked = ["git", "-C", ROOT, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"]
    answer = subprocess.run(asked, capture_output=True, text=True)
    if answer.returncode:
        sys.exit(f"{name} is not a commit of {ROOT}: choose one from `git log`")
    return answer.stdout.strip()


@contextmanager
def checkout(commit, folder):
    """Checks a commit out into a folder that does not exist yet, and removes it in the end."""
    git = ["git", "-C", ROOT, "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", folder, commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", folder], check=True)


def train(keys, source, folder):
    """Trains one case with the code of one checkout, in a separate folder."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", START, *COMMON, *keys]
    variables = {
        **os.environ,
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    }
    started = perf_counter()
    with open(folder / "log", "wb") as log:
        code = subprocess.run(command, cwd=folder, env=variables, stdout=log, stderr=subprocess.STDOUT).returncode
    seconds, run = round(perf_counter() - started, 1), folder / "run"
    missing = [name for name in FILES if not (run / name).is_file()]
    if not code and not missing:
        environment = json.loads((run / "environment.json").read_text("utf-8"))
        return Trained(values_of(run), environment, seconds, "")
    why = f"exit code {code}" if code else f"no {', '.join(missing)}"
    end = (folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_OF_LOG:]
    return Trained(None, {}, seconds, "\n".join([f"{why} after {said(keys)}", *end]))


def said(keys):
    """The command of a case, as a shell reads it."""
    return shlex.join(["run_recbole", *COMMON, *keys])


def values_of(run):
    """Everything of a run that must not change, as plain values by name, in the order of the files."""
    result = json.loads((run / "result.json").read_text("utf-8"))
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    values = dict(flat(result, "result"))
    values["epochs"] = len(epochs)
    for number, epoch in enumerate(epochs):
        values.update(flat(epoch, f"epoch[{number}]"))
    if (run / "ranks.npz").is_file():  # protocol recbole keeps none
        with np.load(run / "ranks.npz", allow_pickle=False) as arrays:
            values.update((f"ranks.{name}", digest(arrays[name])) for name in arrays.files)
    weights = torch.load(run / "model.pt", map_location="cpu", weights_only=True)["state_dict"]
    values.update((f"weights.{name}", digest_of_tensor(tensor)) for name, tensor in weights.items())
    return values


def flat(value, name):
    """Leaves of nested mappings and lists, each with its dotted name; keys of NOT_COMPARED are left out."""
    if isinstance(value, dict):
        for key, part in value.items():
            if not any(word in key for word in NOT_COMPARED):
                yield from flat(part, f"{name}.{key}")
    elif isinstance(value, list):
        yield f"{name}.length", len(value)
        for place, part in enumerate(value):
            yield from flat(part, f"{name}[{place}]")
    else:
        yield name, value


def digest(array):
    """Type, shape and SHA-256 of an array, so that one flipped bit shows."""
    return f"{array.dtype}{list(array.shape)} {sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"


def digest_of_tensor(tensor):
    """As `digest`; of bytes, because numpy has no bfloat16."""
    content = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{tensor.dtype}{list(tensor.shape)} {sha256(content).hexdigest()}"


def differences_of(before, after):
    """Lines `name: before, after` of the values that differ, in the order of `before`.

    Values are compared as JSON text: all digits of a float are in it, NaN equals NaN, and 1 is not 1.0.
    """
    lines = []
    for name in {**before, **after}:
        old, new = (json.dumps(side.get(name, "(missing)")) for side in (before, after))
        if old != new:
            lines.append(f"{name}: {old} before, {new} after")
    return lines


def report(name, trained):
    """Prints the line of a case, and returns its record for the file."""
    failures = {side: one.failure for side, one in trained.items() if one.failure}
    found = [] if failures else differences_of(*(trained[side].values for side in SIDES))
    seconds = " + ".join(f"{one.seconds:.0f}" for one in trained.values())
    if failures:
        print(f"{name}: failed {' and '.join(failures)} ({seconds} s)")
        for side, failure in failures.items():
            print(f"  {side}: " + failure.replace("\n", "\n    "))
    elif found:
        print(f"{name}: {found[0]} ({len(found)} of {len(trained['before'].values)} values differ, {seconds} s)")
    else:
        print(f"{name}: equal ({len(trained['before'].values)} values, {seconds} s)")
    sys.stdout.flush()
    return {"equal": not (failures or found), "differences": found, "failures": failures, "trained": trained}


def write(path, commits, compared):
    """Writes the numbers of both sides; equal cases are written once."""
    trained = [one for case in compared.values() for one in case["trained"].values()]
    facts = next((one.environment for one in trained if one.environment), {})
    cases = {}
    for name, case in compared.items():
        values = {side: case["trained"][side].values for side in SIDES}
        cases[name] = {
            "command": said(CASES[name]),
            "equal": case["equal"],
            "differences": case["differences"],
            "failures": case["failures"],
            "seconds": {side: case["trained"][side].seconds for side in SIDES},
            "values": values["before"] if case["equal"] else values,
        }
    facts = {key: facts.get(key) for key in ("python", "platform", "packages", "device", "cpu_count")}
    record = {"commits": commits, "environment": {**facts, "threads": 1}, "cases": cases}
    Path(path).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

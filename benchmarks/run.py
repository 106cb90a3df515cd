"""Compares this package with stock RecBole 1.2.1 on this machine; writes results/benchmarks.md.

    python benchmarks/run.py --data_path=../shared/datasets [--repeats=3] [NAME ...]

Each measurement runs in a separate process, so the operating system reports its peak memory. Both sides take turns, and
their medians are compared. results/benchmarks.json keeps all measurements.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from synthetic import write

from recbole_unirep.files.whole import write_json
from recbole_unirep.runs.environment import environment

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
BEAUTY = ["--dataset=amazon-beauty"]
DIN = ["--dataset=ml-100k", "--model=DIN"]  # scores only pairs
IDS = "--load_col={inter: [user_id, item_id, timestamp]}"
FIRST = ["--model=UniRep", f"--config_files={RESULTS / 'first_default.yaml'}"]  # a small model, softmax over all items
SHARE = [*FIRST, "--table_gradient_share=0.25"]
CATEGORIES = ["--item_attribute=categories"]
SHARED = [*FIRST, "--loss_type=SSM", "--shared_negatives=4096"]
SAMPLED = ["--loss_type=SSM", "--sparse_id_table=True"]
UNIREP = ["--model=UniRep"]
COUNTS = {"without": ["--transition_bias=0"], "with": []}  # transition counts in UniRep's steps and scores
COUNTED = ("ml-100k", "movielens-1m", "amazon-beauty")
BATCHES_OF_STOCK = [4096, 16384, 65536]  # its default eval_batch_size first

# Name of a synthetic dataset -> its numbers of users, items and interactions.
SYNTHETIC = {
    "made-1m": (50_000, 20_000, 1_000_000),
    "made-10m": (500_000, 100_000, 10_000_000),
    "made-items-12k": (50_000, 12_000, 2_000_000),
    "made-items-1m": (50_000, 1_000_000, 2_000_000),
    "made-1000-users": (1_000, 1_000_000, 1_010_000),
}

# Measure -> its script and arguments.
MEASURES = {
    "product": ["ours.py", "product"],
    "ours_train_sasrec": ["ours.py", "train", *BEAUTY, "--model=SASRec", "--repeats=1"],
    "ours_train_unirep": ["ours.py", "train", *BEAUTY, *FIRST, "--repeats=1"],
    "ours_train_unirep_bf16": ["ours.py", "train", *BEAUTY, *FIRST, "--enable_amp=True", "--repeats=1"],
    "ours_train_unirep_share": ["ours.py", "train", *BEAUTY, *SHARE, "--repeats=1"],
    "ours_train_unirep_ssm": ["ours.py", "train", *BEAUTY, *SHARED, "--repeats=1"],
    "stock_train_sasrec": ["stock.py", "train", *BEAUTY, "--batches=4"],
    "ours_pretrain_s3rec": ["ours.py", "pretrain", *BEAUTY, "--model=S3Rec", "--batches=4"],
    "stock_pretrain_s3rec": ["stock.py", "train", *BEAUTY, "--model=S3Rec", *CATEGORIES, "--batches=1"],
    "ours_evaluate": ["ours.py", "evaluate", *BEAUTY, "--repeats=1"],
    **{
        f"stock_evaluate_{size}": ["stock.py", "evaluate", *BEAUTY, "--users=240", f"--eval_batch_size={size}"]
        for size in BATCHES_OF_STOCK
    },
    "ours_evaluate_din": ["ours.py", "evaluate", *DIN, IDS, "--repeats=1"],
    "stock_evaluate_din": ["stock.py", "evaluate", *DIN, "--users=943", "--eval_batch_size=16384"],
    **{
        f"ours_{what}_{dataset}_{counts}_counts": ["ours.py", what, f"--dataset={dataset}", *UNIREP, *keys, *options]
        for dataset in COUNTED
        for counts, keys in COUNTS.items()
        for what, options in (("step", ["--steps=20"]), ("full", []))
    },
    "ours_build_beauty": ["ours.py", "build", *BEAUTY],
    "stock_build_beauty": ["stock.py", "build", *BEAUTY],
    "ours_build_1m": ["ours.py", "build", "--dataset=made-1m"],
    "stock_build_1m": ["stock.py", "build", "--dataset=made-1m", "--core=0"],
    "ours_build_10m": ["ours.py", "build", "--dataset=made-10m"],
    "ours_step_12k": ["ours.py", "step", "--dataset=made-items-12k", "--steps=30", *SAMPLED],
    "ours_step_1m": ["ours.py", "step", "--dataset=made-items-1m", "--steps=30", *SAMPLED],
    "ours_full_1m": ["ours.py", "full", "--dataset=made-1000-users"],
}
OURS_OF_UNIREP = {  # measure -> its settings, for the table
    "ours_train_unirep": "",
    "ours_train_unirep_share": ", gradient through a quarter of the items",
    "ours_train_unirep_bf16": ", bfloat16",
    "ours_train_unirep_ssm": ", SSM with 4,096 negatives",
}
BENCHMARKS = {
    "training": ["product", "ours_train_sasrec", "stock_train_sasrec", *OURS_OF_UNIREP],
    "pretraining": ["ours_pretrain_s3rec", "stock_pretrain_s3rec"],
    "evaluation": ["ours_evaluate", *(f"stock_evaluate_{size}" for size in BATCHES_OF_STOCK)],
    "counts": [
        f"ours_{what}_{dataset}_{counts}_counts"
        for dataset in COUNTED
        for what in ("step", "full")
        for counts in COUNTS
    ],
    "pairs": ["ours_evaluate_din", "stock_evaluate_din"],
    "build": ["ours_build_beauty", "stock_build_beauty", "ours_build_1m", "stock_build_1m", "ours_build_10m"],
    "scale": ["ours_step_12k", "ours_step_1m", "ours_full_1m"],
}


def main(arguments):
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    names = [argument for argument in arguments if not argument.startswith("--")] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown or "data_path" not in options:
        found = " ".join(arguments) or "no arguments"
        sys.exit(f"got {found}: give --data_path=FOLDER, and names of {', '.join(BENCHMARKS)}")
    kept = RESULTS / "benchmarks.json"
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            measures = BENCHMARKS[name]
            taken = {measure: [] for measure in measures}
            for _ in range(int(options.get("repeats", 3))):
                for measure in measures:
                    taken[measure].append(take(measure, Path(options["data_path"]).resolve(), Path(scratch)))
                    print(measure, json.dumps(taken[measure][-1]), flush=True)
            results[name] = {"environment": environment("cpu"), "measures": taken}
            write_json(kept, results)
    (RESULTS / "benchmarks.md").write_text(page(results), encoding="utf-8")


def take(measure, data_path, scratch):
    """Runs one measurement in a separate process and returns its numbers."""
    script, name, *options = MEASURES[measure]
    dataset = next((option.split("=")[1] for option in options if option.startswith("--dataset=")), None)
    if dataset in SYNTHETIC:
        data_path = scratch
        write(scratch, dataset, *SYNTHETIC[dataset])
    if dataset and dataset != "ml-100k":  # ml-100k is included in RecBole
        options.append(f"--data_path={data_path}")
    command = [sys.executable, HERE / script, name, *options]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=scratch)
    if answer.returncode:
        raise RuntimeError(f"{measure} failed: {answer.stderr.strip().splitlines()[-1:]}")
    return json.loads(answer.stdout.strip().splitlines()[-1])


def page(results):
    """Returns the results page (str)."""
    commit = {name: part["environment"]["commit"] for name, part in results.items()}
    found = {name: numbers for part in results.values() for name, numbers in part["measures"].items()}
    lines = [
        "# Benchmarks",
        "",
        "Written by `python benchmarks/run.py --data_path=FOLDER`. [benchmarks.json](benchmarks.json) has all "
        "measurements with their machine and versions. Numbers are medians; both sides took turns on the same machine, "
        "each measurement in its own process, in float32, stock RecBole with its own loaders and Trainer. Stock trains "
        "and evaluates only slices, extrapolated by targets or users per second.",
        "",
        f"Commits: {', '.join(f'{name} {sha}' for name, sha in commit.items())}.",
        "",
        "| measure | this package | stock RecBole | ratio | target |",
        "| --- | --- | --- | --- | --- |",
        *(row for name in ROWS if name in results for row in ROWS[name](found)),
        "",
    ]
    return "\n".join(lines)


def middle(found, measure, key="seconds"):
    return median(numbers[key] for numbers in found[measure])


def rate(found, measure, key):
    """Returns the median of targets, users, ... per second."""
    return median(numbers[key] / numbers["seconds"] for numbers in found[measure])


def gigabytes(found, measure):
    return f"{max(numbers['peak_bytes'] for numbers in found[measure]) / 1e9:.2f} GB"


def row(what, ours, stock="", ratio="", target=""):
    return f"| {what} | {ours} | {stock} | {ratio} | {target} |"


def training_rows(found):
    ours, stock = rate(found, "ours_train_sasrec", "targets"), rate(found, "stock_train_sasrec", "targets")
    what = "SASRec, softmax over all items, Beauty: targets per second"
    yield row(what, f"{ours:,.0f}", f"{stock:,.0f}", f"{ours / stock:.1f}", "20")
    yield row("the same, peak memory", *(gigabytes(found, f"{side}_train_sasrec") for side in ("ours", "stock")))
    peak = median(numbers["flops_per_second"] for numbers in found["product"])
    for name in ("SASRec", "UniRep"):
        measure = f"ours_train_{name.lower()}"
        limit, seconds = middle(found, measure, "flops") / peak, middle(found, measure)
        what = f"{name}'s epoch compared with the arithmetic limit of {limit:.1f} s"
        yield row(what, f"{seconds:.1f} s", "", f"{seconds / limit:.2f}")
    sasrec = middle(found, "ours_train_sasrec")
    for measure, how in OURS_OF_UNIREP.items():
        unirep = middle(found, measure)
        what = f"UniRep's epoch compared with SASRec's (softmax over all items), both ours{how}"
        yield row(what, f"{unirep:.1f} s", "", f"{unirep / sasrec:.2f}", "at most 2")


def pretraining_rows(found):
    names = ("ours_pretrain_s3rec", "stock_pretrain_s3rec")
    ours, stock = (rate(found, name, "targets") for name in names)
    attributes = [found[name][0]["attributes"] for name in names]
    what = "S3Rec, pre-training, Beauty: sequences per second"
    yield row(
        f"{what} ({attributes[0]} attributes, stock {attributes[1]})",
        f"{ours:,.0f}",
        f"{stock:,.0f}",
        f"{ours / stock:.1f}",
    )
    yield row(
        "the same, time per epoch",
        *(f"{found[name][0]['targets_of_an_epoch'] / rate(found, name, 'targets'):,.0f} s" for name in names),
    )
    yield row("the same, peak memory", *(gigabytes(found, name) for name in names))


def evaluation_rows(found):
    users, ours = found["ours_evaluate"][0]["users"], middle(found, "ours_evaluate")
    memory = gigabytes(found, "ours_evaluate")
    best = max(BATCHES_OF_STOCK, key=lambda size: rate(found, f"stock_evaluate_{size}", "users"))
    for size in BATCHES_OF_STOCK:
        measure = f"stock_evaluate_{size}"
        stock = users / rate(found, measure, "users")
        what = f"99 candidates, {users:,} users, stock at eval_batch_size {size:,}"
        theirs = f"{stock:,.0f} s, {gigabytes(found, measure)}"
        yield row(what, f"{ours:.1f} s, {memory}", theirs, f"{stock / ours:.0f}", "50" if size == best else "")
    yield row("the same, with candidates drawn before", f"{middle(found, 'ours_evaluate', 'seconds_again'):.1f} s")


def counts_rows(found):
    for dataset in COUNTED:
        for what, name, limit in (("step", "training step", "at most 1.3"), ("full", "ranking of the test users", "")):
            without, counted = (middle(found, f"ours_{what}_{dataset}_{counts}_counts") for counts in COUNTS)
            label = f"UniRep's {name} on {dataset}, with transition counts compared with none ({without:.3f} s)"
            yield row(label, f"{counted:.3f} s", "", f"{counted / without:.2f}", limit)


def pairs_rows(found):
    ours, stock = (rate(found, f"{side}_evaluate_din", "users") for side in ("ours", "stock"))
    what = "99 candidates, a model without full_sort_predict (DIN, ml-100k): users per second"
    yield row(what, f"{ours:,.0f}", f"{stock:,.0f}", f"{ours / stock:.2f}")


def build_rows(found):
    for name, what in (("beauty", "Beauty"), ("1m", "1 M interactions")):
        ours, stock = (middle(found, f"{side}_build_{name}") for side in ("ours", "stock"))
        memory = [gigabytes(found, f"{side}_build_{name}") for side in ("ours", "stock")]
        sides = (f"{ours:.1f} s, {memory[0]}", f"{stock:.1f} s, {memory[1]}")
        yield row(f"dataset build, {what}", *sides, f"{stock / ours:.1f}", "10")
    ours = f"{middle(found, 'ours_build_10m'):.1f} s, {gigabytes(found, 'ours_build_10m')}"
    yield row("dataset build, 10 M interactions", ours, target="under 2 GB")


def scale_rows(found):
    small, large = middle(found, "ours_step_12k"), middle(found, "ours_step_1m")
    what = f"step of 256 users with sampled softmax, 1 M items compared with 12 k ({small:.3f} s)"
    yield row(what, f"{large:.3f} s", "", f"{large / small:.2f}", "at most 1.5")
    ours = f"{middle(found, 'ours_full_1m'):.1f} s, {gigabytes(found, 'ours_full_1m')}"
    yield row("full ranking of 1,000 users over 1 M items", ours, target="under 2 GB")


ROWS = {
    "training": training_rows,
    "pretraining": pretraining_rows,
    "evaluation": evaluation_rows,
    "counts": counts_rows,
    "pairs": pairs_rows,
    "build": build_rows,
    "scale": scale_rows,
}

if __name__ == "__main__":
    main(sys.argv[1:])

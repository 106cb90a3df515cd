"""Measures recommending at scale on this machine; writes results/recommend_benchmarks.md.

    python benchmarks/recommend.py [--n_items=1000000] [--n_users=1000000] [--slice=1024] [--long_slice=4608]
        [--hnsw_slice=32768]

Each measurement runs in a separate process, with all items and all users' histories; a slice of the users gets
recommendations.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from recbole_unirep.files.whole import write_json
from recbole_unirep.runs.environment import environment

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
NAMES = {
    "exact": "exact, by blocks of the catalogue",
    "faiss": "exact, faiss' flat index of inner products",
    "hnsw": "faiss' HNSW (M 32, efConstruction 40, efSearch 128)",
}


def main(arguments):
    options = {"n_items": "1000000", "n_users": "1000000", "slice": "1024", "long_slice": "4608", "hnsw_slice": "32768"}
    options.update(argument[2:].split("=", 1) for argument in arguments)
    measures = []
    with tempfile.TemporaryDirectory() as scratch:
        for side, key in (("exact", "slice"), ("exact", "long_slice"), ("faiss", "slice"), ("hnsw", "hnsw_slice")):
            measures.append({"side": side, **take(side, options, options[key], Path(scratch) / f"{side}.npz")})
            print(json.dumps(measures[-1]), flush=True)
        best = np.load(Path(scratch) / "exact.npz")["items"]
        for measure in measures:
            found = np.load(Path(scratch) / f"{measure['side']}.npz")["items"]
            shares = [len({*a} & {*b}) / len(b) for a, b in zip(found.tolist(), best.tolist())]
            measure["recall"], measure["n_compared"] = float(np.mean(shares)), len(shares)
            measure["same_lists"] = bool((found == best).all())
    command = " ".join(["python benchmarks/recommend.py", *arguments])
    results = {"command": command, "environment": environment("cpu"), "measures": measures}
    results["environment"]["omp_num_threads"] = os.environ.get("OMP_NUM_THREADS")
    write_json(RESULTS / "recommend_benchmarks.json", results)
    (RESULTS / "recommend_benchmarks.md").write_text(page(results), encoding="utf-8")


def take(side, options, n_asked, out):
    """Runs one measurement in a separate process and returns its numbers."""
    keys = [f"--{key}={options[key]}" for key in ("n_items", "n_users")]
    command = [sys.executable, HERE / "recommend_side.py", side, *keys, f"--n_asked={n_asked}", f"--out={out}"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(f"{side} failed: {answer.stderr.strip().splitlines()[-1:]}")
    return json.loads(answer.stdout.strip().splitlines()[-1])


def page(results):
    """Returns the results page (str)."""
    measures, threads = results["measures"], results["environment"]["omp_num_threads"] or "all"
    one = measures[0]
    lines = [
        "# Recommending at scale",
        "",
        f"Written by `{results['command']}` (OMP_NUM_THREADS: {threads}). "
        "[recommend_benchmarks.json](recommend_benchmarks.json) has all measurements, the machine and its versions, "
        f"commit {results['environment']['commit']}.",
        "",
        f"The 10 best unseen items among {one['n_items']:,} (synthetic vectors of 64 numbers around 1,000 centres) for "
        f"a slice of {one['n_users']:,} users with a history of 8 items each, written to a parquet file by "
        "`Recommender.write`. Initial memory: vectors, histories and tokens of all items and users. Memory growth: how "
        "much the process grew while it recommended and wrote, without the index, sampled every 2 ms. Other work ran "
        "on the machine.",
        "",
        "| method | users | index built in | time per user | extrapolated to a million users | initial memory | index "
        "memory | memory growth | recall@10 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for measure in measures:
        pace = measure["seconds"] / measure["n_asked"]
        sizes = [measure[name] for name in ("bytes_of_run", "bytes_of_index", "more_bytes")]
        built = f"{measure['seconds_to_load']:.1f} s" if measure["side"] != "exact" else ""
        lines.append(
            f"| {NAMES[measure['side']]} | {measure['n_asked']:,} | {built} | {1000 * pace:.2f} ms | "
            f"{1e6 * pace / 3600:.1f} h | {' | '.join(f'{size / 1e9:.2f} GB' for size in sizes)} | "
            f"{measure['recall']:.4f} |"
        )
    same = all(measure["same_lists"] for measure in measures if measure["side"] == "faiss")
    lines += [
        "",
        f"Recall: mean over the first {one['n_compared']} users, against exact ranking. The flat index gives "
        f"{'the same lists in the same order as' if same else 'other lists than'} exact ranking by blocks.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])

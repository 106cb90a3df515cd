"""Compares ways to find the best semantic IDs on this machine; writes results/decoding_benchmarks.md.

    python benchmarks/decoding.py --data_path=../shared/datasets [--repeats=3] [--n_users=64] [--num_beams=20,50]

Each measurement runs in a separate process; the sides take turns, and their medians are compared. The script checks
that all sides find the same IDs with the same likelihoods. Each form of the model is measured with batches of 16 users,
with all histories and with full histories only, and with one user at a time for the first number of beams.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from recbole_unirep.files.whole import write_json
from recbole_unirep.runs.environment import environment

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
FORMS = {"encoder_decoder": "encoder and decoder", "decoder_only": "decoder only"}
SIDES = {
    "ours": "the trie of this package",
    "huggingface": "Hugging Face `generate`, `prefix_allowed_tokens_fn`",
    "all_items": "every prefix compared with all items",
}


def main(arguments):
    options = {"repeats": "3", "n_users": "64", "num_beams": "20,50"}
    options.update(argument[2:].split("=", 1) for argument in arguments)
    if "data_path" not in options:
        sys.exit(f"got {' '.join(arguments) or 'no arguments'}: give --data_path=FOLDER")
    beams, where = options["num_beams"].split(","), environment("cpu")  # before results change the checkout
    cases = [("all", 16, n_beams) for n_beams in beams] + [("full", 16, n_beams) for n_beams in beams]
    cases.append(("all", 1, beams[0]))
    comparisons = [
        measure(form, *case, case == cases[0], {key: options[key] for key in ("data_path", "n_users", "repeats")})
        for form in FORMS
        for case in cases
    ]
    command = f"python benchmarks/decoding.py {' '.join(arguments)}"
    results = {"command": command, "environment": where, "comparisons": comparisons}
    write_json(RESULTS / "decoding_benchmarks.json", results)
    (RESULTS / "decoding_benchmarks.md").write_text(page(results), encoding="utf-8")


def measure(form, histories, users_at_once, n_beams, with_all_items, options):
    """Measures all sides in one case and how far they agree; all_items, the slowest, only if requested."""
    taken = {side: [] for side in SIDES if with_all_items or side != "all_items"}
    case = {"form": form, "histories": histories, "users_at_once": users_at_once}
    repeats, keys = int(options.pop("repeats")), options | case | {"num_beams": n_beams}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(repeats):
            for side in taken:
                taken[side].append(take(side, keys, Path(scratch) / f"{side}.npz"))
                print(form, side, json.dumps(taken[side][-1]), flush=True)
        return case | {"agreement": compare(Path(scratch), list(taken)), "measures": taken}


def take(side, keys, out):
    """Runs one measurement in a separate process and returns its numbers."""
    options = [f"--{key}={value}" for key, value in keys.items()]
    command = [sys.executable, HERE / "decoding_side.py", side, f"--out={out}", *options]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(f"{side} failed: {answer.stderr.strip().splitlines()[-1:]}")
    return json.loads(answer.stdout.strip().splitlines()[-1])


def compare(folder, sides):
    """Returns each side's fraction of users with the same set of beams as ours, and its largest likelihood difference.

    Raises:
        RuntimeError: the sides do not do the same work: they agree for less than 99 % of the users.
    """
    ours, agreement = np.load(folder / "ours.npz"), {}
    for side in sides[1:]:
        theirs = np.load(folder / f"{side}.npz")
        same = [set(map(tuple, a)) == set(map(tuple, b)) for a, b in zip(ours["ids"], theirs["ids"])]
        agreement[side] = {
            "same_beams": float(np.mean(same)),
            "largest_difference": float(np.abs(ours["scores"] - theirs["scores"]).max()),
        }
        if agreement[side]["same_beams"] < 0.99:
            raise RuntimeError(f"{side} finds other IDs than ours for {1 - np.mean(same):.0%} of the users")
    return agreement


def page(results):
    """Returns the results page (str)."""
    measures = results["comparisons"][0]["measures"]
    one = measures["ours"][0]
    lines = [
        "# Decoders, side by side",
        "",
        f"Written by `{results['command']}`. [decoding_benchmarks.json](decoding_benchmarks.json) has all "
        f"measurements, the machine and its versions, commit {results['environment']['commit']}.",
        "",
        "The task is to find the best semantic IDs for users of Amazon Beauty among those of "
        f"{one['n_items']:,} items ({one['n_levels']} codes each). All sides use a T5 of TIGER's size with the same "
        "weights, and read the history within the measured time. Medians of "
        f"{len(measures['ours'])}; the sides took turns, each in its own process with the same number of threads. "
        "Memory growth: how much the process grew in a first pass over the users, sampled every 2 ms. Time: that of a "
        "second pass.",
        "",
        "| model | mean items per history | users at once | beams | method | time per user | ratio | memory growth | "
        "users with the same beams | largest likelihood difference |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for comparison in results["comparisons"]:
        lines += rows(comparison)
    return "\n".join([*lines, ""])


def rows(comparison):
    """Returns the lines of the page's table, one per side."""
    measures, lines = comparison["measures"], []
    ours = median(numbers["seconds"] for numbers in measures["ours"])
    for side, taken in measures.items():
        seconds = median(numbers["seconds"] for numbers in taken)
        more = median(numbers["more_bytes"] for numbers in taken)
        same = comparison["agreement"].get(side)
        shares = f"{same['same_beams']:.1%} | {same['largest_difference']:.0e}" if same else " | "
        lines.append(
            f"| {FORMS[comparison['form']]} | {taken[0]['mean_history']:.0f} | {comparison['users_at_once']} | "
            f"{taken[0]['n_beams']} | {SIDES[side]} | "
            f"{1000 * seconds / taken[0]['n_users']:.1f} ms | {seconds / ours:.1f} | {more / 1e6:.0f} MB | {shares} |"
        )
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])

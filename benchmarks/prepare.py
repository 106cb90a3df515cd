"""Measures `unirep prepare` and `unirep validate` at scale; writes results/prepare_benchmarks.md.

    python benchmarks/prepare.py [--scratch=FOLDER] [REVIEWS ...]

For each number of reviews (default 50000000) the script makes gzipped files in the form of Amazon's of 2023, and
removes them afterwards: 50 million take 3 GB, and 8 GB more while they are prepared. Activity is as skewed as in a
shop, and one line in a million is truncated. The operating system reports seconds and peak memory of each command's
process. A process starts with its parent's peak memory, so this one stays small: it writes the files in another
process.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np

RESULTS = Path(__file__).resolve().parent.parent / "results"
COMMAND = [sys.executable, "-c", "import sys; from recbole_unirep.cli import unirep; sys.exit(unirep())"]
ENVIRONMENT = (
    "import json; from recbole_unirep.runs.environment import environment; print(json.dumps(environment('cpu')))"
)
ROWS_AT_ONCE = 1_000_000
FILES = ("reviews.jsonl.gz", "meta.jsonl.gz")
WORDS = ["soft", "light", "clean", "good", "old", "small", "fast", "strong", "plain", "warm", "great", "little"]


def main(arguments):
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    if "write" in options:
        write(Path(options["write"]), int(arguments[-1]))
        return
    sizes = [int(argument) for argument in arguments if not argument.startswith("--")] or [50_000_000]
    kept = RESULTS / "prepare_benchmarks.json"
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for n_reviews in sizes:
        with tempfile.TemporaryDirectory(dir=options.get("scratch")) as scratch:
            for found in measure(Path(scratch), n_reviews):
                results[str(n_reviews)] = found
                kept.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
                (RESULTS / "prepare_benchmarks.md").write_text(page(results), encoding="utf-8")


def measure(scratch, n_reviews):
    """Measures one size; yields its numbers so far after each command."""
    subprocess.run([sys.executable, __file__, f"--write={scratch}", str(n_reviews)], check=True)
    reviews, metadata = (scratch / name for name in FILES)
    sizes = {file.name: file.stat().st_size for file in (reviews, metadata)}
    print(n_reviews, json.dumps(sizes), flush=True)
    data_path = f"--data_path={scratch / 'data'}"
    commands = {
        "prepare": ["prepare", "--dataset=made", f"--reviews={reviews}", f"--metadata={metadata}", data_path],
        "validate": ["validate", "made", data_path],
    }
    found, folder = {"raw_bytes": sizes, "measures": {}}, scratch / "data" / "made"
    for name, command in commands.items():
        shown = ["unirep", *(word.replace(str(scratch), "FOLDER") for word in command)]
        found["measures"][name] = {"command": shown, **run(command)}
        print(name, json.dumps(found["measures"][name]), flush=True)
        if name == "prepare":
            record = json.loads((folder / "made.manifest.json").read_text(encoding="utf-8"))
            found.update(counts=record["counts"], sources=record["sources"])
            found["made_bytes"] = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
        machine = [sys.executable, "-c", ENVIRONMENT]  # imports torch, whose memory would count as the commands'
        answer = subprocess.run(machine, capture_output=True, text=True, check=True).stdout
        ours = {"command": ["prepare.py", str(n_reviews)], "duckdb": version("duckdb")}
        yield {"environment": {**json.loads(answer), **ours}, **found}


def run(command):
    """Seconds and peak memory of a command."""
    started = perf_counter()
    process = subprocess.Popen([*COMMAND, *command])
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(command)} failed")
    unit = 1 if sys.platform == "darwin" else 1024
    seconds = perf_counter() - started
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": usage.ru_maxrss * unit}


def write(folder, n_reviews):
    """Writes the raw files of one size."""
    n_users, n_items = n_reviews // 5, n_reviews // 50
    write_reviews(folder / FILES[0], n_reviews, n_users, n_items)
    write_metadata(folder / FILES[1], n_items)


def write_reviews(file, n_reviews, n_users, n_items):
    """Writes reviews in the form of 2023, not in time order."""
    draw = np.random.default_rng(0)
    with gzip.open(file, "wt", compresslevel=1, encoding="utf-8") as out:
        for start in range(0, n_reviews, ROWS_AT_ONCE):
            n = min(ROWS_AT_ONCE, n_reviews - start)
            users = (draw.random(n) ** 2 * n_users).astype(np.int64).tolist()
            items = (draw.random(n) ** 3 * n_items).astype(np.int64).tolist()
            times = draw.integers(1_300_000_000_000, 1_690_000_000_000, n).tolist()
            stars, words = draw.integers(1, 6, n).tolist(), draw.integers(0, len(WORDS), (n, 6)).tolist()
            lines = [
                f'{{"rating": {star}.0, "title": "{WORDS[word[0]]}", "text": "{" ".join(WORDS[w] for w in word)}", '
                f'"images": [], "asin": "{item_token(item)}", "parent_asin": "{item_token(item)}", '
                f'"user_id": "{user_token(user)}", "timestamp": {time}, "helpful_vote": 0, '
                f'"verified_purchase": true}}\n'
                for user, item, time, star, word in zip(users, items, times, stars, words)
            ]
            lines[-1] = lines[-1][:60] + "\n"
            out.writelines(lines)


def write_metadata(file, n_items):
    """Writes metadata in the form of 2023, for nine items in ten."""
    with gzip.open(file, "wt", compresslevel=1, encoding="utf-8") as out:
        for item in range(n_items):
            if item % 10:
                kind = WORDS[item % len(WORDS)]
                record = {
                    "main_category": "All Beauty",
                    "title": f"{kind} thing number {item}",
                    "price": f"{item % 90}.99" if item % 3 else None,
                    "description": [f"A {kind} thing.", "It does what things do, " * 8],
                    "store": f"Shop {item % 5_000}",
                    "categories": ["Beauty", kind, f"kind {item % 300}"],
                    "parent_asin": item_token(item),
                }
                out.write(json.dumps(record) + "\n")


def user_token(user):
    """Returns a token of 28 characters, as Amazon's of 2023."""
    return f"A{user * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF:016X}{user:011d}"


def item_token(item):
    """Returns a token of 10 characters, as Amazon's."""
    return f"B{item:09d}"


def page(results):
    """Returns the results page (str)."""
    lines = [
        "# Preparing data",
        "",
        "Written by `python benchmarks/prepare.py REVIEWS ..`. [prepare_benchmarks.json](prepare_benchmarks.json) has "
        "all measurements with their machine and versions. The input is synthetic reviews and metadata in the form of "
        "Amazon's gzipped files of 2023; the options are the defaults, 5-core and the first of duplicates. The table "
        "shows wall-clock time on a machine that trained models meanwhile, processor time, and peak resident memory of "
        "each command's process.",
        "",
        "| reviews | gzipped | left after 5-core | prepare | processor time | peak memory | validate | peak memory |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for n_reviews, found in sorted(results.items(), key=lambda result: int(result[0])):
        prepare, validate = (found["measures"].get(name) for name in ("prepare", "validate"))
        checked = f"{validate['seconds']:,.0f} s | {validate['peak_bytes'] / 1e9:.2f} GB" if validate else "not run | "
        lines.append(
            f"| {int(n_reviews):,} | {sum(found['raw_bytes'].values()) / 1e9:.2f} GB | "
            f"{found['counts']['interactions']:,} | {prepare['seconds']:,.0f} s | "
            f"{prepare['cpu_seconds']:,.0f} s | {prepare['peak_bytes'] / 1e9:.2f} GB | "
            f"{checked} |"
        )
    lines += ["", "Commits and commands:", ""]
    for n_reviews, found in sorted(results.items(), key=lambda result: int(result[0])):
        machine, command = found["environment"], " ".join(found["measures"]["prepare"]["command"])
        lines.append(
            f"- {int(n_reviews):,}: commit {machine['commit']}, {machine['cpu_count']} cores, "
            f"Python {machine['python']}, duckdb {machine['duckdb']}: `{command}`"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(sys.argv[1:])

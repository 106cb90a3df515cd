"""Compares tokenizers on this machine; writes results/tokenizer_benchmarks.md.

    python benchmarks/quantizers.py --data_path=../shared/datasets [--repeats=3] [--peers=FOLDER] [beauty|million ...]

The other sides are faiss (installed with this package) and vector-quantize-pytorch 1.32.0 (`pip install
vector-quantize-pytorch`). --peers names a folder with checkouts of EdoardoBotta/RQ-VAE-Recommender and
snap-research/GRID, whose training steps are then compared too (GRID needs `pip install lightning omegaconf hydra-core
rootutils`). Each measurement runs in a separate process; the sides take turns, and their medians are compared. Smaller
parts of the million vectors are encoded as well, to show whether memory grows with the number of vectors.
"""

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np

from recbole_unirep.files.whole import write_json
from recbole_unirep.runs.environment import environment

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
QUANTIZERS = {  # side -> its name in the table
    "rqkmeans": "RQKMeans",
    "rqkmeans_unrefined": "RQKMeans, refinement_rounds 0",
    "faiss_rq_beam_1": "faiss ResidualQuantizer, beam 1",
    "faiss_rq_beam_5": "faiss ResidualQuantizer, beam 5",
    "residualvq": "vector-quantize-pytorch ResidualVQ",
    "pq": "PQ",
    "faiss_pq": "faiss ProductQuantizer",
}
TRAINERS = {"rqvae": "RQVAE", "rqvae_botta": "RQ-VAE-Recommender", "rqvae_grid": "GRID"}
N_MILLION, ROWS_AT_ONCE = 1_000_000, 50_000
FEWER = (100_000, 300_000)  # parts of the million, to measure the memory of encoding


def main(arguments):
    options = dict(argument[2:].split("=", 1) for argument in arguments if argument.startswith("--"))
    names = [argument for argument in arguments if not argument.startswith("--")] or ["beauty", "million"]
    if "data_path" not in options or set(names) - {"beauty", "million"}:
        sys.exit(f"got {' '.join(arguments) or 'no arguments'}: give --data_path=FOLDER, and names of beauty, million")
    beauty = Path(options["data_path"]).resolve() / "amazon-beauty" / "amazon-beauty.minilm.npy"
    kept = RESULTS / "tokenizer_benchmarks.json"
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    where = environment("cpu")  # before results change the checkout
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            vectors = beauty if name == "beauty" else write_million(beauty, Path(scratch) / "million.npy")
            sides = [side for side in QUANTIZERS if side != "residualvq" or find_spec("vector_quantize_pytorch")]
            if name == "beauty":
                sides += TRAINERS if "peers" in options else ["rqvae"]
            taken = {side: [] for side in sides}
            for _ in range(int(options.get("repeats", 3))):
                for side in sides:
                    taken[side].append(take(side, vectors, options.get("peers", "")))
                    print(name, side, json.dumps(taken[side][-1]), flush=True)
            results[name] = {"environment": where, "measures": taken}
            if name == "million":
                results[name]["fewer"] = [take("rqkmeans_unrefined", vectors, rows=rows) for rows in FEWER]
            write_json(kept, results)
    (RESULTS / "tokenizer_benchmarks.md").write_text(page(results), encoding="utf-8")


def write_million(beauty, file):
    """Writes a million vectors of 768 dimensions: two random real ones concatenated, plus a tenth of noise."""
    real, draw = np.load(beauty).astype(np.float32), np.random.default_rng(0)
    made = np.lib.format.open_memmap(file, "w+", np.float32, (N_MILLION, 2 * real.shape[1]))
    for start in range(0, N_MILLION, ROWS_AT_ONCE):
        pair = real[draw.integers(0, len(real), (ROWS_AT_ONCE, 2))].reshape(ROWS_AT_ONCE, -1)
        noise = draw.standard_normal(pair.shape, dtype=np.float32) * real.std(axis=0).mean() / 10
        made[start : start + ROWS_AT_ONCE] = pair + noise
    made.flush()
    return file


def take(side, vectors, peers="", rows=0):
    """Runs one measurement in a separate process, over the first `rows` vectors (0: all), and returns its numbers."""
    command = [sys.executable, HERE / "quantizer_side.py", side]
    command += [f"--vectors={vectors}", f"--peers={peers}", f"--rows={rows}"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(f"{side} failed: {answer.stderr.strip().splitlines()[-1:]}")
    return json.loads(answer.stdout.strip().splitlines()[-1])


def page(results):
    """Returns the results page (str)."""
    lines = [
        "# Tokenizers, side by side",
        "",
        "Written by `python benchmarks/quantizers.py --data_path=FOLDER`. "
        "[tokenizer_benchmarks.json](tokenizer_benchmarks.json) has all measurements with their machine and versions. "
        "All sides have 4 levels (or parts) of 256 codes and are fitted on the same rows, at most 65,536. Numbers are "
        "medians; the sides took turns, each in its own process, which reads the memory-mapped file in parts. "
        "Distortion: mean squared error divided by the variance.",
    ]
    for name, found in results.items():
        measures = found["measures"]
        rows = next(iter(measures.values()))[0]["rows"]
        n_turns = len(next(iter(measures.values())))
        turns = "one turn" if n_turns == 1 else f"{n_turns} turns"
        lines += ["", f"## {name}: {rows:,} vectors, {turns}, commit {found['environment']['commit']}", ""]
        lines += ["| tokenizer | fit | encode | distortion | peak memory |", "| --- | ---: | ---: | ---: | ---: |"]
        for side in filter(measures.__contains__, QUANTIZERS):
            fit, encode, distortion, peak = (
                median(numbers[key] for numbers in measures[side])
                for key in ("fit_seconds", "encode_seconds", "distortion", "peak_bytes")
            )
            lines.append(
                f"| {QUANTIZERS[side]} | {fit:.1f} s | {encode:.2f} s | {distortion:.4f} | {peak / 1e9:.2f} GB |"
            )
        if "fewer" in found:
            parts = [*found["fewer"], measures["rqkmeans_unrefined"][0]]
            held = ", ".join(f"{part['encode_bytes'] / 1e9:.2f} GB for {part['rows']:,}" for part in parts)
            lines += ["", f"Memory growth during encoding (RQKMeans), without the mapped file's pages: {held} vectors."]
        trained = [side for side in TRAINERS if side in measures]
        if trained:
            lines += ["", "| RQ-VAE, batches of 256 | time per epoch | peak memory |", "| --- | ---: | ---: |"]
        for side in trained:
            seconds = median(numbers["seconds_of_an_epoch"] for numbers in measures[side])
            peak = max(numbers["peak_bytes"] for numbers in measures[side])
            lines.append(f"| {TRAINERS[side]} | {seconds:.2f} s | {peak / 1e9:.2f} GB |")
        if "rqvae_grid" in trained:
            lines += [
                "",
                "GRID: its modules as configured by its `rqvae_train_flat.yaml`, in Lightning's trainer, with batches "
                "from memory and without its statistics per step. The command of its README does not start at commit "
                "63e19a8: the yaml names a `NormalizeLayer` that does not exist (left out, as on the other sides), and "
                "a function that only its Gumbel mode calls cannot be imported (replaced by a stub).",
            ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(sys.argv[1:])

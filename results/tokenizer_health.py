"""Measures the health of Amazon Beauty's semantic IDs by every tokenizer, and the cost of policies for collisions.

    python results/tokenizer_health.py --data_path=../shared/datasets

Makes each bundle with `unirep tokenize`, inspects it with `unirep inspect`, keeps what they found in
results/tokenizer_health.json, and writes results/tokenizer_health.md. A row with the same command in the JSON file is
not made again: remove it there to do so. The rows are those of results/studies/beauty_tokenizers.yaml, and RQVAE
without moving dead codes.
"""

import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from recbole_unirep.files.whole import write_json
from recbole_unirep.runs.environment import environment

HERE = Path(__file__).resolve().parent
LONG, SHORT = {"n_levels": 32, "codebook_size": 16}, {"n_levels": 3, "codebook_size": 256}
TOKENIZERS = {  # row -> tokenizer and its settings
    "RQVAE 32x16": ("RQVAE", LONG),
    "RQVAE 32x16, dead codes left": ("RQVAE", {**LONG, "fit_dead_code_steps": 0}),
    "RQKMeans 32x16": ("RQKMeans", LONG),
    "BalancedRQKMeans 32x16": ("BalancedRQKMeans", LONG),
    "RVQ 32x16": ("RVQ", {**LONG, "level_metrics": "[euclidean]"}),
    "PQ 32x16": ("PQ", LONG),
    "OPQ 32x16": ("OPQ", LONG),
    "Fused 32x16": ("Fused", LONG),
    "RandomIDs 32x16": ("RandomIDs", LONG),
    "RQVAE 3x256": ("RQVAE", SHORT),
    "RQVAE 3x256, dead codes left": ("RQVAE", {**SHORT, "fit_dead_code_steps": 0}),
    "RQKMeans 3x256": ("RQKMeans", SHORT),
    "Fused 3x256": ("Fused", SHORT),
    "MBGen 3x256": ("MBGen", {"codebook_size": 256}),
    "LETTER 4x256": ("LETTER", {"n_levels": 4, "codebook_size": 256}),
    "VQ 512": ("VQ", {"codebook_size": 512}),
    "HierarchicalKMeans 4x32": ("HierarchicalKMeans", {"n_levels": 4, "codebook_size": 32}),
    "ItemIDTokens base 256": ("ItemIDTokens", {"codebook_size": 256}),
    "CategoricalIDs": ("CategoricalIDs", {"id_columns": "[categories, brand]"}),
    "KeywordIDs 4x4096": ("KeywordIDs", {"n_levels": 4, "codebook_size": 4096}),
}
POLICIES = ("leave", "append", "nearest_free", "sinkhorn", "balanced")


def main(arguments):
    if len(arguments) != 1 or not arguments[0].startswith("--data_path="):
        sys.exit(f"got {' '.join(arguments) or 'no arguments'}: give --data_path=FOLDER")
    rows = {label: (*row, "leave") for label, row in TOKENIZERS.items()}
    rows |= {f"RQKMeans 3x256, {policy}": ("RQKMeans", SHORT, policy) for policy in POLICIES[1:]}
    file = HERE / "tokenizer_health.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    at_start = environment("cpu")  # before the first row changes a file of the checkout
    for label, (tokenizer, settings, policy) in rows.items():
        command = ["unirep", "tokenize", "--dataset=amazon-beauty", "--text_encoder=minilm"]
        settings = {"tokenizer": tokenizer, **settings, "collisions": policy}
        command += [f"--{key}={value}" for key, value in settings.items()]
        if found.get(label, {}).get("command") != shlex.join(command):
            found[label] = {**inspect(command, arguments[0]), "environment": at_start}
            write_json(file, found)
            print(label, flush=True)
    (HERE / "tokenizer_health.md").write_text(page(found), encoding="utf-8", newline="\n")


def inspect(command, data_path):
    """Returns the command, the collisions from its bundle.json, and the report of `unirep inspect` (dict)."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        subprocess.run([*command, data_path, f"--out={bundle}"], check=True, capture_output=True)
        inspected = subprocess.run(["unirep", "inspect", bundle, data_path], capture_output=True, text=True)
        if inspected.returncode not in (0, 1):  # 1 means that the codes are not healthy
            raise RuntimeError(f"unirep inspect failed: {inspected.stderr.strip()}")
        inspection = json.loads((bundle / "inspection" / "inspection.json").read_text(encoding="utf-8"))
        record = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    return {"command": shlex.join(command), "collisions": record["collisions"], "inspection": inspection}


def page(found):
    """Returns the page with all rows (str)."""
    lines = [
        "# Semantic IDs of Amazon Beauty: health and collisions",
        "",
        "Written by `python results/tokenizer_health.py --data_path=FOLDER`; each row's command, commit and environment"
        ", and the numbers per level, are in [tokenizer_health.json](tokenizer_health.json). 12,101 items, sentence "
        "vectors of all-MiniLM-L6-v2. RQVAE and LETTER are fitted alone here, as `unirep tokenize` does; [the table of "
        "the study](studies/beauty_tokenizers/report.md) has RQVAE's codes after training with a recommender.",
        "",
        "Dead codes: codes of all levels that no item has. Perplexity: the lowest of a level, divided by its number of "
        "codes. Distinct IDs per item: 1 without collisions. Sharing items: share of the items whose ID another item "
        "has. Distortion: mean squared error of the whole ID divided by the variance of the vectors, of the encoder's "
        "vectors for RQVAE and MBGen (empty if the tokenizer decodes no vectors, or joins collaborative ones). Purity: "
        "share of the items with the most frequent category of their first code, and the same with shuffled "
        "categories. Unhealthy: what `unirep inspect` fails for.",
        "",
        "| tokenizer | dead codes | perplexity | distinct IDs per item | sharing items | distortion | purity, by "
        "chance | unhealthy |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for label in TOKENIZERS:
        lines.append(f"| {label} | {' | '.join(cells(found[label]['inspection']))} |")
    lines += [
        "",
        "## Policies for collisions: RQKMeans 3x256, all from the same codes",
        "",
        "| policy | items changed | distinct IDs per item | sharing items | distortion |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for policy in POLICIES:
        label = "RQKMeans 3x256" if policy == "leave" else f"RQKMeans 3x256, {policy}"
        cost = found[label]["collisions"]
        coverage, rate, distortion = (cost[key][-1] for key in ("unique_item_coverage", "collision_rate", "distortion"))
        lines.append(f"| {policy} | {cost['changed_items']:,} | {coverage:.4f} | {rate:.4f} | {distortion:.4f} |")
    return "\n".join([*lines, ""])


def cells(inspection):
    """Returns the cells of a row after its name (list of str)."""
    levels, purity = inspection["levels"], inspection["purity"]["category"][0]
    distortion = levels[-1].get("distortion")
    return [
        f"{sum(level['dead_codes'] for level in levels):,} of {sum(level['codebook_size'] for level in levels):,}",
        f"{min(level['perplexity'] / level['codebook_size'] for level in levels):.2f}",
        f"{inspection['unique_item_coverage']:.4f}",
        f"{inspection['collision_rate']:.4f}",
        "" if distortion is None else f"{distortion:.4f}",
        f"{purity['purity']:.3f}, {purity['chance']:.3f}",
        "; ".join(place(finding["level"]) for finding in inspection["findings"]) or "no",
    ]


def place(level):
    return f"level {level}" if level else "collisions"


if __name__ == "__main__":
    main(sys.argv[1:])

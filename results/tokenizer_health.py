"""Semantic IDs of Amazon Beauty by every tokenizer: whether they are healthy, and what collisions cost.

    python results/tokenizer_health.py --data_path=../shared/datasets

Makes each bundle by the `unirep tokenize` command that results/tokenizer_health.json holds, looks into it by `unirep
inspect`, and writes results/tokenizer_health.md. A row that the JSON file holds by the same command is not made again:
remove it there. The rows are those of results/studies/beauty_tokenizers.yaml, and RQVAE with its dead codes left.
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
        sys.exit(f"asked for {' '.join(arguments) or 'nothing'}: give --data_path=FOLDER")
    asked = {label: (*row, "leave") for label, row in TOKENIZERS.items()}
    asked |= {f"RQKMeans 3x256, {policy}": ("RQKMeans", SHORT, policy) for policy in POLICIES[1:]}
    kept = HERE / "tokenizer_health.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    at_start = environment("cpu")  # before a row's writing changes the tree
    for label, (tokenizer, settings, policy) in asked.items():
        command = ["unirep", "tokenize", "--dataset=amazon-beauty", "--text_encoder=minilm"]
        settings = {"tokenizer": tokenizer, **settings, "collisions": policy}
        command += [f"--{key}={value}" for key, value in settings.items()]
        if found.get(label, {}).get("command") != shlex.join(command):
            found[label] = {**look(command, arguments[0]), "environment": at_start}
            write_json(kept, found)
            print(label, flush=True)
    (HERE / "tokenizer_health.md").write_text(page(found), encoding="utf-8")


def look(command, data_path):
    """What `unirep tokenize` says of its policy and `unirep inspect` of the codes, with the command."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        subprocess.run([*command, data_path, f"--out={bundle}"], check=True, capture_output=True)
        inspected = subprocess.run(["unirep", "inspect", bundle, data_path], capture_output=True, text=True)
        if inspected.returncode not in (0, 1):  # 1 says that the codes are ill
            raise RuntimeError(f"unirep inspect failed: {inspected.stderr.strip()}")
        inspection = json.loads((bundle / "inspection" / "inspection.json").read_text(encoding="utf-8"))
        record = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    return {"command": shlex.join(command), "collisions": record["collisions"], "inspection": inspection}


def page(found):
    """The page of all rows."""
    lines = [
        "# Semantic IDs of Amazon Beauty: health, and what collisions cost",
        "",
        "Written by `python results/tokenizer_health.py --data_path=FOLDER`; each row's command, commit and environment"
        ", and the numbers of each of its levels, are in [tokenizer_health.json](tokenizer_health.json). 12,101 items, "
        "sentence vectors of all-MiniLM-L6-v2. RQVAE and LETTER are fitted alone here, as `unirep tokenize` does; what "
        "RQVAE's codes are after training along with a recommender is in [the table of the "
        "study](studies/beauty_tokenizers/report.md).",
        "",
        "Dead: codes that no item has, of all levels. Perplexity: the least of a level in proportion to its codes. "
        "Distortion: mean squared error of the whole ID in proportion to the variance of the vectors, with RQVAE and "
        "MBGen of their encoder's (empty where an ID gives no vector back, and where collaborative ones are joined). "
        "Purity: share of the items whose category is the most frequent one under their first code, and what shuffled "
        "categories give. Ill: what `unirep inspect` fails for.",
        "",
        "| tokenizer | dead codes | perplexity | distinct IDs an item | items that share theirs | distortion | purity, "
        "by chance | ill |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for label in TOKENIZERS:
        lines.append(f"| {label} | {' | '.join(cells(found[label]['inspection']))} |")
    lines += [
        "",
        "## What to do about collisions: RQKMeans 3x256, the same codes before",
        "",
        "| policy | items changed | distinct IDs an item | items that share theirs | distortion |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for policy in POLICIES:
        label = "RQKMeans 3x256" if policy == "leave" else f"RQKMeans 3x256, {policy}"
        cost = found[label]["collisions"]
        coverage, rate, distortion = (cost[key][-1] for key in ("unique_item_coverage", "collision_rate", "distortion"))
        lines.append(f"| {policy} | {cost['changed_items']:,} | {coverage:.4f} | {rate:.4f} | {distortion:.4f} |")
    return "\n".join([*lines, ""])


def cells(inspection):
    """Cells of a row behind its name."""
    levels, purity = inspection["levels"], inspection["purity"]["category"][0]
    distortion = levels[-1].get("distortion")
    return [
        f"{sum(level['dead_codes'] for level in levels):,} of {sum(level['codebook_size'] for level in levels):,}",
        f"{min(level['perplexity'] / level['codebook_size'] for level in levels):.2f}",
        f"{inspection['unique_item_coverage']:.4f}",
        f"{inspection['collision_rate']:.4f}",
        "" if distortion is None else f"{distortion:.4f}",
        f"{purity['purity']:.3f}, {purity['chance']:.3f}",
        "; ".join(ill(finding["level"]) for finding in inspection["findings"]) or "no",
    ]


def ill(level):
    return f"level {level}" if level else "collisions"


if __name__ == "__main__":
    main(sys.argv[1:])

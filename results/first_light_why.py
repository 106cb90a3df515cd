"""Measures what collisions cost in UniRep's full ranking, on a run's chosen checkpoint.

    python results/first_light_why.py RUN_FOLDER

For each test target the script counts the items ranked above it that have the same semantic ID, or the same first two
codes, and ranks again with those items below the target. The difference is the most that distinct IDs could gain.
Writes results/first_light/why.json and prints it.
"""

import json
import sys
from pathlib import Path

import torch

from recbole_unirep import load_data_and_model
from recbole_unirep.scoring.model_contract import sequence_states

HERE = Path(__file__).resolve().parent


@torch.no_grad()
def main(run):
    config, model, data = load_data_and_model(run)
    test, states = data.test, sequence_states(model)
    codes = model.item_embedding.codes().cpu()
    n_levels = codes.shape[1]
    codes = torch.cat([torch.full((1, n_levels), -1), codes])  # [n_items, n_levels], -1 for padding
    table = model.item_embedding.weight[: model.n_items]
    item_seq, length = test.interactions[model.ITEM_SEQ], test.interactions[model.ITEM_SEQ_LEN]
    seen = torch.zeros(len(test), model.n_items, dtype=torch.bool)
    seen[test.earlier_of(torch.arange(len(test)))] = True
    totals = {"targets": 0, "hit@10": 0, "hit@10 without items of the same ID": 0, "same ID above": 0}
    totals |= {"hit@10 without items of the same first two codes": 0, "same first two codes above": 0}
    for rows in torch.arange(len(test)).split(512):
        state = states(item_seq[rows])[torch.arange(len(rows)), length[rows] - 1]
        scores = state @ table.T
        target = test.targets.items[rows]
        above = (scores > scores.gather(1, target[:, None])) & ~seen[rows]
        above[:, 0] = False
        same = codes[target][:, None] == codes[None]  # [B, n_items, n_levels]
        totals["targets"] += len(rows)
        totals["hit@10"] += (above.sum(1) < 10).sum().item()
        for name, depth in (("ID", n_levels), ("first two codes", 2)):
            twins = above & same[:, :, :depth].all(-1)
            totals[f"same {name} above"] += twins.sum().item()
            totals[f"hit@10 without items of the same {name}"] += ((above.sum(1) - twins.sum(1)) < 10).sum().item()
    n_targets = totals.pop("targets")
    means = {name: round(total / n_targets, 4) for name, total in totals.items()}
    report = {"protocol": "full_unseen", "targets": n_targets, **means, **model.codebook_report()}
    (HERE / "first_light" / "why.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8", newline="\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(sys.argv[1])

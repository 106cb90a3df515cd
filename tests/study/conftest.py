"""Finished runs written by hand."""

import json

import numpy as np
import pytest
import yaml

from recbole_unirep.analysis.significance import user_values


@pytest.fixture
def made_run(tmp_path):
    """`made_run(model, seed, ranks, **changes)` writes a finished run with these test ranks under uni99 and full."""

    def make(model, seed, ranks, valid_score=0.1, keys=None, **changes):
        folder = tmp_path / "made" / f"{model}-{seed}-{len(list((tmp_path / 'made').glob('*')))}"
        folder.mkdir(parents=True)
        ranks = np.asarray(ranks)
        metrics = {name: float(user_values(name, ranks).mean()) for name in ("hit@5", "ndcg@5", "hit@10", "ndcg@10")}
        result = {
            "model": model,
            "dataset": "tiny",
            "seed": seed,
            "valid_metric": "NDCG@10",
            "best_valid_score": valid_score,
            "valid_score_bigger": True,
            "test_result": {protocol: {**metrics, "mrr": float((1 / ranks).mean())} for protocol in ("uni99", "full")},
            "item_table_parameters": 1000,
            "trainable_parameters": 23456,
            "seconds": 10.0 * seed,
            "peak_memory_bytes": {"process": 2**29, "gpu": None},
            "tie_order": "file",
            "tie_seed": None,
            "dataset_fingerprint": "f" * 64,
            "candidates_seed": 2020,
            "candidates_hash": "c" * 64,
            **changes,
        }
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "config.yaml").write_text(yaml.safe_dump({"model": model, "seed": seed, **(keys or {})}))
        users = np.sort(np.array([f"u{user}" for user in range(len(ranks))]))
        np.savez_compressed(folder / "ranks.npz", users=users, uni99=ranks, full=ranks)
        return folder

    (tmp_path / "made").mkdir()
    return make

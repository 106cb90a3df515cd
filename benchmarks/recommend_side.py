"""One measurement of recommending at scale; benchmarks/recommend.py runs it in a separate process.

    python benchmarks/recommend_side.py exact|faiss|hnsw --n_items=.. --n_users=.. --n_asked=.. --out=FILE.npz

Vectors, histories and tokens are synthetic: item vectors are scattered around 1,000 centres, a user interacts with
eight items of one centre, and a state is the mean of the item vectors so far.
"""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from measure import arguments, memory, more_memory, report, timed
from recbole.utils import ModelType

from recbole_unirep.data.sequences import UserSequences
from recbole_unirep.serving.recommender import Recommender

SIZE, CENTRES, HISTORY, K, ROWS_COMPARED = 64, 1000, 8, 10, 256


class MeanOfItems(torch.nn.Module):
    """A causal model with no weights but its item vectors: state t is the mean of the first t items' vectors."""

    ITEM_SEQ, ITEM_SEQ_LEN = "item_id_list", "item_length"

    def __init__(self, vectors):
        super().__init__()
        self.item_embedding = torch.nn.Embedding.from_pretrained(vectors)
        self.n_training_items = len(vectors)

    def sequence_states(self, item_seq):
        """Maps item ids [B, L] to states [B, L, H]."""
        position = torch.arange(1, item_seq.size(1) + 1, device=item_seq.device)
        return self.item_embedding(item_seq).cumsum(dim=1) / position[:, None]


def made_items(n_items, draw):
    """Returns vectors with a padding row, shape: [n_items + 1, SIZE], float32, and each item's centre, ascending."""
    centre = np.sort(draw.integers(0, CENTRES, n_items))
    vectors = draw.standard_normal((n_items, SIZE), dtype=np.float32)
    vectors += 2 * draw.standard_normal((CENTRES, SIZE), dtype=np.float32)[centre]
    return torch.from_numpy(np.concatenate([np.zeros((1, SIZE), np.float32), vectors])), centre


def made_histories(centre, n_users, draw):
    """Returns UserSequences with HISTORY items of one centre per user."""
    start, end = (np.searchsorted(centre, np.arange(CENTRES), side=side) for side in ("left", "right"))
    chosen = draw.choice(np.flatnonzero(end > start), n_users)[:, None]
    items = 1 + draw.integers(start[chosen], end[chosen], (n_users, HISTORY))
    offsets = np.concatenate([[0, 0], HISTORY * np.arange(1, n_users + 1)])  # user 0 is padding
    return UserSequences(items.reshape(-1), offsets)


def made_run(n_items, n_users):
    """Returns config, model and dataset of a synthetic run, as Recommender takes them."""
    draw = np.random.default_rng(0)
    vectors, centre = made_items(n_items, draw)
    tokens = {
        name: np.array(["[PAD]", *(f"{name[0]}{row}" for row in range(n))], dtype=object)
        for name, n in (("user_id", n_users), ("item_id", n_items))
    }
    dataset = SimpleNamespace(
        uid_field="user_id",
        iid_field="item_id",
        field2id_token=tokens,
        field2token_id={name: {token: row for row, token in enumerate(known)} for name, known in tokens.items()},
        field2type={},
        sequences=made_histories(centre, n_users, draw),
    )
    config = {
        "model": "MeanOfItems",
        "MODEL_TYPE": ModelType.SEQUENTIAL,
        "MAX_ITEM_LIST_LENGTH": 50,
        "candidates_seed": 2020,
        "eval_batch_size": 512,
        "scores_at_once": 8388608,
        "device": torch.device("cpu"),
        "data_path": "nowhere",
        "dataset": "made",
    }
    return config, MeanOfItems(vectors), dataset


def main():
    side, options = arguments()
    n_items, n_users, n_asked = (int(options[name]) for name in ("n_items", "n_users", "n_asked"))
    config, model, dataset = made_run(n_items, n_users)
    before = memory()
    recommender, seconds_to_load = timed(lambda: Recommender(config, model, dataset, side))
    loaded = memory()
    users = dataset.field2id_token["user_id"][1 : n_asked + 1]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recs.parquet"
        (_, seconds), more = more_memory(lambda: timed(lambda: recommender.write(file, users=users, k=K)))
    rows = recommender.stream(users=users[:ROWS_COMPARED], k=K)
    np.savez(options["out"], items=np.array([[recommender.item_ids[item] for item in row.items] for row in rows]))
    report(
        n_items=n_items,
        n_users=n_users,
        n_asked=n_asked,
        seconds_to_load=seconds_to_load,
        seconds=seconds,
        bytes_of_run=before,
        bytes_of_index=loaded - before,
        more_bytes=more,
    )


if __name__ == "__main__":
    main()

"""TIGER: likelihoods against complete ID sequences of items, losses, runs, checkpoint names."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.utils import init_seed

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.autoregressive import user_tokens
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring.protocols import evaluate_protocols
from recbole_unirep.study.inspection import read_inspected
from recbole_unirep.study.run_arrays import read_run

SMALL = {
    "codebook_size": 8,
    "users_per_batch": 16,
    "text_encoder": "lexical",
    "hidden_size": 16,
    "n_layers": 2,
    "n_heads": 2,
    "head_size": 8,
    "inner_size": 24,
    "n_user_tokens": 7,
    "num_beams": 12,
    "topk": [5, 10],
    "show_progress": False,
    "use_gpu": False,
}
KINDS = {
    "encoder and decoder": {},
    "decoder only": {"decoder_only": True, "training_rows": "user"},
    "colliding": {"collisions": "leave", "codebook_size": 3, "n_levels": 2},
    "variable length": {"tokenizer": "HierarchicalKMeans", "decoder_only": True, "training_rows": "user"},
    "one level": {"tokenizer": "ItemIDTokens", "n_levels": 1, "codebook_size": 130, "collisions": "leave"},
    "no user tokens": {"n_user_tokens": 0},
}


def prepare(tiny, **keys):
    config = Config("TIGER", "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **keys})
    init_seed(config["seed"], config["reproducibility"])
    data = load_data(config, trains_rows(config))
    model = build_model(config, data.train)
    return config, data, model.eval()


@pytest.fixture(params=KINDS, ids=list(KINDS))
def case(request, tiny):
    return prepare(tiny, **KINDS[request.param])


def written_out(model, users, items):
    """Log-likelihood of every item after each history, each ID a training sequence of its own, [B, n_items - 1]."""
    n = model.n_items - 1
    targets = torch.arange(1, model.n_items)
    rows = []
    for user, history in zip(users, items):
        history = history[history > 0].expand(n, -1)
        is_target = torch.zeros_like(history, dtype=torch.bool)
        is_target[:, -1] = True
        states = model.target_states(user.expand(n), history, is_target, targets)
        codes, counts = model.ids.codes[targets], ~model.ids.is_past_end[targets]
        parts = [
            model.transformer.logits(states[:, level], level).log_softmax(-1).gather(1, codes[:, level, None])[:, 0]
            for level in range(model.ids.n_levels)
        ]
        rows.append((torch.stack(parts, dim=1) * counts).sum(dim=1))
    return torch.stack(rows)


@pytest.fixture
def asked(case):
    """Some test users, their histories, and the log-likelihoods of all items by hand."""
    _, data, model = case
    interaction = data.test.interactions[torch.arange(6)]
    with torch.no_grad():
        return interaction, written_out(model, interaction[model.USER_ID], interaction[model.ITEM_SEQ])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_exact_ranking_and_predict_give_the_likelihoods_of_whole_sequences(case, asked, check_exact_ranking):
    check_exact_ranking(case[-1], *asked)


def test_enough_beams_rank_as_the_whole_catalogue(case, asked, check_enough_beams):
    check_enough_beams(case[-1], *asked, n_beams=case[-1].n_items)


@torch.no_grad()
def test_items_of_few_beams_have_exact_scores_and_others_none(case, asked):
    _, _, model = case
    interaction, expected = asked
    found = model.full_sort_predict(interaction)[:, 1:]
    is_found = found > -torch.inf
    close(found[is_found], expected[is_found])
    n_ids = [len(model.ids.trie.leaf[row].unique()) for row in is_found]
    assert n_ids == [min(model.num_beams, model.ids.trie.n_leaves)] * len(n_ids)


@torch.no_grad()
def test_the_loss_is_the_likelihood_of_the_targets(case):
    _, data, model = case
    batch = next(iter(data.train_data))
    (loss,) = model.row_losses(batch)
    likelihoods = []
    for (row, place), target in zip(batch.is_target.nonzero().tolist(), batch.targets):
        history = batch.inputs[row : row + 1, : place + 1]
        likelihoods.append(written_out(model, batch.users[row : row + 1], history)[0, target - 1])
    close(loss, -torch.stack(likelihoods).mean() / model.ids.n_levels)


@torch.no_grad()
def test_a_batch_of_recbole_has_the_loss_of_its_targets(tiny):
    _, data, model = prepare(tiny, training_rows="prefix")
    batch = next(iter(data.train_data))[torch.arange(20)]
    likelihoods = written_out(model, batch[model.USER_ID], batch[model.ITEM_SEQ])
    own = likelihoods.gather(1, batch[model.POS_ITEM_ID][:, None] - 1)
    close(model.calculate_loss(batch), -own.mean() / model.ids.n_levels)


@pytest.mark.parametrize("keys", [KINDS["decoder only"], {}], ids=["decoder only", "encoder and decoder"])
def test_a_run_learns_ranks_all_protocols_and_reloads_unchanged(tiny, keys):
    settings = {"data_path": str(tiny.parent), **SMALL, **keys, "epochs": 3, "run_dir": "run", "learning_rate": 0.01}
    result = run_recbole("TIGER", "tiny", config_dict=settings)
    losses = [json.loads(line)["train_loss"] for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    assert set(result["test_result"]) == {"uni99", "full", "full_unseen"}
    config, model, data = load_data_and_model("run")
    inspected = read_inspected("run")
    assert np.array_equal(inspected.codes, model.ids.codes[1:].numpy())
    assert [len(part) for part in read_run("run").codebooks.vectors] == model.ids.codebook_sizes
    assert result["item_table_parameters"] == 16 * sum(model.ids.codebook_sizes)
    assert evaluate_protocols(model, data.test, list(result["test_result"]), config, None) == result["test_result"]


def test_uni99_of_few_beams_is_exact(tiny):
    """The ranks of candidates do not depend on the beams."""
    settings = {"data_path": str(tiny.parent), **SMALL, "epochs": 1, "protocol": "uni99", "decoder_only": True}
    settings["training_rows"] = "user"
    few, all_ = (
        run_recbole("TIGER", "tiny", config_dict={**settings, **keys})["test_result"]["uni99"]
        for keys in ({"num_beams": 10}, {"exact_ranking": True})
    )
    assert few == pytest.approx(all_)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"num_beams": 9}, "num_beams=9 finds fewer items than topk=10 asks for: raise num_beams, or lower topk"),
        (
            {"training_rows": "user"},
            "the encoder would see the later ones: use training_rows=target, or decoder_only=True",
        ),
        ({"loss_type": "BPR"}, "loss_type=BPR is not supported, TIGER has only CE: leave it out"),
        ({"distance_buckets": 2}, "give at least 4 buckets"),
        ({"max_distance": 16}, "max_distance=16 do not go together"),
        ({"n_user_tokens": -1}, "n_user_tokens=-1 is too small"),
        ({"semantic_ids": "ids", "split": "cold_items"}, "were learned from cold items too"),
    ],
)
def test_incompatible_options_are_refused(tiny, keys, message):
    with pytest.raises(ValueError, match=message):
        run_recbole("TIGER", "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **keys})


def test_a_users_token_depends_only_on_the_user_name():
    class Dataset:
        uid_field = "user_id"

        def __init__(self, names):
            self.field2id_token = {"user_id": names}

    one, other = user_tokens(Dataset(["[PAD]", "a", "b"]), 5, 100), user_tokens(Dataset(["[PAD]", "b", "a"]), 5, 100)
    assert one[1] == other[2] and one[2] == other[1] and (one >= 5).all() and (one < 105).all()
    assert user_tokens(Dataset(["a"]), 5, 0).tolist() == [0]

"""LIGER ranks found and new items by cosine, is trained by both losses, and never reads the text of its target."""

import json
from pathlib import Path

import pytest
import torch
from recbole.utils import init_seed

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model, trains_rows
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring.protocols import evaluate_protocols

SMALL = {
    "codebook_size": 8,
    "users_per_batch": 16,
    "text_encoder": "lexical",
    "hidden_size": 16,
    "n_layers": 2,
    "n_heads": 2,
    "head_size": 8,
    "inner_size": 24,
    "num_beams": 12,
    "topk": [5, 10],
    "show_progress": False,
    "use_gpu": False,
}
DECODER = {"decoder_only": True, "training_rows": "user"}
KINDS = {
    "encoder and decoder": {},
    "decoder only": DECODER,
    "variable length": {"tokenizer": "HierarchicalKMeans", **DECODER},
    "cold items": {"split": "cold_items", "cold_item_share": 0.2},
}


def prepare(tiny, **keys):
    config = Config("LIGER", "tiny", config_dict={"data_path": str(tiny.parent), **SMALL, **keys})
    init_seed(config["seed"], config["reproducibility"])
    data = load_data(config, trains_rows(config))
    return config, data, build_model(config, data.train).eval()


@pytest.fixture(params=KINDS, ids=list(KINDS))
def case(request, tiny):
    return prepare(tiny, **KINDS[request.param])


def cosines(model, data, rows):
    """Cosines with the states that predict the first code, each history a row of its own, shape: [B, n_items]."""
    interaction = data.test.interactions[rows]
    items = model.item_side(model.text)
    found = []
    for user, history in zip(interaction[model.USER_ID], interaction[model.ITEM_SEQ]):
        history = history[history > 0][None]
        is_target = torch.zeros_like(history, dtype=torch.bool)
        is_target[:, -1] = True
        states = model.target_states(user[None], history, is_target, torch.tensor([1]))
        found.append(torch.cosine_similarity(model.user_side(states[:, 0]), items) / model.temperature)
    return torch.stack(found)


@torch.no_grad()
def test_only_found_and_new_items_are_ranked_by_cosine(case):
    _, data, model = case
    rows = torch.arange(6)
    memory = model.memory_of(data.test.interactions[rows])
    scores, expected = model.catalogue_scores(memory), cosines(model, data, rows)
    is_ranked = model.transformer.beam_scores(memory.remembered, model.num_beams) > -torch.inf
    is_ranked[:, model.n_training_items :] = True
    assert torch.equal(scores > -torch.inf, is_ranked)
    assert not is_ranked[:, 1:].all()
    torch.testing.assert_close(scores[is_ranked], expected[is_ranked], rtol=1e-4, atol=1e-4)
    model.exact_ranking = True
    torch.testing.assert_close(model.catalogue_scores(memory)[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-4)
    items = torch.randint(1, model.n_items, (6, 9))
    assert torch.equal(model.candidate_scores(memory, items), model.catalogue_scores(memory).gather(1, items))


@torch.no_grad()
def test_cached_vectors_are_recomputed_when_weights_or_text_change(case):
    _, data, model = case
    memory = model.memory_of(data.test.interactions[torch.arange(3)])
    items = torch.randint(1, model.n_items, (3, 9))
    found = [model.candidate_scores(memory, items)]
    for changed in (model.item_side.weight, model.text):
        changed.mul_(torch.linspace(0.5, 2, changed.shape[1]))
        found.append(model.candidate_scores(memory, items))
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


@torch.no_grad()
def test_the_text_of_a_history_is_read_and_that_of_its_target_is_not(case):
    """Changing the target's text leaves the states that write its ID alone; changing the history's does not."""
    _, data, model = case
    batch = next(iter(data.train_data))
    last_target = batch.following[:, 0]
    row = (batch.inputs != last_target[:, None]).all(dim=1).nonzero()[:1, 0]  # its last target is not an input too
    users, items, is_target = batch.users[row], batch.inputs[row], batch.is_target[row]
    targets = batch.targets[batch.is_target.nonzero()[:, 0] == row]
    before = model.target_states(users, items, is_target, targets)
    model.text[last_target[row]] += 1
    after = model.target_states(users, items, is_target, targets)
    assert torch.equal(before, after)
    model.text[items[0, 0]] += 1
    assert not torch.equal(model.target_states(users, items, is_target, targets), after)


@torch.no_grad()
def test_the_dense_loss_is_a_softmax_over_all_items_of_training(case):
    _, data, model = case
    batch = next(iter(data.train_data))
    parts = batch.users, batch.inputs, batch.is_target, batch.targets
    of_codes, dense = model.losses(*parts)
    states = model.target_states(*parts)[:, 0]
    items = model.item_side(model.text[1 : model.n_training_items])
    scores = torch.cosine_similarity(model.user_side(states)[:, None], items, dim=-1) / model.temperature
    torch.testing.assert_close(dense, torch.nn.functional.cross_entropy(scores, batch.targets - 1))
    torch.testing.assert_close(of_codes, model.id_loss(*parts))


@pytest.mark.parametrize("keys", [{}, DECODER], ids=["encoder and decoder", "decoder only"])
def test_a_run_learns_ranks_all_protocols_and_reloads_unchanged(tiny, keys):
    settings = {"data_path": str(tiny.parent), **SMALL, **keys, "epochs": 3, "run_dir": "run", "learning_rate": 0.01}
    settings |= {"dense_weight": 0.5, "split": "cold_items", "cold_item_share": 0.2}
    result = run_recbole("LIGER", "tiny", config_dict=settings)
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    for part in ("train_loss", "id_loss", "dense_loss"):
        assert lines[-1][part] < lines[0][part]
    assert lines[0]["train_loss"] == pytest.approx(lines[0]["id_loss"] + 0.5 * lines[0]["dense_loss"])
    assert {"uni99 cold", "full cold", "full_unseen warm"} < set(result["test_result"])
    config, model, data = load_data_and_model("run")
    assert evaluate_protocols(model, data.test, ["uni99", "full", "full_unseen"], config, None) == result["test_result"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"temperature": 0}, "temperature=0 divides the cosines: give a number above 0"),
        ({"dense_weight": -1.0}, "dense_weight=-1.0 is too small: give at least 0"),
    ],
)
def test_a_temperature_or_weight_out_of_range_is_refused(tiny, keys, message):
    with pytest.raises(ValueError, match=message):
        prepare(tiny, **keys)

"""GRPO: rewards and advantages by hand, the loss against its formula, initial weights, and runs."""

import json
import math
from pathlib import Path

import pytest
import torch

from recbole_unirep.model.grpo import advantages
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring.protocols import evaluate_protocols

KINDS = {"encoder and decoder": {}, "decoder only": {"decoder_only": True}}


@pytest.fixture(params=KINDS, ids=list(KINDS))
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def train(generative):
    """Trains TIGER for two epochs; returns the settings of a run that continues from it."""

    def run(**keys):
        settings = {**generative.settings, **keys}
        rows = {"training_rows": "user"} if keys.get("decoder_only") else {}
        run_recbole("TIGER", "tiny", config_dict={**settings, **rows, "epochs": 2, "run_dir": "tiger"})
        return {**settings, "initial_run": "tiger", "n_generated": 12, "learning_rate": 0.001}

    return run


@pytest.fixture
def prepare(generative):
    """Data and model of the given settings."""
    return lambda settings: generative("GRPO", **settings)


def test_advantages_by_hand():
    """The target at rank 2 of 3 earns 1; ranks 1 and 3 lose their shares of 1 / log 2 + 1 / log 3 + 1 / log 4."""
    whole = 1 / math.log(2) + 1 / math.log(3) + 1 / math.log(4)
    rewards = [-1 / math.log(2) / whole, 1.0, -1 / math.log(4) / whole]
    mean = sum(rewards) / 3
    spread = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / 3)
    found = advantages(torch.tensor([[False, True, False]]), torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(found, torch.tensor([[(reward - mean) / spread for reward in rewards]]))


def test_a_group_without_target_and_places_without_id_have_no_advantage():
    none = advantages(torch.zeros(1, 3, dtype=torch.bool), torch.tensor([[True, True, False]]))
    torch.testing.assert_close(none, torch.zeros(1, 3))
    two = advantages(torch.tensor([[False, True, False]]), torch.tensor([[True, True, False]]))
    torch.testing.assert_close(two, torch.tensor([[-1.0, 1.0, 0.0]]))
    alone = advantages(torch.tensor([[True, False]]), torch.tensor([[True, False]]))
    torch.testing.assert_close(alone, torch.zeros(1, 2))


def test_training_starts_from_the_weights_of_the_run(train, prepare, kind):
    settings = train(**kind)
    data, model = prepare(settings)
    tiger = load_data_and_model("tiger")[1]
    assert not torch.equal(model.transformer.tokens.weight, tiger.transformer.tokens.weight)
    batch = next(iter(data.train_data))
    policy, divergence = model.train().row_losses(batch)
    for name, part in tiger.state_dict().items():
        assert torch.equal(part, model.state_dict()[name]), name
    assert divergence.item() == pytest.approx(0, abs=1e-9) and model.training and bool(model.is_begun)
    assert policy.item() == pytest.approx(0, abs=1e-5)  # with IDs of one length, the advantages of a group add up to 0


@pytest.mark.slow
def test_the_loss_is_the_formula_of_each_group(train, prepare, kind):
    settings = train(**kind)
    data, model = prepare({**settings, "divergence_weight": 0.5})
    batch = next(iter(data.train_data))
    model.row_losses(batch)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.02 * torch.randn_like(weight)
    policy, divergence = model.row_losses(batch)
    model.eval()
    asked = {model.USER_ID: batch.users, model.ITEM_SEQ: batch.inputs}
    asked[model.ITEM_SEQ_LEN] = (batch.inputs > 0).sum(dim=1)
    tiger, total, objective, n_targets = load_data_and_model("tiger")[1], 0.0, 0.0, len(batch.targets)
    with torch.no_grad():
        scores = model.catalogue_scores(model.memory_of(asked))
    for row, target in enumerate(batch.targets):
        items = scores[row].topk(12).indices
        one = {name: part[row : row + 1] for name, part in asked.items()}
        now, before = (of_codes(part, one, items) for part in (model, tiger))  # [12, V]
        total += ((before - now).exp() - (before - now) - 1).mean().item() / n_targets
        worth = advantages((items == target)[None], torch.ones(1, 12, dtype=torch.bool))[0]
        objective = objective - (worth * now.mean(dim=1)).mean() / n_targets
    assert divergence.item() == pytest.approx(0.5 * total, rel=1e-3) and total > 0
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    by_loss, by_hand = (torch.autograd.grad(loss, weights) for loss in (policy, objective))
    for one, other in zip(by_loss, by_hand):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert by_loss[0].abs().max() > 1e-3


def of_codes(model, asked, items):
    """Log-likelihood of each code of some items after one history, from whole sequences, [items, V]."""
    history = asked[model.ITEM_SEQ][:, : int(asked[model.ITEM_SEQ_LEN])].expand(len(items), -1)
    is_target = torch.zeros_like(history, dtype=torch.bool)
    is_target[:, -1] = True
    states = model.target_states(asked[model.USER_ID].expand(len(items)), history, is_target, items)
    parts = [
        model.transformer.logits(states[:, level], level).log_softmax(-1).gather(1, model.ids.codes[items, level, None])
        for level in range(model.ids.n_levels)
    ]
    return torch.cat(parts, dim=1)


def test_a_run_ranks_all_protocols_resumes_and_reloads_unchanged(train, kind):
    settings = train(**kind)
    result = run_recbole("GRPO", "tiny", config_dict={**settings, "run_dir": "run", "epochs": 2})
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and all("valid_score" in line for line in lines)
    run_recbole("GRPO", "tiny", config_dict={**settings, "run_dir": "part", "epochs": 1})
    resumed = run_recbole(arguments=["--resume=part", "--epochs=2"])
    assert resumed["test_result"] == result["test_result"]
    for file in Path("tiger").iterdir():  # it is no longer needed
        if file.is_file():
            file.unlink()
    config, model, data = load_data_and_model("run")
    assert evaluate_protocols(model, data.test, list(result["test_result"]), config, None) == result["test_result"]


def test_bad_options_are_named(train, prepare):
    with pytest.raises(ValueError, match="initial_run is not given: train TIGER and name its folder"):
        prepare({})
    settings = train()
    with pytest.raises(ValueError, match="training_rows=user has several targets.*use training_rows=target"):
        prepare({**settings, "decoder_only": True, "training_rows": "user"})
    for key, value, found in (("codebook_size", 5, 6), ("lexical_dim", 8, 16), ("tokenizer", "PQ", "RQKMeans")):
        with pytest.raises(
            ValueError, match=f"{key}={value} is asked for, tiger/tokenizer was made with {found}: give"
        ):
            prepare({**settings, key: value})
    data, model = prepare({**settings, "hidden_size": 8})
    with pytest.raises(ValueError, match="initial_run=tiger has other sizes or semantic IDs than this run"):
        model.row_losses(next(iter(data.train_data)))
    data, model = prepare({**settings, "initial_run": "nowhere"})
    with pytest.raises(FileNotFoundError, match="initial_run=nowhere has no model.pt: name a finished run"):
        model.row_losses(next(iter(data.train_data)))


def test_a_missing_run_is_named_before_anything_is_written(train):
    settings = train()
    with pytest.raises(FileNotFoundError, match="initial_run=5 has no model.pt"):
        run_recbole("GRPO", "tiny", config_dict={**settings, "initial_run": 5, "run_dir": "run"})
    assert not Path("run").exists()

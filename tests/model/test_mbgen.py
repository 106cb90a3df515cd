"""MBGen: IDs of items under behaviours, likelihoods under any or one behaviour, losses, runs, recommendations."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

import recbole_unirep
from recbole_unirep.data.behaviours import BEHAVIOUR
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring.protocols import evaluate_protocols
from recbole_unirep.study.inspection import read_inspected
from recbole_unirep.study.run_arrays import read_run

ASKED = {"behaviour_field": "kind"}
KINDS = {
    "decoder only": {},
    "encoder and decoder": {"decoder_only": False, "training_rows": "target"},
    "one behaviour": {"target_behaviour": "buy"},
}


@pytest.fixture
def kinds(tiny):
    """Labels every third interaction of the tiny dataset buy and the others view."""
    path = tiny / "tiny.inter"
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [f"{line}\t{'view' if number % 3 else 'buy'}" for number, line in enumerate(lines[1:])]
    path.write_text("\n".join([f"{lines[0]}\tkind:token", *rows, ""]), encoding="utf-8")


@pytest.fixture
def prepare(generative, kinds):
    """Data and model of the given keys."""
    return lambda **keys: generative("MBGen", **{**ASKED, **keys})


@pytest.fixture(params=KINDS, ids=list(KINDS))
def case(request, prepare):
    return prepare(**KINDS[request.param])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def written_out(model, users, items, behaviours):
    """Log-likelihood of every item under every behaviour after each history, [B, behaviours, n_items - 1]."""
    n_behaviours, n = len(model.behaviours), model.n_items - 1
    targets, rows = torch.arange(1, 1 + n_behaviours * n), []
    for user, history, kinds in zip(users, items, behaviours):
        known = history > 0
        history = (history + (kinds - 1) * n)[known].expand(len(targets), -1)
        is_target = torch.zeros_like(history, dtype=torch.bool)
        is_target[:, -1] = True
        states = model.target_states(user.expand(len(targets)), history, is_target, targets)
        behaviour, item = (targets - 1) // n, 1 + (targets - 1) % n
        codes = torch.cat([behaviour[:, None], model.open_codes[item - 1]], dim=1)
        parts = [
            model.transformer.logits(states[:, level], level).log_softmax(-1).gather(1, codes[:, level, None])
            for level in range(model.ids.n_levels)
        ]
        rows.append(torch.cat(parts, dim=1).sum(dim=1).view(n_behaviours, n))
    return torch.stack(rows)


@pytest.fixture
def asked(case):
    """Some test users and the log-likelihood of each item, under the target behaviour or any."""
    data, model = case
    interaction = data.test.interactions[torch.arange(6)]
    parts = (interaction[name] for name in (model.USER_ID, model.ITEM_SEQ, f"{BEHAVIOUR}_list"))
    with torch.no_grad():
        scores = written_out(model, *parts)
    buy = model.behaviours.index("buy")
    return interaction, scores.logsumexp(dim=1) if model.target is None else scores[:, buy]


def test_exact_ranking_and_predict_give_the_likelihoods_of_whole_sequences(case, asked, check_exact_ranking):
    check_exact_ranking(case[-1], *asked)


def test_enough_beams_rank_as_the_whole_catalogue(case, asked, check_enough_beams):
    check_enough_beams(case[-1], *asked, n_beams=3 * case[-1].n_items)


@torch.no_grad()
def test_items_found_under_any_behaviour_have_exact_scores(case, asked):
    _, model = case
    interaction, expected = asked
    found = model.full_sort_predict(interaction)[:, 1:]
    is_found = found > -torch.inf
    close(found[is_found], expected[is_found])
    assert is_found.any(dim=1).all() and not is_found.all()


@torch.no_grad()
def test_the_loss_is_the_likelihood_of_behaviour_and_item(prepare):
    data, model = prepare()
    batch = next(iter(data.train_data))
    (loss,) = model.row_losses(batch)
    likelihoods = []
    for (row, place), target, kind in zip(
        batch.is_target.nonzero().tolist(), batch.targets.tolist(), batch.target_behaviours.tolist()
    ):
        read = slice(row, row + 1), slice(place + 1)
        scores = written_out(model, batch.users[read[0]], batch.inputs[read], batch.behaviours[read])
        likelihoods.append(scores[0, kind - 1, target - 1])
    close(loss, -torch.stack(likelihoods).mean() / model.ids.n_levels)


@torch.no_grad()
def test_a_batch_of_recbole_has_the_loss_of_its_targets(prepare):
    data, model = prepare(training_rows="prefix")
    batch = next(iter(data.train_data))[torch.arange(20)]
    parts = (batch[name] for name in (model.USER_ID, model.ITEM_SEQ, f"{BEHAVIOUR}_list"))
    scores = written_out(model, *parts)
    own = scores[torch.arange(20), batch[BEHAVIOUR] - 1, batch[model.POS_ITEM_ID] - 1]
    close(model.calculate_loss(batch), -own.mean() / model.ids.n_levels)


@torch.no_grad()
def test_the_behaviours_of_a_history_change_the_scores(prepare):
    data, model = prepare()
    interaction = data.test.interactions[torch.arange(6)]
    before = model.full_sort_predict(interaction)
    name = f"{BEHAVIOUR}_list"
    other = torch.where(interaction[name] > 0, 3 - interaction[name], 0)
    assert not torch.equal(before, model.full_sort_predict(Interaction({**interaction.interaction, name: other})))


def test_a_run_ranks_all_protocols_reloads_unchanged_and_recommends(generative, kinds):
    settings = {**generative.settings, **ASKED, "epochs": 3, "run_dir": "run", "learning_rate": 0.01}
    result = run_recbole("MBGen", "tiny", config_dict=settings)
    losses = [json.loads(line)["train_loss"] for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    config, model, data = load_data_and_model("run")
    assert evaluate_protocols(model, data.test, list(result["test_result"]), config, None) == result["test_result"]
    assert np.array_equal(read_inspected("run").codes, model.open_codes.numpy())
    assert [len(part) for part in read_run("run").codebooks.vectors] == model.open_sizes
    assert len(model.open_codes) == model.n_items - 1

    recommender = recbole_unirep.Recommender.load("run")
    (row,) = recommender.recommend(users=["u7"], k=5, keep_earlier=True)
    ids = recommender.sequences.of(recommender.user_ids["u7"])
    kinds_of = recommender.sequences.behaviours[slice(*recommender.sequences.offsets[recommender.user_ids["u7"] :][:2])]
    asked = {
        model.USER_ID: torch.tensor([recommender.user_ids["u7"]]),
        model.ITEM_SEQ: torch.from_numpy(ids)[None],
        model.ITEM_SEQ_LEN: torch.tensor([len(ids)]),
        f"{BEHAVIOUR}_list": torch.from_numpy(kinds_of)[None],
    }
    with torch.no_grad():
        scores = model.full_sort_predict(Interaction(asked))[0]
    assert row.scores == pytest.approx(scores.topk(5).values.tolist(), abs=1e-5)
    (row,) = recommender.recommend(items=[["i3", "i5"]], k=5)
    assert len(row.items) == 5


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"behaviour_field": None}, "behaviour_field is not given: name the column.*--behaviour_cuts=.4."),
        ({"target_behaviour": "cart"}, "target_behaviour=cart is not known: choose one of"),
        ({"decoder_only": False}, "training_rows=user has several targets"),
    ],
)
def test_bad_options_are_named(prepare, keys, message):
    with pytest.raises(ValueError, match=message):
        prepare(**keys)

"""ActionPiece: features of its tokens, likelihoods under one and all orders, losses, and runs."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_unirep.commands.tokenize import tokenize
from recbole_unirep.model import actionpiece
from recbole_unirep.model.actionpiece import scattered
from recbole_unirep.modules.feature_merges import learn_merges
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring.protocols import evaluate_protocols
from recbole_unirep.semantic_ids.ids import SemanticIds
from recbole_unirep.study.inspection import read_inspected
from recbole_unirep.study.run_arrays import read_run

SMALL = {"n_hash_buckets": 40, "vocabulary_size": 110, "n_segmentations": 3}


@pytest.fixture
def prepare(generative):
    """Data and model of the given keys."""
    return lambda **keys: generative("ActionPiece", **{**SMALL, **keys})


@pytest.fixture(params=[{}, {"tokenizer": "HierarchicalKMeans"}, {"collisions": "leave"}], ids=str)
def case(request, prepare):
    return prepare(**request.param)


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def features_of(model, token):
    """Features that a token was merged from."""
    if token <= model.merges.n_base:
        return [token]
    return [part for half in model.merges.pairs[token - model.merges.n_base - 1] for part in features_of(model, half)]


def tokens_of(model, users, items):
    """Tokens of histories without the start token, one list per row."""
    seen = []
    model.transformer.tokens.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.embedded(users, items)
    model.transformer.tokens._forward_pre_hooks.clear()
    return [[token for token in row[1:] if token] for row in seen[0].tolist()]


def features_by_item(model, items):
    return sorted(token for token in model.features[items].flatten().tolist() if token)


@torch.no_grad()
def test_a_history_s_tokens_hold_its_items_features(case):
    data, model = case
    batch = data.test.interactions[torch.arange(12)]
    users, items = batch[model.USER_ID], batch[model.ITEM_SEQ]
    for rows in (tokens_of(model, users, items), tokens_of(model.train(), users, items)):
        held = [sorted(int(part) for token in row for part in features_of(model, token)) for row in rows]
        assert held == [features_by_item(model, row) for row in items]
        assert sum(map(len, rows)) < 0.9 * sum(map(len, held))  # at least one merge happens


@torch.no_grad()
def test_orders_are_drawn_per_step_in_training_and_fixed_in_ranking(prepare):
    data, model = prepare()
    batch = data.test.interactions[torch.arange(12)]
    users, items = batch[model.USER_ID], batch[model.ITEM_SEQ]
    assert tokens_of(model, users, items) == tokens_of(model, users, items)
    assert tokens_of(model.train(), users, items) != tokens_of(model, users, items)
    again = prepare()[1]
    assert torch.equal(again.orders, model.orders)


def test_written_ids_tell_items_apart_by_their_features(case):
    _, model = case
    features = model.features[1:]
    assert model.ids.trie.n_leaves == len(features.unique(dim=0))
    for item, tokens in enumerate(model.ids.tokens_of(torch.arange(1, model.n_items)).tolist(), start=1):
        ends = tokens.index(model.ids.n_tokens) if model.ids.n_tokens in tokens else len(tokens)
        assert set(tokens[ends:]) <= {model.ids.n_tokens}
        held = sorted(int(part) for token in tokens[:ends] for part in features_of(model, token))
        assert held == features_by_item(model, torch.tensor([item]))


def test_the_vocabulary_is_learned_from_training_interactions_alone(prepare, monkeypatch):
    learned = []
    monkeypatch.setattr(actionpiece, "learn_merges", lambda *given: learned.append(given) or learn_merges(*given))
    data, model = prepare()
    sets, offsets, n_features, n_merges = learned[0]
    expected = []
    sequences = data.train.sequences
    for user in range(1, data.train.user_num):
        expected.append(model.features[torch.from_numpy(sequences.of(user)[:-2])])  # leave-one-out removes two per user
    assert torch.equal(torch.from_numpy(sets), torch.cat(expected))
    assert (offsets[1:] - offsets[:-1]).tolist() == [0, *map(len, expected)]
    assert (n_features, n_merges) == (6 + 6 + 40, 110 - 52)


@pytest.fixture
def asked(case):
    """Some test users and the log-likelihoods of all items, by the mean probability over orders."""
    data, model = case
    interaction = data.test.interactions[torch.arange(6)]
    model.exact_ranking, orders, each = True, model.orders, []
    with torch.no_grad():
        for order in orders:
            model.orders = order[None]
            each.append(model.full_sort_predict(interaction)[:, 1:].double())
    model.exact_ranking, model.orders = False, orders
    assert not torch.allclose(each[0], each[1])
    return interaction, torch.log(sum(scores.exp() for scores in each) / len(each)).float()


def test_scores_are_the_mean_of_the_probabilities_under_all_orders(case, asked, check_exact_ranking):
    check_exact_ranking(case[-1], *asked)


def test_enough_beams_rank_as_the_whole_catalogue(case, asked, check_enough_beams):
    check_enough_beams(case[-1], *asked, n_beams=case[-1].n_items)


@torch.no_grad()
def test_items_that_the_beams_of_any_order_find_have_exact_scores(case, asked):
    _, model = case
    interaction, expected = asked
    found = model.full_sort_predict(interaction)[:, 1:]
    is_found = found > -torch.inf
    close(found[is_found], expected[is_found])
    assert (is_found.sum(dim=1) >= model.num_beams).all()


def test_features_are_the_codes_of_a_bundle_with_unique_ids(prepare, tiny):
    arguments = ["--dataset=tiny", f"--data_path={tiny.parent}", "--text_encoder=lexical", "--lexical_dim=16"]
    sizes = ["--tokenizer=RQKMeans", "--n_levels=3", "--codebook_size=40", "--collisions=nearest_free", "--out=ids"]
    tokenize([*arguments, *sizes])
    data, model = prepare(semantic_ids="ids", vocabulary_size=150)
    ids = SemanticIds.load("ids")
    assert len(np.unique(ids.codes, axis=0)) == len(ids)
    rows = [ids.row[item] for item in data.train.field2id_token["item_id"][1:]]
    assert np.array_equal(model.features[1:].numpy(), ids.codes[rows] + 1 + np.array([0, 40, 80]))


@torch.no_grad()
def test_the_loss_is_the_likelihood_of_the_targets_under_the_order_they_were_read_in(case):
    data, model = case
    model.orders = model.orders[:1]
    batch = next(iter(data.train_data))
    (loss,) = model.row_losses(batch)
    asked = Interaction({model.USER_ID: batch.users, model.ITEM_SEQ: batch.inputs})
    asked.update(Interaction({model.ITEM_SEQ_LEN: (batch.inputs > 0).sum(dim=1), model.ITEM_ID: batch.targets}))
    close(loss, -model.predict(asked).mean() / model.ids.n_levels)


def test_a_run_learns_ranks_all_protocols_and_reloads_unchanged(generative):
    settings = {**generative.settings, **SMALL, "epochs": 3, "run_dir": "run", "learning_rate": 0.01}
    result = run_recbole("ActionPiece", "tiny", config_dict=settings)
    losses = [json.loads(line)["train_loss"] for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]
    assert set(result["test_result"]) == {"uni99", "full", "full_unseen"}
    config, model, data = load_data_and_model("run")
    assert evaluate_protocols(model, data.test, list(result["test_result"]), config, None) == result["test_result"]
    assert np.array_equal(read_inspected("run").codes, model.open_codes.numpy())
    assert [len(part) for part in read_run("run").codebooks.vectors] == model.open_sizes
    assert result["item_table_parameters"] == 110 * 16


def test_numbers_that_distinguish_equal_ids_are_drawn_from_buckets():
    codes = torch.tensor([[-1, -1, -1], *[[1, 2, number] for number in range(4)], *[[3, row, 0] for row in range(30)]])
    drawn = scattered(codes, 40)
    assert torch.equal(drawn[:, :2], codes[:, :2]) and torch.equal(drawn, scattered(codes, 40))
    assert len(drawn[1:5, 2].unique()) == 4 and drawn[1:].min() >= 0 and drawn[:, 2].max() < 40
    assert len(drawn[5:, 2].unique()) > 10
    with pytest.raises(ValueError, match="4 items share an ID, n_hash_buckets=3 tells fewer apart: raise it"):
        scattered(codes, 3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"decoder_only": True}, "decoder_only=True.*merges span items: leave it out"),
        ({"training_rows": "user"}, "training_rows=user has several targets"),
        ({"vocabulary_size": 20}, "vocabulary_size=20 is less than the 52 features"),
        ({"n_segmentations": 0}, "n_segmentations=0 is too small: give at least 1"),
        ({"n_hash_buckets": 2}, "items share an ID, n_hash_buckets=2 tells fewer apart"),
    ],
)
def test_bad_options_are_named(prepare, keys, message):
    with pytest.raises(ValueError, match=message):
        prepare(**keys)


def test_scores_are_the_log_of_a_mean_probability():
    model = actionpiece.ActionPiece.__new__(actionpiece.ActionPiece)
    torch.nn.Module.__init__(model)
    model.orders = torch.zeros(2, 1, 1)
    scores = torch.tensor([[math.log(0.5)], [math.log(0.1)], [-math.inf], [-math.inf]])
    close(model._over_orders(scores), torch.tensor([[math.log(0.3)], [-math.inf]]))

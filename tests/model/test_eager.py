"""EAGER: scores of both streams against complete ID sequences, losses, behaviour codes, and runs."""

import json
from pathlib import Path

import pytest
import torch

from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring.protocols import evaluate_protocols

SMALL = {"behaviour_dim": 8, "behaviour_levels": 2, "behaviour_codebook_size": 7, "n_user_tokens": 5}


@pytest.fixture
def prepare(generative):
    """Data and model of the given keys."""
    return lambda **keys: generative("EAGER", **{**SMALL, **keys})


@pytest.fixture
def case(prepare):
    return prepare()


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def written_out(model, users, items):
    """Log-likelihoods of all items after each history by both streams, each ID a training sequence of its own."""
    targets, of_streams = torch.arange(1, model.n_items), []
    for stream in model.streams:
        rows = []
        for user, history in zip(users, items):
            x, is_read = model.embedded(user[None], history[history > 0][None])
            encoded = model.transformer.encoder(x, is_read)
            n = len(targets)
            states = stream.written_states(encoded.expand(n, -1, -1), is_read.expand(n, -1), targets)
            parts = [
                stream.logits(states[:, level], level).log_softmax(-1).gather(1, stream.ids.codes[targets, level, None])
                for level in range(stream.ids.n_levels)
            ]
            rows.append((torch.cat(parts, dim=1) * ~stream.ids.is_past_end[targets]).sum(dim=1))
        of_streams.append(torch.stack(rows))
    return of_streams


@pytest.fixture
def asked(case):
    """Some test users and the mean of both streams' probabilities of all items."""
    data, model = case
    interaction = data.test.interactions[torch.arange(6)]
    with torch.no_grad():
        semantic, behaviour = written_out(model, interaction[model.USER_ID], interaction[model.ITEM_SEQ])
    assert not torch.allclose(semantic, behaviour)
    return interaction, torch.log((semantic.double().exp() + behaviour.double().exp()) / 2).float()


def test_scores_are_the_mean_of_both_streams_probabilities(case, asked, check_exact_ranking):
    check_exact_ranking(case[-1], *asked)


def test_enough_beams_rank_as_the_whole_catalogue(case, asked, check_enough_beams):
    check_enough_beams(case[-1], *asked, n_beams=case[-1].n_items)


@torch.no_grad()
def test_items_that_either_stream_finds_have_exact_scores(case, asked):
    _, model = case
    interaction, expected = asked
    found = model.full_sort_predict(interaction)[:, 1:]
    memory = model.memory_of(interaction)
    semantic = model.transformer.beam_scores(memory.semantic, model.num_beams)[:, 1:]
    behaviour = model.behaviour.beam_scores(memory.behaviour, model.num_beams)[:, 1:]
    in_one, in_other = semantic > -torch.inf, behaviour > -torch.inf
    assert torch.equal(found > -torch.inf, in_one | in_other)
    assert (in_one & ~in_other).any() and (in_other & ~in_one).any()
    close(found[in_one | in_other], expected[in_one | in_other])


@torch.no_grad()
def test_the_losses_are_the_likelihoods_of_the_targets_by_each_stream(case):
    data, model = case
    batch = next(iter(data.train_data))
    losses = model.row_losses(batch)
    expected = written_out(model, batch.users, batch.inputs)
    for loss, stream, scores in zip(losses, model.streams, expected, strict=True):
        own = scores.gather(1, batch.targets[:, None] - 1)
        close(loss, -own.mean() / stream.ids.n_levels)


def test_both_streams_and_the_shared_encoder_are_trained(case):
    data, model = case
    sum(model.train().row_losses(next(iter(data.train_data)))).backward()
    assert all(weight.grad.any() for weight in model.parameters())
    assert model.behaviour.encoder is None


def test_behaviour_codes_do_not_depend_on_text_nor_semantic_codes_on_behaviour(prepare):
    first, other_text, other_graph = (prepare(**keys)[1] for keys in ({}, {"lexical_dim": 2}, {"behaviour_dim": 5}))
    assert torch.equal(first.behaviour.ids.codes, other_text.behaviour.ids.codes)
    assert not torch.equal(first.ids.codes, other_text.ids.codes)
    assert torch.equal(first.ids.codes, other_graph.ids.codes)
    assert not torch.equal(first.behaviour.ids.codes, other_graph.behaviour.ids.codes)
    assert first.behaviour.ids.trie.n_leaves == first.n_items - 1


def test_a_run_learns_ranks_all_protocols_and_reloads_unchanged(generative):
    settings = {**generative.settings, **SMALL, "epochs": 3, "run_dir": "run", "learning_rate": 0.01}
    result = run_recbole("EAGER", "tiny", config_dict=settings)
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    assert {"semantic", "behaviour"} <= {name.removeprefix("train_").removesuffix("_loss") for name in lines[0]}
    config, model, data = load_data_and_model("run")
    assert evaluate_protocols(model, data.test, list(result["test_result"]), config, None) == result["test_result"]
    n_codes = sum(model.ids.codebook_sizes) + sum(model.behaviour.ids.codebook_sizes)
    assert result["item_table_parameters"] == 16 * n_codes


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"decoder_only": True}, "decoder_only=True has one stack, EAGER needs two decoders: leave it out"),
        ({"behaviour_codebook_size": 500}, "behaviour_codebook_size=500 is more than the .* items in training"),
        ({"behaviour_levels": 0}, "behaviour_levels=0 is too small: give at least 1"),
    ],
)
def test_bad_options_are_named(prepare, keys, message):
    with pytest.raises(ValueError, match=message):
        prepare(**keys)

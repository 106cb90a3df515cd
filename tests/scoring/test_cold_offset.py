"""The offset of new items: the largest whose loss on the validation items stays within the limit."""

import json

import pytest
import torch

from recbole_unirep.model.new_items import embed_new_items
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring import cold_offset, ranking_weights
from recbole_unirep.scoring.cold_offset import choose_cold_offset
from recbole_unirep.scoring.protocols import evaluate_protocols
from recbole_unirep.scoring.score_features import ScoreFeatures

KEYS = {
    "n_levels": 3,
    "codebook_size": 8,
    "code_dim": 8,
    "encoder_sizes": [12],
    "text_encoder": "lexical",
    "lexical_dim": 8,
    "users_per_batch": 16,
    "topk": [10],
}
COLD = {"split": "cold_items", "cold_item_share": 0.2}


@pytest.fixture
def built(load):
    def build(**keys):
        config, data, model = load("UniRep", **{**KEYS, **keys})
        generator = torch.Generator().manual_seed(3)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
        return config, data, model.eval()

    return build


@pytest.mark.parametrize("loss", [0.01, 0.2])
def test_the_largest_offset_within_the_loss_is_chosen(built, monkeypatch, loss):
    monkeypatch.setattr(cold_offset, "LOSS", loss)
    monkeypatch.setattr(ranking_weights, "BATCH", 7)
    config, data, model = built(**COLD)
    found = choose_cold_offset(model, data.valid, config)

    def metric(offset):
        model.score_bias.cold_offset.fill_(offset)
        return evaluate_protocols(model, data.valid, ["full"], config, None)["full"]["ndcg@10"]

    without = metric(-1e6)
    losses = [1 - metric(offset) / without for offset in cold_offset.OFFSETS]
    within = max(place for place in range(len(losses)) if all(part <= loss for part in losses[: place + 1]))
    assert 0 < within < len(losses) - 1
    assert found.value == cold_offset.OFFSETS[within] and found.loss == pytest.approx(losses[within], abs=1e-5)


@pytest.mark.parametrize("kind", ["mean", "zero", "nearest"])
def test_stand_ins_are_what_new_items_with_their_texts_would_be(built, kind):
    _, _, model = built(cold_id_embedding=kind)
    table, items = model.item_embedding, torch.tensor([3, 7, 50])
    rows, directions = model.embed_as_new(items)
    text = table.item_text_embedding
    new = embed_new_items(table, text[items], id_fallback="zero")
    torch.testing.assert_close(directions, new.directions)
    others = torch.tensor([item for item in range(1, model.n_items) if item not in items])
    ids = table.id_embedding.weight[others - 1]
    if kind == "mean":
        parts = ids.mean(dim=0).expand(3, -1)
    elif kind == "zero":
        parts = torch.zeros(3, ids.size(1))
    else:
        unit = torch.nn.functional.normalize(text, dim=-1)
        parts = ids[(unit[items] @ unit[others].T).argmax(dim=1)]
    semantic = table.encoded_items.semantic[items - 1]
    torch.testing.assert_close(rows, table.fusion(torch.cat([semantic, parts], dim=-1)))


def test_stand_ins_that_score_less_get_as_much_more(built, monkeypatch):
    config, data, model = built()
    before, of_new = choose_cold_offset(model, data.valid, config), ScoreFeatures.of_new
    monkeypatch.setattr(ScoreFeatures, "of_new", lambda self, directions: of_new(self, directions) - 2)
    assert choose_cold_offset(model, data.valid, config).value == pytest.approx(before.value + 2)


def test_ranking_weights_are_chosen_beside_a_given_offset(built):
    config, data, model = built(**COLD, cold_offset=1.5, repeat_bias=False, transition_bias=0)
    choice = ranking_weights.choose_ranking_weights(model, data.valid, config, ["popularity_bias"])
    for row in choice.table:
        model.score_bias.set_ranking_weights({"popularity_bias": row["popularity_bias"]})
        found = evaluate_protocols(model, data.valid, ["full"], config, None)["full"]["ndcg@10"]
        assert row["score"] == pytest.approx(found, abs=2e-6)


def test_the_offset_is_added_to_cold_items_alone(built):
    config, data, model = built(**COLD)
    interaction, scores = data.test.interactions, []
    n_warm = data.test.n_training_items
    for offset in (0.0, 1.75):
        model.score_bias.cold_offset.fill_(offset)
        scores.append(model.full_sort_predict(interaction).detach())
    gain = scores[1] - scores[0]
    assert not gain[:, :n_warm].any()
    torch.testing.assert_close(gain[:, n_warm:], torch.full_like(gain[:, n_warm:], 1.75))


def test_models_that_cannot_embed_new_items_have_no_offset(built, load):
    config, data, model = built(representation="id", fusion="project")
    assert choose_cold_offset(model, data.valid, config) is None
    config, data, model = load("SASRec")
    assert choose_cold_offset(model.eval(), data.valid, config) is None


def test_a_run_keeps_its_offset_and_ranks_cold_items_with_it(tiny, tmp_path):
    keys = {**KEYS, **COLD, "epochs": 2, "show_progress": False, "data_path": str(tiny.parent), "run_dir": "run"}
    result = run_recbole("UniRep", "tiny", config_dict=keys)
    chosen = json.loads((tmp_path / "run" / "result.json").read_text())["chosen_on_validation"]
    assert chosen["cold_offset"] in cold_offset.OFFSETS and chosen["cold_offset_loss"] <= cold_offset.LOSS
    again = run_recbole(arguments=["--resume=run"])
    assert {**again["chosen_on_validation"], "seconds": chosen["seconds"]} == chosen and chosen["cold_offset"] != 0
    assert again["test_result"] == result["test_result"]
    config, model, data = load_data_and_model("run")
    assert model.score_bias.cold_offset_in_use == chosen["cold_offset"]
    assert evaluate_protocols(model, data.test, ["full"], config, None)["full"] == result["test_result"]["full"]
    _, given, _ = load_data_and_model("run", cold_offset=2.0)
    assert given.score_bias.cold_offset_in_use == chosen["cold_offset"]  # the checkpoint's, as for the other weights


def test_new_items_have_the_usual_number_of_interactions(built):
    _, data, model = built(**COLD)
    bias, n_warm = model.score_bias, data.train.n_training_items
    usual = bias.item_counts[1:n_warm].double().log1p().mean().expm1().item()
    assert bias.item_counts[n_warm:].tolist() == pytest.approx([usual] * (data.train.item_num - n_warm))
    bias.extend(2)
    assert bias.item_counts[-2:].tolist() == pytest.approx([usual] * 2)

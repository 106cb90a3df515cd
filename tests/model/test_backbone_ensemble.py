"""Several backbones over one item table."""

import pytest
import torch

from recbole_unirep.model.backbone import BackboneEnsemble, backbone_names, is_causal_backbone
from recbole_unirep.scoring.model_contract import replaced, sequence_states, with_item_table

CAUSAL = [name for name in backbone_names() if is_causal_backbone(name)]


@pytest.mark.parametrize("backbone", CAUSAL)
def test_states_are_the_mean_of_the_members(prepare, backbone):
    _, data, model = prepare(backbone=backbone, n_backbones=3, similarity="dot")
    ensemble, items = model.eval().backbone, data.test.interactions["item_id_list"]
    members = [replaced(member, item_embedding=model.item_embedding) for member in ensemble.members]
    with torch.no_grad():
        each = torch.stack([sequence_states(member)(items) for member in members])
        assert not torch.allclose(each[0], each[1], atol=1e-3)  # each is initialized on its own
        torch.testing.assert_close(model.sequence_states(items), each.mean(dim=0))


def test_one_table_serves_all_members(prepare):
    _, data, model = prepare(n_backbones=2, n_layers=1)
    names = [name for name in model.state_dict() if "item_embedding" in name]
    assert names and all(name.startswith("backbone.item_embedding.") for name in names)
    sum(model.row_losses(next(iter(data.train_data)))).backward()
    for member in model.backbone.members:
        assert "item_embedding" not in dict(member.named_modules())
        assert all(part.grad.abs().sum() > 0 for part in member.trm_encoder.parameters() if part.grad is not None)
        assert member.local_convolution.weight.grad.abs().sum() > 0
    items = data.test.interactions["item_id_list"]
    doubled = torch.nn.Embedding.from_pretrained(2 * model.eval().item_embedding.weight.detach())
    with torch.no_grad():
        other = with_item_table(model, doubled)
        assert not torch.allclose(other.sequence_states(items), model.sequence_states(items), atol=1e-4)
        assert other.item_embedding is doubled and model.item_embedding is not doubled


@pytest.mark.parametrize("protocol", ["full", "recbole"])
def test_scores_agree(prepare, protocol):
    keys = {"training_rows": "prefix", "loss_type": "CE"} if protocol == "recbole" else {}
    _, data, model = prepare(n_backbones=2, n_layers=1, similarity="dot", local_convolution=0, **keys)
    assert isinstance(model.backbone, BackboneEnsemble)
    rows = data.test.interactions
    with torch.no_grad():
        scores = model.eval().full_sort_predict(rows)
        torch.testing.assert_close(model.predict(rows), scores.gather(1, data.test.targets.items[:, None])[:, 0])
    if protocol == "recbole":
        assert all(map(torch.isfinite, model.train().calculate_loss(next(iter(data.train_data)))))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (3, 1)),
        ({"n_layers": 2}, (1, 2)),
        ({"n_layers": 2, "n_backbones": 2}, (2, 2)),
        ({"n_backbones": 5}, (5, 1)),
        ({"backbone": "HSTU"}, (1, 2)),
        ({"backbone": "BERT4Rec"}, (1, 2)),
        ({"preset": "paper"}, (1, 2)),
    ],
)
def test_three_backbones_of_one_layer_are_the_default_of_sasrec(prepare, given, expected):
    config, _, model = prepare(**given)
    assert (config["n_backbones"], config["n_layers"]) == expected
    assert len(getattr(model.backbone, "members", [model])) == expected[0]
    line = "not used: n_backbones 3, because n_layers is given without it"
    assert (line in config.notes) == (given == {"n_layers": 2})


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"n_backbones": 0}, "n_backbones=0 "),
        ({"n_backbones": 1.5}, "n_backbones=1.5 is not a whole number"),
        ({"backbone": "Caser", "n_backbones": 2}, "n_backbones=2 is for backbone SASRec .*, found Caser"),
    ],
)
def test_a_wrong_number_of_backbones_is_an_error(prepare, keys, says):
    with pytest.raises(ValueError, match=says):
        prepare(**keys)

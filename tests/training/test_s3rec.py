"""S3Rec's pre-training step matches RecBole's own: the same losses, the same distribution of masks and segments."""

import random
from statistics import mean

import pytest
import torch

from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data
from recbole_unirep.model.build import build_model
from recbole_unirep.training.s3rec import ROWS_AT_ONCE, PretrainingBatch, PretrainingStep, attribute_matrix, draw_batch

WEIGHTS = ("aap_weight", "mip_weight", "map_weight", "sp_weight")
LENGTH = 9


def make_model(tiny, **keys):
    keys = {"data_path": str(tiny.parent), "hidden_size": 8, "MAX_ITEM_LIST_LENGTH": LENGTH, **keys}
    config = Config("S3Rec", "tiny", config_dict=keys)
    data = load_data(config, one_row_a_user=False)
    torch.manual_seed(0)
    model = build_model(config, data.train)
    with torch.no_grad():
        for part in model.parameters():
            part.normal_(std=0.5)  # RecBole's initial values are so small that every loss is log 2
    return model, data.train_data


@pytest.fixture
def s3rec(tiny):
    return make_model(tiny)


def rows(model, n_rows, seed=0):
    """Random sequences of all lengths, padded on the right, and their lengths."""
    draw = torch.Generator().manual_seed(seed)
    length = torch.randint(1, LENGTH + 1, (n_rows,), generator=draw)
    items = torch.stack([torch.randperm(model.n_items - 2, generator=draw)[:LENGTH] + 1 for _ in range(n_rows)])
    return items * (torch.arange(LENGTH) < length[:, None]), length


def recbole_loss(model, batch, features, name=None):
    """RecBole's loss of a batch; with `name`, only the part that this weight multiplies."""
    kept = {weight: getattr(model, weight) for weight in WEIGHTS}
    for weight in WEIGHTS:
        setattr(model, weight, kept[weight] if name is None else float(weight == name))
    loss = model.pretrain(features, *batch)
    for weight, value in kept.items():
        setattr(model, weight, value)
    return loss.item()


@pytest.mark.parametrize("attribute", ["token_seq", "token"])
def test_the_four_losses_equal_recboles_with_the_same_masks(tiny, attribute):
    item_file = tiny / "tiny.item"
    text = item_file.read_text(encoding="utf-8").replace("categories:token_seq", f"categories:{attribute}")
    item_file.write_text(text, encoding="utf-8")
    model, _ = make_model(tiny)
    model.eval()  # no dropout
    random.seed(3)
    features, *parts = model.reconstruct_pretrain_data(*rows(model, ROWS_AT_ONCE + 20))
    batch, step = PretrainingBatch(*parts), PretrainingStep(model)
    losses = step.losses(batch)
    for name, loss in zip(WEIGHTS, losses):
        assert loss.item() == pytest.approx(recbole_loss(model, batch, features, name), rel=1e-5)
    is_item = batch.pos_items != 0
    assert torch.equal(step.attributes[batch.pos_items][is_item].long(), features[is_item])
    empty = int((model.item_feat["categories"].reshape(model.n_items - 1, -1).sum(dim=1) == 0).nonzero()[1])
    assert step.attributes[empty].sum() == (attribute == "token")  # RecBole's last attribute, or none
    assert len({round(loss.item(), 3) for loss in losses}) == 4


def test_our_draw_gives_the_same_loss_in_recbole(s3rec):
    model, loader = s3rec
    model.eval()
    step, interaction = PretrainingStep(model), next(iter(loader))
    item_seq, length = interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN]
    torch.manual_seed(1)
    losses = step(interaction)
    torch.manual_seed(1)
    batch = draw_batch(item_seq, length, model.mask_token, model.mask_ratio)
    features = attribute_matrix(model)[batch.pos_items].long()
    assert sum(losses).item() == pytest.approx(recbole_loss(model, batch, features), rel=1e-5)


def test_gradients_equal_recboles(s3rec):
    model, _ = s3rec
    model.eval()
    features, *parts = model.reconstruct_pretrain_data(*rows(model, 40))
    model.pretrain(features, *parts).backward()
    expected = {name: part.grad.clone() for name, part in model.named_parameters() if part.grad is not None}
    model.zero_grad()
    step = PretrainingStep(model)
    sum(weight * loss for weight, loss in zip(step.weights, step.losses(PretrainingBatch(*parts)))).backward()
    found = {name: part.grad for name, part in model.named_parameters() if part.grad is not None}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-4), name
    assert max(gradient.abs().max() for gradient in expected.values()) > 1


def statistics(batch, mask_token):
    """Statistics that describe the random draw of a batch: shares, mean places and the spread of the negatives."""
    is_item, is_masked = batch.pos_items != 0, batch.masked_items == mask_token
    in_segment = (batch.masked_segment == mask_token) & is_item
    long_rows = is_item.sum(dim=1) >= 2
    place = torch.arange(LENGTH).expand_as(is_item)
    negatives = batch.neg_items[is_masked].double()
    wrong = batch.neg_segment[in_segment].double()
    return {
        "masked": is_masked.sum() / is_item.sum(),
        "masked of the last": is_masked[:, -1].double().mean(),
        "negative": negatives.mean() / mask_token,
        "spread of negatives": negatives.std() / mask_token,
        "segment size": in_segment[long_rows].sum(dim=1).double().mean() / LENGTH,
        "share of segments of one item": (in_segment[long_rows].sum(dim=1) == 1).double().mean(),
        "segment place": place[in_segment].double().mean() / LENGTH,
        "segment at the end": in_segment[long_rows][:, -1].double().mean(),
        "wrong segment": wrong.mean() / mask_token,
        "own items in the wrong segment": (batch.neg_segment == batch.pos_segment)[in_segment].double().mean(),
    }


def test_masks_and_segments_are_distributed_as_in_recbole(s3rec):
    model, _ = s3rec
    random.seed(0)
    torch.manual_seed(0)
    found, expected = [], []
    for seed in range(30):
        item_seq, length = rows(model, 200, seed)
        found.append(statistics(draw_batch(item_seq, length, model.mask_token, model.mask_ratio), model.mask_token))
        by_recbole = PretrainingBatch(*model.reconstruct_pretrain_data(item_seq, length)[1:])
        expected.append(statistics(by_recbole, model.mask_token))
    for name in found[0]:
        ours, theirs = (torch.stack([batch[name].double() for batch in side]) for side in (found, expected))
        error = (ours.var() / len(ours) + theirs.var() / len(theirs)).sqrt()
        assert abs(ours.mean() - theirs.mean()) < 4 * error, name
        assert error < 0.01, name


def test_every_field_of_a_batch_follows_its_definition(s3rec):
    model, _ = s3rec
    item_seq, length = rows(model, 500)
    batch = draw_batch(item_seq, length, model.mask_token, 0.5)
    for row, n_items in enumerate(length.tolist()):
        items = item_seq[row, :n_items].tolist()
        padding = [0] * (LENGTH - n_items)
        assert batch.pos_items[row].tolist() == padding + items
        for part in batch:
            assert part[row, : LENGTH - n_items].tolist() == padding
            assert 0 not in part[row, LENGTH - n_items :].tolist()
        for item, masked, negative in zip(items, *(part[row, -n_items:].tolist() for part in batch[:3:2])):
            assert (masked == item and negative == item) or (masked == model.mask_token and negative not in items)
        context, right, wrong = (part[row, -n_items:].tolist() for part in batch[3:])
        if n_items == 1:
            assert context == right == wrong == items
            continue
        inside = [place for place, item in enumerate(context) if item == model.mask_token]
        assert inside == list(range(inside[0], inside[-1] + 1))
        assert 1 <= len(inside) <= n_items // 2
        for place, item in enumerate(items):
            assert (right[place] == item) if place in inside else (right[place] == wrong[place] == model.mask_token)
            assert place in inside or context[place] == item


def test_the_wrong_segment_is_taken_from_the_batch(s3rec):
    model, _ = s3rec
    item_seq, length = rows(model, 50)
    in_batch = [item for row, n_items in zip(item_seq.tolist(), length.tolist()) for item in row[:n_items]]
    batch = draw_batch(item_seq, length, model.mask_token, 0.2)
    sizes = []
    for context, wrong in zip(batch.masked_segment, batch.neg_segment):
        segment = wrong[context == model.mask_token].tolist()
        sizes.append(len(segment))
        assert any(in_batch[start : start + len(segment)] == segment for start in range(len(in_batch)))
    assert mean(sizes) > 1


def test_negatives_are_found_for_a_row_that_holds_every_item():
    item_seq, length = torch.arange(1, 5)[None], torch.tensor([4])
    batch = draw_batch(item_seq, length, mask_token=5, mask_ratio=1.0)
    assert batch.neg_items.tolist() == [[5, 5, 5, 5]]  # the mask token itself, which RecBole draws too


def test_an_item_has_the_attributes_of_its_quoted_list(s3rec):
    model, loader = s3rec
    dataset = loader.dataset
    names = dataset.field2id_token["categories"][1:].tolist()
    assert {"Beauty", "shampoo", "soap"} <= set(names)
    matrix = attribute_matrix(model)
    soap = next(item for item in range(1, dataset.item_num) if matrix[item, names.index("soap")])
    assert matrix[soap].sum() == 2  # 'Beauty', 'soap'
    assert matrix[0].sum() == 0
    assert matrix.shape == (dataset.item_num, model.n_features)

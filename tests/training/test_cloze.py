"""BERT4Rec on user sequences: RecBole's loss on the same masks, the configured share of masks, trimmed padding."""

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_unirep.model.build import trains_rows
from recbole_unirep.scoring.model_contract import trimmed
from recbole_unirep.training import cloze
from recbole_unirep.training.cloze import draw_masks, whole_rows
from recbole_unirep.training.losses import row_loss

N_ROWS = 4000
ITEMS = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 0, 0], [5, 0, 0, 0, 0]]).repeat(N_ROWS, 1)
MAY_BE_MASKED = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool().repeat(N_ROWS, 1)


@pytest.fixture
def bert(load):
    config, data, model = load("BERT4Rec")
    assert trains_rows(config)
    return config, data, model


def batches(data):
    data.train_data.epoch = 0
    return list(data.train_data)


def recbole_batch(model, items, is_masked):
    """RecBole's batch with the given masks."""
    index = [row.nonzero()[:, 0] for row in is_masked]
    width = max(map(len, index))
    place, targets = (torch.zeros(len(items), width, dtype=torch.int64) for _ in range(2))
    for row, (columns, row_items) in enumerate(zip(index, items)):
        place[row, : len(columns)], targets[row, : len(columns)] = columns, row_items[columns]
    names = model.MASK_ITEM_SEQ, model.MASK_INDEX, model.POS_ITEMS, model.NEG_ITEMS = "masked", "index", "pos", "neg"
    masked = items.masked_fill(is_masked, model.mask_token)
    return Interaction(dict(zip(names, (masked, place, targets, targets))))


def test_the_loss_equals_recboles_on_the_same_masks(bert, monkeypatch):
    config, data, model = bert
    model.eval()
    with torch.no_grad():
        model.output_bias.uniform_(-1, 1)
        model.output_bias[0] = -1e9  # RecBole includes padding in the softmax
    batch = batches(data)[0]
    items, may_be_masked = whole_rows(batch, model.max_seq_length)
    is_masked = draw_masks(items, may_be_masked, 0.4, 0.3)
    is_masked[:, 0] = False  # RecBole ignores a mask on the first item
    monkeypatch.setattr(cloze, "draw_masks", lambda *_: is_masked)
    loss = row_loss(model, batch, data.train_data.n_items, config)
    theirs = model.calculate_loss(recbole_batch(model, items, is_masked))
    torch.testing.assert_close(loss, theirs)
    parameters = [parameter for name, parameter in model.named_parameters() if name != "output_bias"]
    ours = torch.autograd.grad(loss, parameters)
    for gradient, expected in zip(ours, torch.autograd.grad(theirs, parameters)):
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("training_rows", ["user", "target"])
def test_every_training_item_may_be_masked_once_per_epoch(load, training_rows):
    _, data, model = load("BERT4Rec", training_rows=training_rows)
    counts = torch.zeros(model.n_items, dtype=torch.int64)
    for batch in batches(data):
        items, may_be_masked = whole_rows(batch, model.max_seq_length)
        assert items.size(1) <= model.max_seq_length
        assert not may_be_masked[items == 0].any()
        is_last = torch.arange(items.size(1)) == (items > 0).sum(dim=1, keepdim=True) - 1
        assert may_be_masked[is_last].all()
        counts += torch.bincount(items[may_be_masked], minlength=model.n_items)
    sequences, n_training = data.train_data.sequences, data.train_data.n_training
    in_training = torch.from_numpy(sequences.item_counts(n_training, model.n_items))
    assert (counts <= in_training).all()
    n_users = int((n_training > 1).sum())
    assert in_training.sum() - counts.sum() <= n_users  # a full row has no room for its first item


@pytest.mark.parametrize(("training_rows", "masks_all"), [("target", True), ("user", False)])
def test_rows_per_target_mask_earlier_items_as_recbole_does(load, training_rows, masks_all):
    """User sequences do not mask the items that other rows mask."""
    config, data, model = load(
        "BERT4Rec", training_rows=training_rows, mask_ratio=1.0, ft_ratio=0.0, MAX_ITEM_LIST_LENGTH=4
    )
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for batch in batches(data):
        row_loss(model, batch, data.train_data.n_items, config)
    is_masked = [bool(((items == model.mask_token) | (items == 0)).all()) for items in seen]
    assert all(is_masked) == masks_all


def test_items_are_masked_with_the_given_probability():
    torch.manual_seed(0)
    is_masked = draw_masks(ITEMS, MAY_BE_MASKED, 0.4, 0.0)
    assert not is_masked[~MAY_BE_MASKED].any()
    assert is_masked.any(dim=1).all()
    share = is_masked.view(N_ROWS, 3, 5).double().mean(dim=0)
    none = 0.6**3  # share of rows without a drawn mask; their last item is masked
    expected = torch.tensor([[0, 0, 0.4, 0.4, 0.4 + none], [0.4, 0.4, 0.4 + none, 0, 0], [1, 0, 0, 0, 0]])
    torch.testing.assert_close(share, expected.double(), atol=0.04, rtol=0)


def test_only_the_last_item_is_masked_with_the_given_probability():
    torch.manual_seed(0)
    is_last = torch.tensor([[0, 0, 0, 0, 1], [0, 0, 1, 0, 0], [1, 0, 0, 0, 0]]).bool().repeat(N_ROWS, 1)
    assert torch.equal(draw_masks(ITEMS, MAY_BE_MASKED, 0.4, 1.0), is_last)
    alone = (draw_masks(ITEMS, MAY_BE_MASKED, 1.0, 0.3) == is_last).all(dim=1).view(N_ROWS, 3)
    torch.testing.assert_close(alone.double().mean(dim=0), torch.tensor([0.3, 0.3, 1.0]).double(), atol=0.04, rtol=0)


@torch.no_grad()
def test_scores_do_not_depend_on_padding(bert):
    _, data, model = bert
    model.eval()
    short = data.test.interactions[data.test.interactions[model.ITEM_SEQ_LEN] <= 4]
    without_padding = trimmed(short, model)
    assert without_padding[model.ITEM_SEQ].size(1) < short[model.ITEM_SEQ].size(1)
    torch.testing.assert_close(model.full_sort_predict(without_padding), model.full_sort_predict(short))


@pytest.mark.parametrize("keys", [{"training_rows": "prefix"}, {"loss_type": "BPR"}, {"protocol": ["recbole"]}])
def test_recboles_own_rows_train_bert4rec_if_configured(load, keys):
    config, data, model = load("BERT4Rec", **keys)
    assert not trains_rows(config)
    assert torch.isfinite(model.calculate_loss(next(iter(data.train_data))))

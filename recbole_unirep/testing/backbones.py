"""The backbone contract: promises of every backbone of UniRep, as functions that need no test runner."""

import torch

from recbole_unirep.model.backbone import backbone_class, is_causal_backbone, item_size_key
from recbole_unirep.settings.known_keys import RECBOLE
from recbole_unirep.settings.parts import part_file, read_keys
from recbole_unirep.testing.expectations import expect, expect_close, expect_error
from recbole_unirep.testing.models import predict_agrees_with_full_sort_predict, states_see_no_later_item
from recbole_unirep.testing.tiny_dataset import build, class_of, tiny_dataset

SIZES = {
    "n_levels": 3,
    "codebook_size": 8,
    "code_dim": 8,
    "encoder_sizes": [12],
}  # of RQVAE; the ID embedding also has 8 dimensions
ONE = {"n_backbones": 1}


def check_backbone(backbone, **settings):
    """Checks every promise of the backbone contract with UniRep on a tiny dataset.

    Args:
        backbone (str or type): its name, as in its entry point or our table, or its class.
        **settings: config keys that override its yaml; the item table has 16 dimensions.

    Raises:
        AssertionError: a promise is broken; the message names it.
        ValueError: the backbone is unknown.

    A test of a package's backbone, for pytest, where the package is installed::

        from recbole_unirep.testing import check_backbone


        def test_its_name_keeps_the_contract():
            check_backbone("ItsName", n_layers=1)
    """
    name = class_of(backbone, backbone_class).__name__
    with tiny_dataset(model="UniRep", backbone=name, **{**SIZES, **ONE, **settings}) as keys:
        for promise in BACKBONE_PROMISES:
            promise(name, keys)


def its_yaml_declares_the_size_of_its_table(name, keys):
    """`item_size_key` is a key of its yaml."""
    files = part_file("backbone", name), RECBOLE / "properties" / "model" / f"{name}.yaml"
    declared = {key for file in files if file.is_file() for key in read_keys(file)}
    expect(item_size_key(name) in declared, f"{name}: its yaml declares no {item_size_key(name)}, its item_size_key")


def recboles_own_loader_trains_its_item_table(name, keys):
    """With CE and with BPR, the gradient of a batch of prefixes reaches the unified item table."""
    for loss_type in ("CE", "BPR"):
        _, data, model = build({**keys, "loss_type": loss_type, "training_rows": "prefix"})
        losses = model.calculate_loss(next(iter(data.train_data)))
        n_names = len(model.loss_names)
        expect(
            len(losses) == n_names,
            f"{name}: UniRep over it has {len(losses)} losses with loss_type={loss_type}, not {n_names}",
        )
        _expect_gradient_at_the_table(name, model, losses, f"loss_type={loss_type}")


def user_sequences_train_its_item_table(name, keys):
    """A causal backbone trains on user sequences with every loss; others refuse losses that train every position."""
    for loss_type in ("CE", "BCE", "BPR", "SSM"):
        if is_causal_backbone(name):
            _, data, model = build({**keys, "loss_type": loss_type})
            _expect_gradient_at_the_table(name, model, model.row_losses(next(iter(data.train_data))), loss_type)
        elif loss_type in ("BCE", "SSM"):
            with expect_error(f"{name} has no sequence_states but accepts {loss_type}", f"loss_type={loss_type}"):
                build({**keys, "loss_type": loss_type})


@torch.no_grad()
def local_convolution_is_read(name, keys):
    """A causal backbone uses `scoring.model_contract.read_items`, which adds UniRep's local_convolution."""
    if not is_causal_backbone(name):
        return
    _, data, model = build({**keys, "local_convolution": 2})
    _, _, plain = build({**keys, "local_convolution": 0})
    state = {key: value for key, value in model.state_dict().items() if "local_convolution" not in key}
    plain.load_state_dict(state)
    items = data.test.interactions[model.ITEM_SEQ]
    states, convolution = model.eval().sequence_states(items), model.backbone.local_convolution
    for parameter in convolution.parameters():
        parameter.zero_()
    without = model.sequence_states(items)
    expect(not torch.allclose(states, without), f"{name}: local_convolution changes no state: use read_items")
    expect_close(plain.eval().sequence_states(items), without, f"{name}: a convolution of zeros changes states")


def _expect_gradient_at_the_table(name, model, losses, by):
    expect(all(map(torch.isfinite, losses)), f"{name}: losses are {[loss.item() for loss in losses]} by {by}")
    sum(losses).backward()
    table = model.item_embedding
    for what, weight in (("ID", table.id_embedding.weight), ("text", table.tokenizer.encoder[0].weight)):
        expect(bool(weight.grad.any()), f"{name}: no gradient reaches the {what} part of its items by {by}")


BACKBONE_PROMISES = [
    its_yaml_declares_the_size_of_its_table,
    predict_agrees_with_full_sort_predict,
    states_see_no_later_item,
    recboles_own_loader_trains_its_item_table,
    user_sequences_train_its_item_table,
    local_convolution_is_read,
]

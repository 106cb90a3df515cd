"""The recommender contract: promises of every model to RecBole and our engine, checked without a test runner."""

import torch
from recbole.model.abstract_recommender import SequentialRecommender

from recbole_unirep.config import find_model
from recbole_unirep.data.cold_items import LearnsNothing
from recbole_unirep.model.build import trains_rows
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.scoring.model_contract import RowTrained, ranking_bias, sequence_states
from recbole_unirep.scoring.protocols import evaluate_protocols
from recbole_unirep.testing.expectations import expect, expect_close, expect_equal
from recbole_unirep.testing.tiny_dataset import build, class_of, tiny_dataset
from recbole_unirep.training.losses import row_loss


def check_model(model, **settings):
    """Checks every promise of the recommender contract on a tiny dataset.

    Args:
        model (str or type): its name, as in its entry point or our table, or its class.
        **settings: config keys that override its yaml; common sizes are already small (tiny_dataset.SIZES).

    Raises:
        AssertionError: a promise is broken; the message names it.
        ValueError: the model is unknown.

    A test of a package's model, for pytest, where the package is installed::

        from recbole_unirep.testing import check_model


        def test_its_name_keeps_the_contract():
            check_model("ItsName", n_layers=1)
    """
    found = class_of(model, find_model)
    expect(issubclass(found, SequentialRecommender), f"{found.__name__} is not a SequentialRecommender of RecBole")
    with tiny_dataset(model=found.__name__, **settings) as keys:
        for promise in MODEL_PROMISES:
            promise(found.__name__, keys)


@torch.no_grad()
def predict_agrees_with_full_sort_predict(name, keys):
    """`predict` gives the scores [B] that `full_sort_predict` gives the same items in [B, n_items]."""
    _, data, model = build(keys)
    batch, items = data.test.interactions, data.test.targets.items
    model.eval()
    scores = model.full_sort_predict(batch).view(len(items), -1)
    expect(scores.shape[1] == model.n_items, f"{name}: full_sort_predict gives {scores.shape[1]} scores per user")
    expect(not scores[:, 1:].isnan().any(), f"{name}: full_sort_predict gives NaN")
    found = scores.gather(1, items[:, None])[:, 0]
    asked = model.predict(batch)
    is_found = found > -torch.inf  # a beam search does not score all items
    expect_close(asked[is_found], found[is_found], f"{name}: predict and full_sort_predict differ")
    expect_equal(
        model.full_sort_predict(batch).view(len(items), -1),
        scores,
        f"{name}: a second full_sort_predict gives different scores",
    )


def recboles_own_loader_trains_it(name, keys):
    """`calculate_loss` of a batch of prefixes is finite, and its gradient reaches a parameter."""
    _, data, model = build({**keys, "training_rows": "prefix"})
    _expect_gradient(name, model, model.calculate_loss(next(iter(data.train_data))), "calculate_loss")


def user_sequences_train_it(name, keys):
    """The loss of a batch of our training rows is finite with a gradient, if the model trains on them."""
    config, data, model = build(keys)
    if trains_rows(config):
        batch = next(iter(data.train_data))
        is_own = isinstance(model, RowTrained)
        losses = model.row_losses(batch) if is_own else row_loss(model, batch, data.train_data.n_items, config)
        _expect_gradient(name, model, losses, "the loss of training rows")


@torch.no_grad()
def states_see_no_later_item(name, keys):
    """`sequence_states`, if any, do not depend on later items; a state times the item table gives the scores."""
    _, data, model = build(keys)
    states = sequence_states(model.eval())
    if states is None:
        return
    batch = data.test.interactions
    items, length = batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN]
    found = states(items)
    expect(
        found.shape[:2] == items.shape,
        f"{name}: sequence_states gives {list(found.shape)} for item ids {list(items.shape)}",
    )
    later = items.clone()
    later[:, -1] = 1 + later[:, -1] % (model.n_items - 1)
    expect_close(states(later)[:, :-1], found[:, :-1], f"{name}: states depend on later items")
    short = items[:, :3]
    expect_close(states(short), found[:, :3], f"{name}: states depend on the length of the padding")
    last = found[torch.arange(len(items)), length - 1]
    products = last @ model.item_embedding.weight[: model.n_items].T
    scores = model.full_sort_predict(batch).view(len(items), -1)
    if ranking_bias(model) is None:
        expect_close(products[:, 1:], scores[:, 1:], f"{name}: state times item table is not full_sort_predict")


@torch.no_grad()
def state_dict_is_all_of_it(name, keys):
    """A model with another seed gives the same scores after it loads the state dict."""
    _, data, model = build(keys)
    _, _, again = build({**keys, "seed": 7})
    again.load_state_dict(model.state_dict())
    batch = data.test.interactions
    scores = model.eval().full_sort_predict(batch)
    expect_equal(again.eval().full_sort_predict(batch), scores, f"{name}: its state dict does not reproduce its scores")


def a_run_is_read_back(name, keys):
    """`run_recbole` trains it for one epoch; the model loaded from the run's folder has the same metrics."""
    run = f"{keys['data_path']}/run"
    result = run_recbole(config_dict={**keys, "epochs": 1, "run_dir": run})
    config, model, data = load_data_and_model(run)
    again = evaluate_protocols(model, data.test, ["full"], config, None)["full"]
    before = result["test_result"]["full"]
    expect(again == before, f"{name}: a loaded run has the metrics {again}, expected {before}")


def _expect_gradient(name, model, losses, what):
    loss = sum(losses) if isinstance(losses, tuple) else losses
    expect(loss.shape == () and bool(loss.isfinite()), f"{name}: {what} is {loss}, not one finite number")
    loss.backward()
    has_gradient = any(p.grad is not None and bool(p.grad.any()) for p in model.parameters())
    expect(has_gradient or isinstance(model, LearnsNothing), f"{name}: {what} has no gradient")


MODEL_PROMISES = [
    predict_agrees_with_full_sort_predict,
    recboles_own_loader_trains_it,
    user_sequences_train_it,
    states_see_no_later_item,
    state_dict_is_all_of_it,
    a_run_is_read_back,
]

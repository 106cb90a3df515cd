"""The tokenizer contract: what every tokenizer promises, as functions that need no test runner."""

from inspect import Parameter, signature

import torch

from recbole_unirep.testing.assigned_tokenizers import ASSIGNED_PROMISES
from recbole_unirep.testing.expectations import expect, expect_equal
from recbole_unirep.testing.tiny_dataset import build, tiny_dataset
from recbole_unirep.testing.tokenizer_case import tokenizer_case
from recbole_unirep.testing.vector_tokenizers import (
    VECTOR_PROMISES,
    last_code_is_the_nearest,
    says_that_it_was_not_fitted,
)
from recbole_unirep.tokenizer.assigned import AssignedTokenizer
from recbole_unirep.tokenizer.base import shipped_defaults

IN_UNIREP = {"model": "UniRep", "fusion": "project"}  # to the backbone's size, whatever code_dim is


def check_tokenizer(tokenizer, **settings):
    """Checks every promise of the tokenizer contract, those about its place in UniRep included.

    Args:
        tokenizer (str or type): its name, by which its entry point or our table knows it, or its class.
        **settings: keys of its yaml that should differ. SIZES gives small values to the usual keys; vectors have 12
            dimensions here, and there are 50 of them.

    Raises:
        AssertionError: a promise is not kept; the message says which.
        ValueError: there is no tokenizer of that name.

    A test of a package's tokenizer, to be run by pytest where the package is installed::

        from recbole_unirep.testing import check_tokenizer


        def test_its_name_keeps_the_contract():
            check_tokenizer("ItsName", n_levels=3)
    """
    case = tokenizer_case(tokenizer, **settings)
    for promise in promises_of(case.tokenizer):
        promise(case)


def promises_of(tokenizer) -> list:
    """The promises that a tokenizer's class has to keep (list of callable).

    Each is a function of a `TokenizerCase` that raises AssertionError, so that a test may ask for one at a time.
    """
    if issubclass(tokenizer, AssignedTokenizer):
        return [constructor_takes_the_yaml_keys, *ASSIGNED_PROMISES, serves_unirep_by_its_name]
    promises = [constructor_takes_the_yaml_keys, *VECTOR_PROMISES]
    if hasattr(tokenizer, "last_level"):
        promises.append(last_code_is_the_nearest)
    if tokenizer.is_trained:
        return [*promises, trains_along_in_unirep]
    return [*promises, says_that_it_was_not_fitted, serves_unirep_by_its_name]


def constructor_takes_the_yaml_keys(case):
    """Arguments by keyword alone, without defaults, named as the keys of its yaml; text_dim beside them."""
    parameters = dict(signature(case.tokenizer).parameters)
    for name, parameter in parameters.items():
        expect(parameter.kind == Parameter.KEYWORD_ONLY, f"{case.name}: {name} is no keyword-only argument")
        expect(parameter.default is Parameter.empty, f"{case.name}: {name} has a default, which belongs to the yaml")
    keys, arguments = set(shipped_defaults(case.name)), set(parameters) - {"text_dim"}
    expect(
        arguments == keys,
        f"{case.name}: arguments without a key in the yaml: {sorted(arguments - keys)}, keys that no argument takes: "
        f"{sorted(keys - arguments)}",
    )


def serves_unirep_by_its_name(case):
    """UniRep is built over its frozen codes, trains their vectors, and a state dict is all of the model."""
    with tiny_dataset(**IN_UNIREP, tokenizer=case.name, code_embedding_size=8, **case.settings) as keys:
        _, data, model = build(keys)
        _, _, again = build({**keys, "seed": 7})
    codes, sizes = model.item_embedding.codes(), model.item_embedding.codebook_sizes
    shape = (model.n_items - 1, len(sizes))
    expect(codes.shape == shape, f"{case.name}: UniRep has codes {list(codes.shape)} of {shape[0]} items, {sizes}")
    if not getattr(case.tokenizer, "is_collaborative", False):  # whose graph is factorized by the run's seed
        expect_equal(again.item_embedding.codes(), codes, f"{case.name}: codes hang on the run's seed, not on its own")
    expect(
        model.loss_names == ["recommendation"], f"{case.name}: frozen codes have losses {model.loss_names} in UniRep"
    )
    report = set(model.codebook_report())
    expect(report > {"unique_item_coverage", "collision_rate"}, f"{case.name}: the codebook report has {report}")
    n_numbers = 8 * sum(sizes) + 8 * (model.n_items - 1)
    expect(
        model.item_table_parameters == n_numbers,
        f"{case.name}: the item table has {model.item_table_parameters} numbers, {n_numbers} were expected",
    )
    sum(model.row_losses(next(iter(data.train_data)))).backward()
    gradient = model.item_embedding.code_embedding.vectors.weight.grad
    expect(bool(gradient.any()), f"{case.name}: no gradient reaches the vectors of its codes")
    _expect_one_table(case, model, again)


def trains_along_in_unirep(case):
    """UniRep trains it by its losses, with codes and without, and a state dict is all of the model."""
    for representation in ("text_id", "unified"):
        keys = {"representation": representation, "dead_code_steps": 1, **case.settings}
        with tiny_dataset(**IN_UNIREP, tokenizer=case.name, **keys) as keys:
            _, data, model = build(keys)
            _, _, again = build({**keys, "seed": 7})
        losses = model.row_losses(next(iter(data.train_data)))
        expect(len(losses) == len(model.loss_names), f"{case.name}: {len(losses)} losses, {model.loss_names} are named")
        expect(all(map(torch.isfinite, losses)), f"{case.name}: losses are {[loss.item() for loss in losses]}")
        sum(losses).backward()
        gradients = [parameter.grad for parameter in model.item_embedding.tokenizer.parameters()]
        is_reached = any(gradient is not None and bool(gradient.any()) for gradient in gradients)
        expect(is_reached, f"{case.name}: no loss of UniRep with representation={representation} reaches it")
    codes, sizes = model.item_embedding.codes(), torch.tensor(model.item_embedding.codebook_sizes)
    expect(
        codes.shape == (model.n_items - 1, len(sizes)) and bool((codes >= 0).all() and (codes < sizes).all()),
        f"{case.name}: UniRep has codes {list(codes.shape)} of {model.n_items - 1} items and {sizes.tolist()} codes",
    )
    _expect_one_table(case, model, again)


def _expect_one_table(case, model, again):
    """Items have the same embedding one by one and in the table, and in a model with the same state dict."""
    table = model.eval().item_embedding.weight
    rows = model.item_embedding(torch.arange(1, model.n_items))
    expect_equal(rows, table[1 : model.n_items], f"{case.name}: items have other embeddings alone than in the table")
    again.load_state_dict(model.state_dict())
    expect_equal(
        again.eval().item_embedding.weight, table, f"{case.name}: UniRep's state dict gives another item table"
    )

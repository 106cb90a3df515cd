"""The tokenizer contract: promises of every tokenizer, as functions that need no test runner."""

from inspect import Parameter, signature

import torch

from recbole_unirep.testing.assigned_tokenizers import ASSIGNED_PROMISES
from recbole_unirep.testing.expectations import expect, expect_equal
from recbole_unirep.testing.tiny_dataset import build, tiny_dataset
from recbole_unirep.testing.tokenizer_case import TEXT_DIM, tokenizer_case
from recbole_unirep.testing.trained_tokenizers import TRAINED_PROMISES
from recbole_unirep.testing.vector_tokenizers import (
    VECTOR_PROMISES,
    encode_before_fit_is_refused,
    last_code_is_the_nearest,
)
from recbole_unirep.tokenizer.assigned import AssignedTokenizer
from recbole_unirep.tokenizer.base import shipped_defaults

IN_UNIREP = {"model": "UniRep", "fusion": "project"}  # a projection lets any code_dim fit the backbone


def check_tokenizer(tokenizer, **settings):
    """Checks every promise of the tokenizer contract, including its use in UniRep.

    Args:
        tokenizer (str or type): its name, as in its entry point or our table, or its class.
        **settings: config keys that override its yaml; common sizes are already small (tokenizer_case.SIZES).
            The checks use 50 vectors of 12 dimensions.

    Raises:
        AssertionError: a promise is broken; the message names it.
        ValueError: the tokenizer is unknown.

    A test of a package's tokenizer, for pytest, where the package is installed::

        from recbole_unirep.testing import check_tokenizer


        def test_its_name_keeps_the_contract():
            check_tokenizer("ItsName", n_levels=3)
    """
    case = tokenizer_case(tokenizer, **settings)
    for promise in promises_of(case.tokenizer):
        promise(case)


def promises_of(tokenizer) -> list:
    """Promises that a tokenizer's class must keep (list of callable).

    Each is a function of a `TokenizerCase` that raises AssertionError, so that a test can check them one by one.
    """
    if issubclass(tokenizer, AssignedTokenizer):
        return [*KEY_PROMISES, *ASSIGNED_PROMISES, serves_unirep_by_its_name]
    promises = [*KEY_PROMISES, *VECTOR_PROMISES]
    if hasattr(tokenizer, "last_level"):
        promises.append(last_code_is_the_nearest)
    if tokenizer.is_trained:
        return [*promises, *TRAINED_PROMISES, trains_along_in_unirep]
    return [*promises, encode_before_fit_is_refused, serves_unirep_by_its_name]


def constructor_takes_keywords_without_defaults(case):
    """Constructor arguments are keyword-only and have no defaults, which belong to the yaml."""
    for name, parameter in signature(case.tokenizer).parameters.items():
        expect(parameter.kind == Parameter.KEYWORD_ONLY, f"{case.name}: {name} is not a keyword-only argument")
        expect(parameter.default is Parameter.empty, f"{case.name}: {name} has a default, which belongs to the yaml")


def it_is_built_from_the_keys_of_its_yaml(case):
    """`from_keys` takes the keys of the yaml and text_dim, and needs each key; unknown keys are a TypeError."""
    keys = {**shipped_defaults(case.name), **case.settings, "text_dim": TEXT_DIM}
    try:
        case.tokenizer.from_keys(keys)
    except KeyError as error:
        raise AssertionError(f"{case.name}: its yaml lacks the key {error}") from error
    for key in shipped_defaults(case.name):
        try:
            case.tokenizer.from_keys({other: value for other, value in keys.items() if other != key})
        except KeyError as error:
            expect(key in str(error), f"{case.name}: without {key}, the KeyError names {error}")
        else:
            raise AssertionError(f"{case.name}: it ignores the key {key} of its yaml")
    try:
        case.tokenizer.from_defaults(**{f"{case.name}_unknown": 1})
    except TypeError as error:
        expect(f"{case.name}_unknown" in str(error), f"{case.name}: the error for an unknown key is '{error}'")
    else:
        raise AssertionError(f"{case.name}: from_defaults accepts unknown keys")


KEY_PROMISES = [constructor_takes_keywords_without_defaults, it_is_built_from_the_keys_of_its_yaml]


def serves_unirep_by_its_name(case):
    """UniRep trains vectors of its frozen codes, and a state dict restores the model."""
    with tiny_dataset(**IN_UNIREP, tokenizer=case.name, code_embedding_size=8, **case.settings) as keys:
        _, data, model = build(keys)
        _, _, again = build({**keys, "seed": 7})
    codes, sizes = model.item_embedding.codes(), model.item_embedding.codebook_sizes
    shape = (model.n_items - 1, len(sizes))
    expect(
        codes.shape == shape, f"{case.name}: UniRep has codes {list(codes.shape)} for {shape[0]} items, sizes {sizes}"
    )
    if not case.tokenizer.is_collaborative:  # collaborative vectors depend on the run's seed
        expect_equal(
            again.item_embedding.codes(), codes, f"{case.name}: codes depend on the run's seed, expected only fit_seed"
        )
    expect(
        model.loss_names == ["recommendation"], f"{case.name}: UniRep over frozen codes has losses {model.loss_names}"
    )
    report = set(model.codebook_report())
    expect(report > {"unique_item_coverage", "collision_rate"}, f"{case.name}: the codebook report holds {report}")
    n_numbers = 8 * sum(sizes) + 8 * (model.n_items - 1)
    expect(
        model.item_table_parameters == n_numbers,
        f"{case.name}: the item table has {model.item_table_parameters} parameters, expected {n_numbers}",
    )
    sum(model.row_losses(next(iter(data.train_data)))).backward()
    gradient = model.item_embedding.code_embedding.vectors.weight.grad
    expect(bool(gradient.any()), f"{case.name}: no gradient reaches the vectors of its codes")
    _expect_one_table(case, model, again)


def trains_along_in_unirep(case):
    """UniRep's losses train the tokenizer, with and without codes, and a state dict restores the model."""
    for representation in ("text_id", "unified"):
        keys = {"representation": representation, "dead_code_steps": 1, **case.settings}
        with tiny_dataset(**IN_UNIREP, tokenizer=case.name, **keys) as keys:
            _, data, model = build(keys)
            _, _, again = build({**keys, "seed": 7})
        losses = model.row_losses(next(iter(data.train_data)))
        expect(
            len(losses) == len(model.loss_names),
            f"{case.name}: {len(losses)} losses, their names are {model.loss_names}",
        )
        expect(all(map(torch.isfinite, losses)), f"{case.name}: losses are {[loss.item() for loss in losses]}")
        sum(losses).backward()
        gradients = [parameter.grad for parameter in model.item_embedding.tokenizer.parameters()]
        is_reached = any(gradient is not None and bool(gradient.any()) for gradient in gradients)
        expect(is_reached, f"{case.name}: no loss of UniRep with representation={representation} reaches it")
    codes, sizes = model.item_embedding.codes(), torch.tensor(model.item_embedding.codebook_sizes)
    expect(
        codes.shape == (model.n_items - 1, len(sizes)) and bool((codes >= 0).all() and (codes < sizes).all()),
        f"{case.name}: UniRep has codes {list(codes.shape)} for {model.n_items - 1} items, sizes {sizes.tolist()}",
    )
    _expect_one_table(case, model, again)


def _expect_one_table(case, model, again):
    """An item has the same embedding alone, in the table, and in a model with the same state dict."""
    table = model.eval().item_embedding.weight
    rows = model.item_embedding(torch.arange(1, model.n_items))
    expect_equal(rows, table[1 : model.n_items], f"{case.name}: items have different embeddings alone and in the table")
    again.load_state_dict(model.state_dict())
    expect_equal(
        again.eval().item_embedding.weight, table, f"{case.name}: UniRep's state dict gives a different item table"
    )

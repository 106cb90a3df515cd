"""Promises of every tokenizer that reads item tokens or columns, in the same form as `vector_tokenizers`."""

import torch

from recbole_unirep.testing.expectations import expect, expect_equal, expect_error
from recbole_unirep.tokenizer.assigned import Items

ITEMS = Items(
    [f"B{number}" for number in range(6)],
    {
        "title": ["rose soap", "rose oil", "mint soap", "lip balm", "lip gloss", ""],
        "brand": ["Ann", "Ann", "Bo", "Bo", "Cy", ""],
        "categories": [
            ["Beauty", "Bath"],
            ["Beauty", "Skin", "Oil"],
            ["Beauty", "Bath"],
            ["Beauty"],
            [],
            ["Beauty", "Lip"],
        ],
    },
)


def items_get_codes_inside_their_codebooks(case):
    """Codes are int64, shape [N, n_levels], and below their codebook's size; unused levels hold -1."""
    state = torch.get_rng_state()
    tokenizer = case.make().fit(ITEMS)
    codes = tokenizer.encode(ITEMS)
    expect_equal(torch.get_rng_state(), state, f"{case.name}: fit or encode draws from torch's global random state")
    expect(codes.dtype == torch.int64, f"{case.name}: codes are {codes.dtype}, not int64")
    shape, sizes = (len(ITEMS), tokenizer.n_levels), torch.tensor(tokenizer.codebook_sizes)
    expect(codes.shape == shape, f"{case.name}: codes have shape {list(codes.shape)}, not {list(shape)}")
    expect(len(sizes) == tokenizer.n_levels, f"{case.name}: codebook_sizes has {len(sizes)} levels, not n_levels")
    expect(
        bool((codes >= -1).all() and (codes < sizes).all()),
        f"{case.name}: codes go from {codes.amin(0).tolist()} to {codes.amax(0).tolist()}, codebook_sizes are "
        f"{sizes.tolist()}",
    )


def an_item_keeps_its_code(case):
    """An item's code depends neither on the order of the items nor on the other items to encode."""
    tokenizer = case.make().fit(ITEMS)
    codes = tokenizer.encode(ITEMS)
    expect_equal(
        tokenizer.encode(ITEMS.part([3, 1])),
        codes[[3, 1]],
        f"{case.name}: items have different codes in a smaller catalogue",
    )
    reversed_fit = case.make().fit(ITEMS.part([5, 4, 3, 2, 1, 0]))
    expect_equal(reversed_fit.encode(ITEMS), codes, f"{case.name}: codes depend on the order of the items in fit")


def state_dict_is_all_of_it(case):
    """A new tokenizer with the state of a fitted one gives the same codes; a second fit forgets this state."""
    tokenizer, copy = case.make().fit(ITEMS), case.make()
    copy.load_state_dict(tokenizer.state_dict())
    expect_equal(copy.encode(ITEMS), tokenizer.encode(ITEMS), f"{case.name}: a loaded state gives different codes")
    few, one = ITEMS.part([0, 1]), ITEMS.part([0])
    again, once = copy.fit(few).encode(one), case.make().fit(few).encode(one)
    expect_equal(again, once, f"{case.name}: a second fit remembers the first")


def unsupported_calls_are_refused(case):
    """ValueError for encode before fit, for fit without items, and for decode."""
    with expect_error(f"{case.name} encodes before fit", f"{case.name} has seen no items yet", "call fit first"):
        case.make().encode(ITEMS)
    with expect_error(f"{case.name} is fitted on no items", "at least"):
        case.make().fit(Items([], {column: [] for column in ITEMS.columns}))
    tokenizer = case.make().fit(ITEMS)
    with expect_error(f"{case.name} decodes", f"{case.name} reads no vectors", "can't be decoded"):
        tokenizer.decode(tokenizer.encode(ITEMS))


ASSIGNED_PROMISES = [
    items_get_codes_inside_their_codebooks,
    an_item_keeps_its_code,
    state_dict_is_all_of_it,
    unsupported_calls_are_refused,
]

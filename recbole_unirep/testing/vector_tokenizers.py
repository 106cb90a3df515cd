"""Promises of every tokenizer of vectors.

A promise is a function of a TokenizerCase that raises AssertionError if it is broken.
"""

from unittest import mock

import torch

from recbole_unirep.testing.expectations import expect, expect_close, expect_equal, expect_error
from recbole_unirep.testing.tokenizer_case import TEXT_DIM, texts


def codes_stay_inside_their_codebooks(case):
    """Codes are int64, shape [N, n_levels], and below their codebook's size; unused levels hold -1."""
    text = texts()
    tokenizer = case.make().fit(text)
    codes, sizes = tokenizer.encode(text), torch.tensor(tokenizer.codebook_sizes)
    expect(codes.dtype == torch.int64, f"{case.name}: codes are {codes.dtype}, not int64")
    shape = (len(text), tokenizer.n_levels)
    expect(codes.shape == shape, f"{case.name}: codes have shape {list(codes.shape)}, not {list(shape)}")
    expect(len(sizes) == tokenizer.n_levels, f"{case.name}: codebook_sizes has {len(sizes)} levels, not n_levels")
    expect(
        bool((codes >= -1).all() and (codes < sizes).all()),
        f"{case.name}: codes go from {codes.amin(0).tolist()} to {codes.amax(0).tolist()}, codebook_sizes are "
        f"{sizes.tolist()}",
    )


def same_seed_same_codes(case):
    """Codes depend only on the seed and the vectors; torch's global random state does not change."""
    text = texts()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        tokenizer = case.make()
        state = torch.get_rng_state()
        first = tokenizer.fit(text).encode(text)
        expect_equal(torch.get_rng_state(), state, f"{case.name}: fit or encode draws from torch's global random state")
        torch.manual_seed(2)
        again = case.make().fit(text).encode(text)
    expect_equal(again, first, f"{case.name}: two fits with one seed give different codes")


def second_fit_forgets_the_first(case):
    """The state after a second fit is that of a single fit on the same vectors."""
    text = texts()
    twice = case.make().fit(5 * text + 1).fit(text).state_dict()
    for key, value in case.make().fit(text).state_dict().items():
        expect_equal(twice[key], value, f"{case.name}: {key} of a second fit remembers the first")


def encode_and_decode_change_nothing(case):
    """They change neither the state nor torch's global random state, and leave no gradients behind."""
    text = texts()
    tokenizer = case.make().fit(text)
    before = {key: value.clone() for key, value in tokenizer.state_dict().items()}
    state = torch.get_rng_state()
    codes = tokenizer.encode(text)
    tokenizer.decode(codes)
    expect_equal(tokenizer.encode(text), codes, f"{case.name}: the second encode gives other codes")
    expect_equal(torch.get_rng_state(), state, f"{case.name}: encode or decode draws random numbers")
    for key, value in tokenizer.state_dict().items():
        expect_equal(value, before[key], f"{case.name}: encode or decode changes {key}")
    expect(all(p.grad is None for p in tokenizer.parameters()), f"{case.name}: fit leaves gradients behind")


def state_dict_is_all_of_it(case):
    """A new tokenizer with the state of a fitted one gives the same codes and vectors."""
    text = texts()
    tokenizer, copy = case.make().fit(text), case.make()
    copy.load_state_dict(tokenizer.state_dict())
    codes = tokenizer.encode(text)
    expect_equal(copy.encode(text), codes, f"{case.name}: a loaded state gives other codes")
    expect_equal(copy.decode(codes), tokenizer.decode(codes), f"{case.name}: a loaded state decodes to other vectors")


def decode_leads_back_to_the_text_space(case):
    """Codes [N, n_levels] to vectors [N, text_dim], without a gradient."""
    text = texts()
    tokenizer = case.make().fit(text)
    decoded = tokenizer.decode(tokenizer.encode(text))
    expect(decoded.shape == text.shape, f"{case.name}: decode gives {list(decoded.shape)} for {list(text.shape)}")
    expect(not decoded.requires_grad, f"{case.name}: decode gives vectors with a gradient")


def vectors_of_another_width_are_refused(case):
    """ValueError that names both widths."""
    text = texts()
    tokenizer = case.make().fit(text)
    with expect_error(f"{case.name} encodes vectors of 5 dimensions after 12", "5", str(TEXT_DIM)):
        tokenizer.encode(text[:, :5])


def approximations_improve_and_end_in_the_decoded_vector(case):
    """The distortion is least after the last level, whose approximation is the decoded vector."""
    text = texts()
    tokenizer = case.make().fit(text)
    codes = tokenizer.encode(text)
    distortion = tokenizer.distortion(text, codes)
    expect(len(distortion) == tokenizer.n_levels, f"{case.name}: distortion has {len(distortion)} levels, not n_levels")
    if tokenizer.is_trained:  # trained tokenizers need more epochs than here
        return
    expect(
        distortion[-1] == min(distortion) < 1,
        f"{case.name}: distortion per level is {distortion}, expected the least after the last level",
    )
    vectors, known = tokenizer.approximations(text, codes)
    *_, known = known
    if vectors.shape == text.shape and torch.allclose(vectors, text):
        decoded = tokenizer.decode(codes)
        expect_close(known, decoded, f"{case.name}: the last approximation is not the decoded vector")
        variance = (text - text.mean(dim=0)).square().sum(dim=-1).mean()
        error = ((decoded - text).square().sum(dim=-1).mean() / variance).item()
        expect(
            abs(distortion[-1] - error) <= 1e-4 * error,
            f"{case.name}: distortion is {distortion[-1]}, expected {error}",
        )


def distortion_is_the_same_in_blocks(case):
    """The distortion does not depend on the size of the blocks."""
    text = texts()
    tokenizer = case.make().fit(text)
    codes = tokenizer.encode(text)
    whole = torch.tensor(tokenizer.distortion(text, codes))
    with mock.patch("recbole_unirep.tokenizer.base.ROWS_AT_ONCE", 7):
        parts = torch.tensor(tokenizer.distortion(text, codes))
    expect_close(parts, whole, f"{case.name}: distortion differs in blocks of 7 vectors")


def no_vectors_are_refused(case):
    """ValueError that asks for at least one vector."""
    with expect_error(f"{case.name} is fitted on no vectors", "at least"):
        case.make().fit(texts()[:0])


def an_item_has_its_code_alone_and_among_others(case):
    """A code does not depend on the other vectors to encode."""
    text = texts()
    tokenizer = case.make().fit(text)
    alone = torch.cat([tokenizer.encode(row[None]) for row in text])
    expect_equal(alone, tokenizer.encode(text), f"{case.name}: vectors have other codes alone than among others")


def encode_before_fit_is_refused(case):
    """ValueError that names the tokenizer and says what to do."""
    with expect_error(f"{case.name} encodes before fit", f"{case.name} has seen no vectors yet", "call fit first"):
        case.make().encode(texts())


def last_code_is_the_nearest(case):
    """`last_level`: the last code is the nearest to the last residual."""
    text = texts()
    tokenizer = case.make().fit(text)
    codes = tokenizer.encode(text)
    left, codebook = tokenizer.last_level(text, codes)
    nearest = torch.cdist(left, codebook).argmin(dim=-1)
    expect_equal(nearest, codes[:, -1], f"{case.name}: the last code is not the nearest of last_level's codebook")


VECTOR_PROMISES = [
    codes_stay_inside_their_codebooks,
    same_seed_same_codes,
    second_fit_forgets_the_first,
    encode_and_decode_change_nothing,
    state_dict_is_all_of_it,
    decode_leads_back_to_the_text_space,
    vectors_of_another_width_are_refused,
    approximations_improve_and_end_in_the_decoded_vector,
    distortion_is_the_same_in_blocks,
    no_vectors_are_refused,
    an_item_has_its_code_alone_and_among_others,
]

"""What every tokenizer of vectors promises.

A promise is a function of a TokenizerCase that raises AssertionError where it is not kept.
"""

from unittest import mock

import torch

from recbole_unirep.testing.expectations import expect, expect_close, expect_equal, expect_error
from recbole_unirep.testing.tokenizer_case import TEXT_DIM, texts


def codes_stay_inside_their_codebooks(case):
    """Codes are int64, shape [N, n_levels], below their codebook's size; -1 where an ID does not use a level."""
    text = texts()
    tokenizer = case.make().fit(text)
    codes, sizes = tokenizer.encode(text), torch.tensor(tokenizer.codebook_sizes)
    expect(codes.dtype == torch.int64, f"{case.name}: codes are {codes.dtype}, not int64")
    shape = (len(text), tokenizer.n_levels)
    expect(codes.shape == shape, f"{case.name}: codes have shape {list(codes.shape)}, not {list(shape)}")
    expect(len(sizes) == tokenizer.n_levels, f"{case.name}: codebook_sizes has {len(sizes)} levels, not n_levels")
    expect(
        bool((codes >= -1).all() and (codes < sizes).all()),
        f"{case.name}: codes go from {codes.amin(0).tolist()} to {codes.amax(0).tolist()}, level l has to hold -1 or "
        f"0..codebook_sizes[l]-1, codebook_sizes are {sizes.tolist()}",
    )


def same_seed_same_codes(case):
    """Nothing but its seed and the vectors decides on codes; torch's global random state is left alone."""
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
    """After a second fit the state is that of a fit of these vectors alone."""
    text = texts()
    twice = case.make().fit(5 * text + 1).fit(text).state_dict()
    for key, value in case.make().fit(text).state_dict().items():
        expect_equal(twice[key], value, f"{case.name}: {key} of a second fit remembers the first")


def encode_and_decode_change_nothing(case):
    """Neither the state nor torch's global random state; no gradients are left behind."""
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
    """A new tokenizer with the fitted one's state gives its codes and vectors."""
    text = texts()
    tokenizer, copy = case.make().fit(text), case.make()
    copy.load_state_dict(tokenizer.state_dict())
    codes = tokenizer.encode(text)
    expect_equal(copy.encode(text), codes, f"{case.name}: with the state of another it gives other codes")
    expect_equal(copy.decode(codes), tokenizer.decode(codes), f"{case.name}: likewise it decodes to other vectors")


def decode_leads_back_to_the_text_space(case):
    """Codes [N, n_levels] to vectors [N, text_dim], without a gradient."""
    text = texts()
    tokenizer = case.make().fit(text)
    decoded = tokenizer.decode(tokenizer.encode(text))
    expect(decoded.shape == text.shape, f"{case.name}: decode gives {list(decoded.shape)} for {list(text.shape)}")
    expect(not decoded.requires_grad, f"{case.name}: decode gives vectors with a gradient")


def forward_gives_vectors_codes_and_losses(case):
    """`Quantized`: vectors [N, code_dim], the codes of encode, and two losses [N]."""
    text = texts()
    tokenizer = case.make().fit(text)
    quantized = tokenizer(text)
    shape = (len(text), tokenizer.code_dim)
    expect(quantized.vectors.shape == shape, f"{case.name}: forward gives vectors {list(quantized.vectors.shape)}")
    expect_equal(quantized.codes, tokenizer.encode(text), f"{case.name}: forward gives other codes than encode")
    shapes = [list(loss.shape) for loss in (quantized.losses.quantization, quantized.losses.reconstruction)]
    expect(shapes == [[len(text)]] * 2, f"{case.name}: forward gives losses of shapes {shapes}, not one per vector")


def vectors_of_another_width_are_refused(case):
    """ValueError that names both widths."""
    text = texts()
    tokenizer = case.make().fit(text)
    with expect_error(f"{case.name} encodes vectors of 5 dimensions after 12", "5", str(TEXT_DIM)):
        tokenizer.encode(text[:, :5])


def levels_approximate_what_decode_gives(case):
    """`approximations` come nearer to the vectors up to the last level, which is what the codes stand for."""
    text = texts()
    tokenizer = case.make().fit(text)
    codes = tokenizer.encode(text)
    distortion = tokenizer.distortion(text, codes)
    expect(len(distortion) == tokenizer.n_levels, f"{case.name}: distortion has {len(distortion)} levels, not n_levels")
    if tokenizer.is_trained:  # a few epochs are no training
        return
    expect(
        distortion[-1] == min(distortion) < 1, f"{case.name}: distortion by level is {distortion}, not least at last"
    )
    vectors, known = tokenizer.approximations(text, codes)
    *_, known = known
    if vectors.shape == text.shape and torch.allclose(vectors, text):
        decoded = tokenizer.decode(codes)
        expect_close(known, decoded, f"{case.name}: the last approximation is not what decode gives")
        variance = (text - text.mean(dim=0)).square().sum(dim=-1).mean()
        error = ((decoded - text).square().sum(dim=-1).mean() / variance).item()
        expect(abs(distortion[-1] - error) <= 1e-4 * error, f"{case.name}: distortion {distortion[-1]}, not {error}")


def distortion_is_the_same_in_parts(case):
    """However many vectors are worked on together."""
    text = texts()
    tokenizer = case.make().fit(text)
    codes = tokenizer.encode(text)
    whole = torch.tensor(tokenizer.distortion(text, codes))
    with mock.patch("recbole_unirep.tokenizer.base.ROWS_AT_ONCE", 7):
        parts = torch.tensor(tokenizer.distortion(text, codes))
    expect_close(parts, whole, f"{case.name}: distortion by parts of 7 vectors is another")


def no_vectors_are_refused(case):
    """ValueError that asks for one at least."""
    with expect_error(f"{case.name} is fitted on no vectors", "at least"):
        case.make().fit(texts()[:0])


def an_item_has_its_code_alone_and_among_others(case):
    """Codes do not hang on what else is encoded."""
    text = texts()
    tokenizer = case.make().fit(text)
    alone = torch.cat([tokenizer.encode(row[None]) for row in text])
    expect_equal(alone, tokenizer.encode(text), f"{case.name}: vectors have other codes alone than together")


def says_that_it_was_not_fitted(case):
    """ValueError that names it and says what to do."""
    with expect_error(f"{case.name} encodes before fit", f"{case.name} has seen no vectors yet", "call fit first"):
        case.make().encode(texts())


def last_code_is_the_nearest(case):
    """`last_level`: the last code is the nearest vector to what the levels before leave."""
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
    forward_gives_vectors_codes_and_losses,
    vectors_of_another_width_are_refused,
    levels_approximate_what_decode_gives,
    distortion_is_the_same_in_parts,
    no_vectors_are_refused,
    an_item_has_its_code_alone_and_among_others,
]

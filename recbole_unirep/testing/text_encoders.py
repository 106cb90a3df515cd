"""The text encoder contract: promises of every text encoder, as functions that need no test runner."""

import numpy as np

from recbole_unirep.config import Config
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.settings.extensions import extension_names, find_extension
from recbole_unirep.settings.nearest import nearest
from recbole_unirep.testing.expectations import expect
from recbole_unirep.testing.tiny_dataset import class_of, tiny_dataset

SENTENCES = ["title: rose soap", "title: lip balm; brand: Bo", "soap", "title: rose oil, in a bottle of glass", "ö 7"]


def check_text_encoder(text_encoder):
    """Checks every promise of the text encoder contract.

    The class is called with a device (str, or None for its own choice). Its method `encode(sentences, batch_size)`
    turns a list of non-empty str into an array of floats, shape: [n, text_dim].

    Args:
        text_encoder (str or type): its name, as in its entry point, or its class.

    Raises:
        AssertionError: a promise is broken; the message names it.
        ValueError: no package has a text encoder of that name.

    A test of a package's text encoder, for pytest, where the package is installed::

        from recbole_unirep.testing import check_text_encoder


        def test_its_name_keeps_the_contract():
            check_text_encoder("ItsName")
    """
    found = class_of(text_encoder, _text_encoder_class)
    for promise in TEXT_ENCODER_PROMISES:
        promise(found)


def vectors_are_finite_numbers(encoder):
    """One row of fixed width per sentence; not all sentences have the same row."""
    vectors = np.asarray(encoder(None).encode(SENTENCES, 2))
    name, shape = encoder.__name__, vectors.shape
    expect(len(shape) == 2 and len(vectors) == len(SENTENCES), f"{name}: {len(SENTENCES)} sentences give {shape}")
    expect(np.issubdtype(vectors.dtype, np.floating), f"{name}: vectors are {vectors.dtype}, not floats")
    expect(np.isfinite(vectors).all(), f"{name}: vectors hold values that are not finite")
    expect(len(np.unique(vectors, axis=0)) > 1, f"{name}: all sentences have the same vector")
    one = np.asarray(encoder(None).encode(SENTENCES[:1], 2))
    expect(one.shape == (1, shape[1]), f"{name}: one sentence gives {one.shape}, {len(SENTENCES)} gave {shape}")


def a_sentence_has_its_vector_alone_and_among_others(encoder):
    """A vector does not depend on batch size, order or earlier calls."""
    first, again = encoder(None), encoder(None)
    vectors, name = np.asarray(first.encode(SENTENCES, 2)), encoder.__name__
    scale = max(np.abs(vectors).max(), 1e-12)
    for what, found in (
        ("another batch size", again.encode(SENTENCES, len(SENTENCES))),
        ("another order", np.asarray(first.encode(SENTENCES[::-1], 2))[::-1]),
        ("one by one", np.concatenate([again.encode([sentence], 2) for sentence in SENTENCES])),
    ):
        difference = np.abs(np.asarray(found) - vectors).max() / scale
        expect(difference < 1e-3, f"{name}: vectors differ with {what}, by {difference:.2g} of the largest value")


def a_dataset_is_encoded_once(encoder):
    """`--text_encoder=NAME` gives items with text a vector and others zeros; a second run reads the stored vectors."""
    name = encoder.__name__
    with tiny_dataset(model="UniRep", text_encoder=name) as keys:
        config = Config(config_dict=keys)
        dataset = create_dataset(config)
        text = load_item_text(config, dataset)
        again = load_item_text(config, dataset)
    n_vectors = int(text.vectors.any(dim=1).sum())
    n_items = dataset.item_num - 1 - text.n_without_text
    expect(text.encoder == name, f"{name}: the item text names the encoder {text.encoder}")
    expect(n_vectors == n_items > 0, f"{name}: {n_vectors} of {n_items} items with text have a vector")
    expect(bool((again.vectors == text.vectors).all()), f"{name}: the stored vectors differ from the encoded ones")


def _text_encoder_class(name):
    extension = find_extension("text_encoder", name)
    if extension is None:
        known = extension_names("text_encoder")
        raise ValueError(f"no package has a text encoder '{name}': {nearest(name, known)}")
    return extension.load()


TEXT_ENCODER_PROMISES = [
    vectors_are_finite_numbers,
    a_sentence_has_its_vector_alone_and_among_others,
    a_dataset_is_encoded_once,
]

"""Tokenizers by name: vectors or items in, codes out. They know no RecBole, no users, no sequences."""

from inspect import signature

from recbole_unirep.settings.extensions import extension_names, find_extension
from recbole_unirep.tokenizer.assigned import AssignedTokenizer
from recbole_unirep.tokenizer.balancedrqkmeans import BalancedRQKMeans
from recbole_unirep.tokenizer.base import SemanticTokenizer, shipped_defaults
from recbole_unirep.tokenizer.categoricalids import CategoricalIDs
from recbole_unirep.tokenizer.fused import Fused
from recbole_unirep.tokenizer.hierarchicalkmeans import HierarchicalKMeans
from recbole_unirep.tokenizer.itemidtokens import ItemIDTokens
from recbole_unirep.tokenizer.keywordids import KeywordIDs
from recbole_unirep.tokenizer.letter import LETTER
from recbole_unirep.tokenizer.mbgen import MBGen
from recbole_unirep.tokenizer.opq import OPQ
from recbole_unirep.tokenizer.pq import PQ
from recbole_unirep.tokenizer.randomids import RandomIDs
from recbole_unirep.tokenizer.rqkmeans import RQKMeans
from recbole_unirep.tokenizer.rqvae import RQVAE
from recbole_unirep.tokenizer.rvq import RVQ
from recbole_unirep.tokenizer.vq import VQ

TOKENIZERS = {
    tokenizer.__name__: tokenizer
    for tokenizer in (
        RQVAE,
        VQ,
        RVQ,
        RQKMeans,
        BalancedRQKMeans,
        MBGen,
        PQ,
        OPQ,
        HierarchicalKMeans,
        Fused,
        LETTER,
        RandomIDs,
        ItemIDTokens,
        CategoricalIDs,
        KeywordIDs,
    )
}


def tokenizer_names():
    """Names of all tokenizers: ours, then those of other packages (list of str)."""
    return [*TOKENIZERS, *extension_names("tokenizer")]


def tokenizer_class(name):
    """The tokenizer of that name, ours or another package's.

    Raises:
        ValueError: there is none, its package can't be imported, or several have that name.
    """
    extension = find_extension("tokenizer", name, is_taken=name in TOKENIZERS)
    if extension is None:
        if name not in TOKENIZERS:
            raise ValueError(f"tokenizer={name} is not known: choose one of {', '.join(tokenizer_names())}")
        return TOKENIZERS[name]
    tokenizer = extension.load()
    if not issubclass(tokenizer, (SemanticTokenizer, AssignedTokenizer)):
        raise ValueError(
            f"{extension} is neither a SemanticTokenizer nor an AssignedTokenizer of recbole_unirep.tokenizer: make it "
            f"a subclass of one"
        )
    return tokenizer


def reads_vectors(name):
    """Whether a tokenizer of that name reads vectors; the others read item tokens and columns."""
    return not issubclass(tokenizer_class(name), AssignedTokenizer)


def is_collaborative(name):
    """Whether a tokenizer of that name reads collaborative vectors beside the text's."""
    return getattr(tokenizer_class(name), "is_collaborative", False)


def make_tokenizer(name, settings, text_dim=None, n_vectors=None):
    """A tokenizer that has seen no items yet.

    Args:
        name (str): see `tokenizer_names`.
        settings (mapping): its keys, those of its yaml file; others are left alone.
        text_dim (int or None): dimensions of an item text embedding, for the tokenizers that have an encoder.
        n_vectors (int or None): vectors that it is to learn from, where they are known.

    Returns:
        SemanticTokenizer or AssignedTokenizer: to be fitted.

    Raises:
        ValueError: an option is not in its range, or there are more codes than vectors to learn them from.
    """
    keys = shipped_defaults(name)
    has_size = n_vectors is not None and "codebook_size" in keys
    if has_size and reads_vectors(name) and settings["codebook_size"] > n_vectors:
        raise ValueError(
            f"codebook_size={settings['codebook_size']} is more than the {n_vectors} items that it learns from: "
            f"give at most as many"
        )
    options = {key: settings[key] for key in keys}
    if "text_dim" in signature(tokenizer_class(name)).parameters:
        options["text_dim"] = text_dim
    return tokenizer_class(name)(**options)

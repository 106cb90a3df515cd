"""Tokenizers by name: vectors or items in, codes out. They know no RecBole, no users, no sequences."""

from inspect import signature

from recbole_unirep.tokenizer.assigned import AssignedTokenizer
from recbole_unirep.tokenizer.balancedrqkmeans import BalancedRQKMeans
from recbole_unirep.tokenizer.base import shipped_defaults
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


def reads_vectors(name):
    """Whether a tokenizer of that name reads vectors; the others read item tokens and columns."""
    return not issubclass(TOKENIZERS[name], AssignedTokenizer)


def is_collaborative(name):
    """Whether a tokenizer of that name reads collaborative vectors beside the text's."""
    return getattr(TOKENIZERS[name], "is_collaborative", False)


def make_tokenizer(name, settings, text_dim=None, n_vectors=None):
    """A tokenizer that has seen no items yet.

    Args:
        name (str): a key of TOKENIZERS.
        settings (mapping): its keys, those of its yaml file; others are left alone.
        text_dim (int or None): dimensions of an item text embedding, for the tokenizers that have an encoder.
        n_vectors (int or None): vectors that it is to learn from, where they are known.

    Returns:
        SemanticTokenizer or AssignedTokenizer: to be fitted.

    Raises:
        ValueError: an option is not in its range, or there are more codes than vectors to learn them from.
    """
    if n_vectors is not None and reads_vectors(name) and settings["codebook_size"] > n_vectors:
        raise ValueError(
            f"codebook_size={settings['codebook_size']} is more than the {n_vectors} items that it learns from: "
            f"give at most as many"
        )
    options = {key: settings[key] for key in shipped_defaults(name)}
    if "text_dim" in signature(TOKENIZERS[name]).parameters:
        options["text_dim"] = text_dim
    return TOKENIZERS[name](**options)

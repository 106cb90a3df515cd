"""Tokenizers by name: vectors or items in, codes out, independent of RecBole, users and sequences."""

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
    """Whether a tokenizer reads vectors; the others read item tokens and columns."""
    return not issubclass(TOKENIZERS[name], AssignedTokenizer)


def is_collaborative(name):
    """Whether a tokenizer reads collaborative vectors beside the text's."""
    return TOKENIZERS[name].is_collaborative


def make_tokenizer(name, settings, text_dim=None, n_vectors=None):
    """Builds a tokenizer, not fitted yet, from a config or other settings.

    Args:
        name (str): a key of TOKENIZERS.
        settings (mapping): holds the keys of its yaml; others are ignored.
        text_dim (int or None): dimensions of an item text embedding, for the tokenizers that have an encoder.
        n_vectors (int or None): number of vectors that it will learn from, if known.

    Returns:
        SemanticTokenizer or AssignedTokenizer: to be fitted.

    Raises:
        ValueError: an option is out of its range, or there are more codes than vectors to learn them from.
    """
    if n_vectors is not None and reads_vectors(name) and settings["codebook_size"] > n_vectors:
        raise ValueError(
            f"codebook_size={settings['codebook_size']} is more than the {n_vectors} items that it learns from: "
            f"give at most as many"
        )
    keys = {key: settings[key] for key in shipped_defaults(name)}
    return TOKENIZERS[name].from_keys({**keys, "text_dim": text_dim})

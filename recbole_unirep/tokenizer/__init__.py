"""Tokenizers by name: vectors or items in, codes out, independent of RecBole, users and sequences."""

from recbole_unirep.settings.extensions import extension_names, find_extension
from recbole_unirep.settings.nearest import nearest
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
    """Names of all tokenizers, those of other packages last (list of str)."""
    return [*TOKENIZERS, *extension_names("tokenizer")]


def tokenizer_class(name):
    """Returns the class of a tokenizer of this or of another package.

    Raises:
        ValueError: the tokenizer is unknown, its package can't be imported, or several tokenizers have that name.
    """
    extension = find_extension("tokenizer", name, is_taken=name in TOKENIZERS)
    if extension is None:
        if name not in TOKENIZERS:
            raise ValueError(f"tokenizer={name} is unknown: {nearest(name, tokenizer_names())}")
        return TOKENIZERS[name]
    tokenizer = extension.load()
    if not issubclass(tokenizer, (SemanticTokenizer, AssignedTokenizer)):
        raise ValueError(
            f"{extension} is neither a SemanticTokenizer nor an AssignedTokenizer of recbole_unirep.tokenizer: make it "
            f"a subclass of one"
        )
    return tokenizer


def reads_vectors(name):
    """Whether a tokenizer reads vectors; the others read item tokens and columns."""
    return not issubclass(tokenizer_class(name), AssignedTokenizer)


def is_collaborative(name):
    """Whether a tokenizer reads collaborative vectors in addition to text embeddings."""
    return tokenizer_class(name).is_collaborative


def make_tokenizer(name, settings, text_dim=None, n_vectors=None):
    """Builds a tokenizer, not fitted yet, from a config or other settings.

    Args:
        name (str): a name of `tokenizer_names`.
        settings (mapping): holds the keys of its yaml; others are ignored.
        text_dim (int or None): size of an item text embedding (tokenizers with an encoder only).
        n_vectors (int or None): number of vectors that it will learn from, if known.

    Returns:
        SemanticTokenizer or AssignedTokenizer: to be fitted.

    Raises:
        ValueError: an option is out of its range, or there are more codes than vectors to learn them from.
    """
    keys = shipped_defaults(name)
    has_codebooks = reads_vectors(name) and "codebook_size" in keys
    if n_vectors is not None and has_codebooks and settings["codebook_size"] > n_vectors:
        raise ValueError(
            f"codebook_size={settings['codebook_size']} is more than the {n_vectors} items that it learns from: "
            f"give at most as many"
        )
    return tokenizer_class(name).from_keys({**{key: settings[key] for key in keys}, "text_dim": text_dim})

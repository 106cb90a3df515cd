"""Tokenizers by name: vectors in, codes out. They know no RecBole, no users, no sequences."""

from recbole_unirep.tokenizer.base import shipped_defaults
from recbole_unirep.tokenizer.rqvae import RQVAE

TOKENIZERS = {"RQVAE": RQVAE}


def make_tokenizer(name, settings, text_dim):
    """A tokenizer that has seen no text yet.

    Args:
        name (str): a key of TOKENIZERS.
        settings (mapping): its keys, those of its yaml file; others are left alone.
        text_dim (int): dimensions of an item text embedding.

    Returns:
        SemanticTokenizer: to be initialised.
    """
    return TOKENIZERS[name](text_dim=text_dim, **{key: settings[key] for key in shipped_defaults(name)})

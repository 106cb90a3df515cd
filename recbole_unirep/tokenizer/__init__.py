"""Tokenizers by name: vectors in, codes out. They know no RecBole, no users, no sequences."""

from recbole_unirep.tokenizer.base import shipped_defaults
from recbole_unirep.tokenizer.rqvae import RQVAE

TOKENIZERS = {"RQVAE": RQVAE}


def make_tokenizer(name, settings, text, seed):
    """A tokenizer with codebooks set from its own first encodings.

    Args:
        name (str): a key of TOKENIZERS.
        settings (mapping): its keys, those of its yaml file; others are left alone.
        text (Tensor): text embeddings of the items that have text, shape: [N, text_dim].
        seed (int): the same seed gives the same codebooks.

    Returns:
        SemanticTokenizer: not trained yet.
    """
    tokenizer = TOKENIZERS[name](text_dim=text.shape[1], **{key: settings[key] for key in shipped_defaults(name)})
    tokenizer.initialise(text, seed)
    return tokenizer

"""Tokenizers by name: vectors in, codes out. They know no RecBole, no users, no sequences."""

from recbole_unirep.tokenizer.rqvae import RQVAE

TOKENIZERS = {"RQVAE": RQVAE}

"""recbole_unirep.semantic_ids.pieces: pieces of IDs that get an embedding: codes, n-grams of codes, or SentencePieces.

Reference:
    Singh et al. "Better Generalization with Semantic IDs: A Case Study in Ranking for Recommendations",
        arXiv:2306.08121, section 4.2: an item is the sum of the vectors of its ID's pieces; n-grams are groups of
        adjacent codes at given levels, SentencePieces are learned from the IDs of all interactions.
    Kudo, Richardson. "SentencePiece: A simple and language independent subword tokenizer and detokenizer for Neural
        Text Processing", EMNLP 2018.

The paper's table of n-grams has a row for every combination of codes. Here only combinations of training items have a
row; other combinations add nothing.

Shapes: N items, L levels, P maximum number of pieces of an item.
"""

import io
import re
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_unirep.semantic_ids.ids import first_tokens

TOO_NEW = (0, 2, 2)  # reads counts differently from here on; 0.2.3 finds no piece of several characters here
FIRST_CHARACTER = 0x10000  # codes become characters from here on, which holds no space or control character


class Pieces(NamedTuple):
    """Pieces of items' IDs.

    Attributes:
        tokens (Tensor): 0 where an item has fewer pieces, shape: [N, P], int64.
        n_pieces (int): distinct pieces; tokens are 1 to n_pieces.
    """

    tokens: Tensor
    n_pieces: int


def code_pieces(codes: Tensor, codebook_sizes: list) -> Pieces:
    """Makes each code of a level a piece.

    Args:
        codes (Tensor): unused levels hold -1, int64, shape: [N, L].
        codebook_sizes (list of int): codes of each level, shape: [L].
    """
    first = torch.tensor(first_tokens(codebook_sizes), device=codes.device)
    return Pieces(torch.where(codes < 0, 0, codes + first), sum(codebook_sizes))


def ngram_pieces(codes: Tensor, counts: Tensor, ngram_size: int) -> Pieces:
    """Groups levels 1 to n, n + 1 to 2 n and so on, and makes each combination of a group's codes a piece.

    Args:
        codes (Tensor): see `code_pieces`.
        counts (Tensor): weight of each item, 0 for items outside training, int64, shape: [N].
        ngram_size (int): n; the last group has the remaining levels.
    """
    tokens, n_pieces = [], 0
    for group in codes.split(ngram_size, dim=1):
        combinations, number = group.unique(dim=0, return_inverse=True)
        is_piece = (combinations >= 0).any(dim=1) & (torch.bincount(number, weights=counts) > 0)
        token = torch.where(is_piece, n_pieces + is_piece.cumsum(dim=0), 0)
        tokens.append(token[number])
        n_pieces += int(is_piece.sum())
    return Pieces(torch.stack(tokens, dim=1), n_pieces)


def sentence_pieces(codes: Tensor, counts: Tensor, n_pieces: int) -> Pieces:
    """Pieces of one or several consecutive codes, learned by SentencePiece's unigram language model.

    Args:
        codes, counts: see `ngram_pieces`.
        n_pieces (int): maximum number of pieces, at least one per code of a level.

    Raises:
        ValueError: fewer pieces are asked for than there are codes, or sentencepiece is missing or too new.
    """
    sentencepiece = _library()
    known = codes[counts > 0]
    n_codes = sum(len(level[level >= 0].unique()) for level in known.unbind(dim=1))
    if n_pieces < n_codes:
        raise ValueError(f"n_pieces={n_pieces} is less than the {n_codes} codes in use: give at least as many")
    first = FIRST_CHARACTER + np.array(first_tokens((codes.amax(dim=0) + 1).tolist()))
    written = ["".join(map(chr, (row + first)[row >= 0])) for row in codes.cpu().numpy()]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(f"{text}\t{count}" for text, count in zip(written, counts.tolist()) if count and text),
        input_format="tsv",
        model_writer=model,
        model_type="unigram",
        vocab_size=1 + n_pieces,  # one more piece, for unknown characters
        hard_vocab_limit=False,
        character_coverage=1.0,
        max_sentencepiece_length=max(codes.shape[1], 1),
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        split_by_whitespace=False,
        split_by_unicode_script=False,
        split_by_number=False,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,  # so that the pieces are reproducible
        minloglevel=2,
    )
    learned = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    of_items = learned.encode(written)  # token 0 is unknown
    tokens = torch.zeros(len(codes), max(map(len, of_items)), dtype=torch.int64)
    for row, item in enumerate(of_items):
        tokens[row, : len(item)] = torch.tensor(item, dtype=torch.int64)
    return Pieces(tokens, learned.get_piece_size() - 1)


def _library():
    try:
        import sentencepiece
    except ImportError as error:
        raise ValueError(
            f"code_pieces=sentencepiece needs sentencepiece ({error}): install it with "
            f"pip install 'recbole-unirep[pieces]'"
        ) from error
    version = tuple(int(part) for part in re.findall(r"\d+", sentencepiece.__version__)[:3])
    if version >= TOO_NEW:
        raise ValueError(
            f"code_pieces=sentencepiece finds other pieces with sentencepiece {sentencepiece.__version__}: install an "
            f"older one with pip install 'recbole-unirep[pieces]'"
        )
    return sentencepiece

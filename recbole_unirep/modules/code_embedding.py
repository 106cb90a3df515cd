"""recbole_unirep.modules.code_embedding: semantic embeddings of frozen codes.

Each code has an embedding; an item's semantic embedding is the sum of its codes' embeddings.

Reference:
    Yupeng Hou, Zhankui He, Julian McAuley, Wayne Xin Zhao. "Learning Vector-Quantized Item Representation for
        Transferable Sequential Recommenders", arXiv:2210.12316 (codes to summed embeddings).
    Singh et al. "Better Generalization with Semantic IDs: A Case Study in Ranking for Recommendations",
        arXiv:2306.08121 (n-grams and SentencePieces of codes).
"""

import torch
from torch import nn

from recbole_unirep.semantic_ids.pieces import code_pieces

CODE_PIECES = ("code", "ngram", "sentencepiece")


class CodeEmbedding(nn.Module):
    """Sum of the embeddings of the pieces of an item's ID, by default of its codes.

    Args:
        codes (Tensor): row 0 pads; unused levels hold -1, shape: [n_items, L], int64.
        codebook_sizes (list of int): codes of each level, shape: [L].
        dim (int): size of an embedding.
        init_std (float): standard deviation of the initial embeddings, before they are summed.
        pieces (Pieces or None): pieces of the items' IDs, none in row 0; None: each code is a piece.
    """

    def __init__(self, codes, codebook_sizes, dim, init_std, pieces=None):
        super().__init__()
        self.codebook_sizes, self.has_code_vectors = list(codebook_sizes), pieces is None
        tokens, n_pieces = code_pieces(codes, codebook_sizes) if pieces is None else pieces
        self.register_buffer("codes", codes)
        self.register_buffer("tokens", tokens, persistent=pieces is not None)
        self.vectors = nn.EmbeddingBag(1 + n_pieces, dim, mode="sum", padding_idx=0)
        nn.init.normal_(self.vectors.weight, std=init_std)
        with torch.no_grad():
            self.vectors.weight[0] = 0
        self.register_load_state_dict_post_hook(_rebuild_tokens)

    @property
    def n_parameters(self):
        """Learned numbers of all pieces, without the padding row."""
        return self.vectors.weight[1:].numel()

    def forward(self, items):
        """Semantic embeddings of item ids [M], shape: [M, dim], and their codes, shape: [M, L]."""
        return self.vectors(self.tokens[items]), self.codes[items]


def _rebuild_tokens(module, _):
    """Rebuilds the tokens from loaded codes, which may differ from the codes that this machine fitted."""
    if module.has_code_vectors:
        module.tokens = code_pieces(module.codes, module.codebook_sizes)[0]

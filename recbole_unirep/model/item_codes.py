"""recbole_unirep.model.item_codes: semantic IDs of a model's items and the vectors of their codes."""

from typing import Any, NamedTuple

import numpy as np
import torch

from recbole_unirep.model.generative import GenerativeRecommender
from recbole_unirep.modules.item_embedding import UnifiedItemEmbedding


class ModelCodes(NamedTuple):
    """Codes of a model's items.

    Attributes:
        codes (np.ndarray): padding left out, -1 where an ID does not use a level, shape: [N, L], int64.
        sizes (list of int): codes of each level, shape: [L].
        codebooks (list of np.ndarray or None): vectors of each level's codes, shape: [size, D] each, float32; None
            where pieces of IDs have vectors and codes have not.
        tokenizer (SemanticTokenizer or None): that gives an item its codes; None where they stand still.
    """

    codes: np.ndarray
    sizes: list
    codebooks: list | None
    tokenizer: Any


@torch.no_grad()
def model_codes(model):
    """Codes of a model, None where it has none.

    Args:
        model (recbole AbstractRecommender): in evaluation mode.

    Returns:
        ModelCodes, optional
    """
    if isinstance(model, GenerativeRecommender):
        levels = model.code_vectors
        codebooks = [_array(level[:size]) for level, size in zip(levels, model.open_sizes)]  # not that of an ID's end
        return ModelCodes(model.open_codes.cpu().numpy(), list(model.open_sizes), codebooks, None)
    table = getattr(model, "item_embedding", None)
    if not isinstance(table, UnifiedItemEmbedding) or not table.has_codes:
        return None
    codes, sizes, codebooks = table.codes().cpu().numpy(), list(table.codebook_sizes), None
    if table.code_embedding is None:
        vectors = _array(table.tokenizer.quantizer.codebooks)
        codebooks = [level[:size] for level, size in zip(vectors, sizes)]
    elif table.code_embedding.has_code_vectors:
        codebooks = np.split(_array(table.code_embedding.vectors.weight[1:]), np.cumsum(sizes)[:-1])
    return ModelCodes(codes, sizes, codebooks, table.tokenizer)


def _array(tensor):
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())

"""recbole_unirep.model.item_codes: reads item vectors, item codes and codebooks from a model."""

from typing import Any, NamedTuple

import numpy as np
import torch

from recbole_unirep.model.generative import GenerativeRecommender
from recbole_unirep.modules.item_embedding import UnifiedItemEmbedding
from recbole_unirep.scoring.model_contract import item_table


class ModelCodes(NamedTuple):
    """Codes of a model's items.

    Attributes:
        codes (np.ndarray): codes per item, without padding, -1 for unused levels, shape: [N, L], int64.
        sizes (list of int): number of codes per level, shape: [L].
        codebooks (list of np.ndarray or None): vectors of each level's codes, shape: [size, D] each, float32; None if
            vectors belong to pieces of IDs instead of codes.
        level_metrics (list of str): how each level finds its nearest vector, shape: [L].
        tokenizer (TrainedTokenizer or None): tokenizer that assigns the codes; None if codes are frozen.
    """

    codes: np.ndarray
    sizes: list
    codebooks: list | None
    level_metrics: list
    tokenizer: Any


@torch.no_grad()
def model_codes(model):
    """Returns the codes of a model's items.

    Args:
        model (recbole AbstractRecommender): in evaluation mode.

    Returns:
        ModelCodes or None: None if the model has no codes.
    """
    if isinstance(model, GenerativeRecommender):
        sizes = list(model.open_sizes)
        codebooks = [_array(level[:size]) for level, size in zip(model.code_vectors, sizes)]  # without the end marker
        return ModelCodes(model.open_codes.cpu().numpy(), sizes, codebooks, ["euclidean"] * len(sizes), None)
    table = item_table(model)
    if not isinstance(table, UnifiedItemEmbedding) or not table.has_codes:
        return None
    codes, sizes, codebooks = table.codes().cpu().numpy(), list(table.codebook_sizes), None
    level_metrics = ["euclidean"] * len(sizes)
    if table.code_embedding is None:
        quantizer = table.tokenizer.quantizer
        codebooks = [level[:size] for level, size in zip(_array(quantizer.codebooks), sizes)]
        level_metrics = list(quantizer.level_metrics)
    elif table.code_embedding.has_code_vectors:
        codebooks = np.split(_array(table.code_embedding.vectors.weight[1:]), np.cumsum(sizes)[:-1])
    return ModelCodes(codes, sizes, codebooks, level_metrics, table.tokenizer)


@torch.no_grad()
def item_vectors(model, n_items):
    """Returns the parts of a model's item table by name.

    Args:
        model (recbole AbstractRecommender): in evaluation mode.
        n_items (int): number of item ids, padding included.

    Returns:
        dict[str, np.ndarray]: vectors per item, without padding, shape: [N, D] each, float32; empty if the model has
            no item table.
    """
    table, vectors = item_table(model), {}
    if isinstance(table, torch.nn.Embedding):
        return {"item embedding": _array(table.weight[1:n_items])}
    if table is not None and table.has_semantic:
        name = "semantic embedding" if table.has_codes else "text embedding, not quantized"
        vectors[name] = _array(table.encoded_items.semantic)
    if table is not None and table.has_id:
        vectors["ID embedding"] = _array(table.id_embedding.weight)
    return vectors


def _array(tensor):
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())

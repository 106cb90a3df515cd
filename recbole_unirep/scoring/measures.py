"""recbole_unirep.scoring.measures: parameter counts and codebook statistics of a trained model, for result.json."""

import torch
from recbole.model.abstract_recommender import GeneralRecommender, KnowledgeRecommender, SequentialRecommender

from recbole_unirep.scoring.model_contract import HasCodes, MovesCodebooks, ReadsText, SizesItsTable, ranking_bias

KNOW_ITEMS = (GeneralRecommender, KnowledgeRecommender, SequentialRecommender)  # RecBole's classes with `n_items`


def measures(model):
    """Returns parameter counts, codebook statistics and score weights of a trained model.

    Args:
        model (recbole AbstractRecommender): ours or RecBole's.

    Returns:
        dict: plain values, fields of result.json.
    """
    bias = ranking_bias(model)
    return {
        "codebook": model.codebook_report() if isinstance(model, HasCodes) else {},
        "item_table_parameters": item_table_parameters(model),
        "trainable_parameters": sum(part.numel() for part in model.parameters() if part.requires_grad)
        + (model.n_ema_parameters if isinstance(model, MovesCodebooks) else 0),
        "counted_numbers": 0 if bias is None else bias.n_counts,
        "score_weights": {} if bias is None else bias.weights,
        "text_encoder": model.text_encoder if isinstance(model, ReadsText) else None,
    }


def item_table_parameters(model):
    """Counts the learned parameters addressed by item or by code, without padding and special tokens.

    Args:
        model (recbole AbstractRecommender): our models report the number themselves. For RecBole's models, the
            embedding tables with one row per item are counted.

    Returns:
        int or None: None if no table has one row per item (FM keeps all fields in one table, Pop learns no table).
    """
    if isinstance(model, SizesItsTable):
        return model.item_table_parameters
    if not isinstance(model, KNOW_ITEMS):
        return None
    n_items, tables = model.n_items, [part for part in model.modules() if isinstance(part, torch.nn.Embedding)]
    sizes = (n_items, n_items + 1)
    return sum((n_items - 1) * part.embedding_dim for part in tables if part.num_embeddings in sizes) or None

"""TIGER: a transformer reads the semantic IDs of a history and writes the next one.

Reference:
    Shashank Rajput et al. "Recommender Systems with Generative Retrieval" (TIGER), NeurIPS 2023, arXiv:2305.05065.

The paper's network is T5: an encoder reads the history, a decoder writes the next ID, one target per row. With
`decoder_only` a single causal stack does both, so that one row per user trains all of the user's targets in one pass.
"""

from recbole_unirep.model.autoregressive import AutoregressiveRecommender


class TIGER(AutoregressiveRecommender):
    """Generative retrieval: an IDTransformer trained on the codes of the next item, ranked by their likelihood.

    Args:
        config (Config): ours; keys of properties/model/TIGER.yaml and its tokenizer's.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: an option is out of its range.
    """

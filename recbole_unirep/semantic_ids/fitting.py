"""recbole_unirep.semantic_ids.fitting: fits a tokenizer on a catalogue and gives every item its codes.

Shapes: N items, L levels.
"""

from typing import Any, NamedTuple

import torch

from recbole_unirep.semantic_ids.collisions import catalogue_codes
from recbole_unirep.semantic_ids.ids import SemanticIds
from recbole_unirep.tokenizer import make_tokenizer, reads_vectors
from recbole_unirep.tokenizer.base import shipped_defaults


class FittedCodes(NamedTuple):
    """A fitted tokenizer and the codes of a catalogue, which make up a bundle.

    Attributes:
        semantic_ids (SemanticIds): of the items.
        tokenizer (SemanticTokenizer or AssignedTokenizer): fitted.
        settings (dict): keys of the tokenizer, and text_dim if it reads vectors.
        record (dict): provenance, such as `vectors` (what the vectors are made of) or `columns` (names).
        plain (Tensor or None): codes before collisions were resolved, None if read from a bundle, int64, shape: [N, L].
    """

    semantic_ids: SemanticIds
    tokenizer: Any
    settings: dict
    record: dict
    plain: torch.Tensor | None


def fit_codes(name, keys, catalogue, collisions) -> FittedCodes:
    """Fits a tokenizer on the items of a catalogue that it may learn from, and encodes all items.

    Args:
        name (str): a name of `tokenizer_names`.
        keys (mapping): holds the tokenizer's keys: a config, or settings.
        catalogue (Catalogue): the items.
        collisions (str): a key of POLICIES.

    Returns:
        FittedCodes: its record holds `vectors`, or `columns` for a tokenizer that reads no vectors.

    Raises:
        ValueError: an option does not fit the tokenizer or the items.
    """
    text_dim = catalogue.known.shape[1] if reads_vectors(name) else None
    learned = catalogue.to_learn_from()
    tokenizer = make_tokenizer(name, keys, text_dim, len(learned) if text_dim else None).fit(learned)
    settings, record = {key: keys[key] for key in shipped_defaults(name)}, {"columns": catalogue.vectors}
    if text_dim:
        settings, record = {**settings, "text_dim": text_dim}, {"vectors": catalogue.vectors}
    return assign_codes(tokenizer, catalogue.known, catalogue.items, collisions, settings, record)


def assign_codes(tokenizer, known, items, collisions, settings, record) -> FittedCodes:
    """Codes of items by a tokenizer that is fitted already.

    Args:
        tokenizer (SemanticTokenizer or AssignedTokenizer): fitted.
        known (Tensor or Items): vectors or columns of the items, as the tokenizer reads them.
        items (list of str): item tokens, shape: [N].
        collisions (str): a key of POLICIES.
        settings, record: see `FittedCodes`.
    """
    plain, resolved, sizes = catalogue_codes(tokenizer, known, items, collisions)
    return FittedCodes(SemanticIds(items, resolved.numpy(), sizes), tokenizer, settings, record, plain)

"""recbole_unirep.model.new_items: embeds items that a finished model was not trained on, to append them to its table.

Rows of existing items are not recomputed: a matrix product over more rows may round differently.

Shapes: M new items, N item ids of the run with padding, D text_dim, H hidden_size, L levels.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.model.backbone import causal_backbones, is_causal_backbone
from recbole_unirep.model.textknn import TextKNN
from recbole_unirep.modules.cold_ids import COLD_IDS, cold_id_rows, nearest_items
from recbole_unirep.modules.representation import REPRESENTATIONS
from recbole_unirep.scoring.model_contract import Generative, TakesNewItems
from recbole_unirep.semantic_ids.frozen_codes import has_frozen_codes
from recbole_unirep.semantic_ids.new_item_codes import check_tokenizer
from recbole_unirep.semantic_ids.pieces import code_pieces

ID_FALLBACKS = tuple(name for name in COLD_IDS if name != "untrained")  # a new item has no initial values
TOLERANCE = 0.02  # relative to the length of a text vector; float16 changes it by less


class NewItems(NamedTuple):
    """Vectors and codes that a finished model assigns to new items.

    Attributes:
        text (Tensor): text vectors, shape: [M, D].
        codes (Tensor or None): semantic IDs, -1 for unused levels; None if the representation has no codes; int64,
            shape: [M, L].
        ids (Tensor or None): substitutes for ID embeddings; None if the representation has none, shape: [M, id_dim].
        rows (Tensor or None): rows of the item table; None if the model uses only text (TextKNN), shape: [M, H].
        directions (Tensor or None): see `UnifiedItemEmbedding.directions`, shape: [M, code_dim].
    """

    text: Tensor
    codes: Tensor | None = None
    ids: Tensor | None = None
    rows: Tensor | None = None
    directions: Tensor | None = None


def check_takes_items(config, model):
    """Raises ValueError if a run's model cannot score new items.

    Args:
        config (Config): config of the run.
        model (recbole AbstractRecommender): model of the run.
    """
    name = config["model"]
    remedy = f"train UniRep or VQRec over {' or '.join(causal_backbones())}, or take TextKNN"
    if isinstance(model, Generative):
        raise ValueError(
            f"{name} of this run searches the prefix tree of its items' IDs, so a new item would change other scores: "
            f"{remedy}"
        )
    if isinstance(model, TextKNN):
        return
    if not isinstance(model, TakesNewItems):
        raise ValueError(f"{name} of this run cannot embed a new item from its text: {remedy}")
    if not REPRESENTATIONS[config["representation"]].has_semantic:
        raise ValueError(
            f"representation={config['representation']} of this run has only learned IDs and a new item has none: "
            f"train with representation=unified"
        )
    if not is_causal_backbone(config["backbone"]):
        raise ValueError(
            f"backbone={config['backbone']} of this run can score only its own items: train over "
            f"{' or '.join(causal_backbones())}"
        )
    if has_frozen_codes(config):
        check_tokenizer(config)


def id_fallback_of(config, id_fallback):
    """Returns the rule that fills in ID embeddings of new items; None if items have no ID part.

    Args:
        config (Config): config of the run.
        id_fallback (str or None): one of ID_FALLBACKS; None uses the run's rule for cold items, or 'mean' if the run
            leaves cold items untrained.

    Raises:
        ValueError: the rule is unknown, or the run's items have no ID part.
    """
    name, representation = config["model"], config["representation"]
    if name == "TextKNN" or not REPRESENTATIONS[representation].has_id:
        if id_fallback is not None:
            which = name if representation is None else f"representation={representation}"
            raise ValueError(
                f"id_fallback={id_fallback} needs items with an ID part, but {which} of this run has none: leave it out"
            )
        return None
    if id_fallback is None:
        return config["cold_id_embedding"] if config["cold_id_embedding"] in ID_FALLBACKS else ID_FALLBACKS[0]
    if id_fallback not in ID_FALLBACKS:
        raise ValueError(f"id_fallback={id_fallback} is not known: choose one of {', '.join(ID_FALLBACKS)}")
    return id_fallback


def check_text(model, known_text):
    """Raises ValueError if the text vectors of the run's items have changed since the checkpoint was trained.

    Args:
        model (UniRep or TextKNN): model whose checkpoint contains text vectors.
        known_text (Tensor): text vectors of the run's items, row 0 pads, shape: [N, D].
    """
    if isinstance(model, TextKNN):
        own, known = model.unit_text.cpu(), functional.normalize(known_text, dim=-1)
        has_text = own.any(dim=1)
    else:
        own, known = model.item_embedding.item_text_embedding.cpu(), known_text
        has_text = model.has_text.cpu()  # the checkpoint has a mean vector for items without text
    n_changed = int((((own - known).norm(dim=1) > TOLERANCE * own.norm(dim=1)) & has_text).sum())
    if n_changed:
        raise ValueError(
            f"{n_changed} of {len(own) - 1} items of the run have other text vectors ({model.text_encoder}) than those "
            f"the checkpoint was trained with, so new items would not match: restore the .item file and the vectors, "
            f"or train again"
        )


@torch.no_grad()
def embed_new_items(table, text, codes=None, id_fallback=None, known_text=None) -> NewItems:
    """Embeds new items as the item table embeds the items of the run.

    Args:
        table (UnifiedItemEmbedding): item table of a model in evaluation mode.
        text (Tensor): nonzero text vectors, shape: [M, D].
        codes (Tensor or None): codes of the new items, required if codes are frozen, int64, shape: [M, L].
        id_fallback (str or None): one of ID_FALLBACKS; None if there is no ID part.
        known_text (Tensor or None): text vectors of the table's items, required for 'nearest', row 0 pads, shape:
            [N, D].

    Returns:
        NewItems: on the CPU.
    """
    device = table.special.device
    if table.code_embedding is not None:
        tokens, _ = code_pieces(codes.to(device), table.codebook_sizes)
        semantic = table.code_embedding.vectors(tokens)
    else:
        scaled = table.tokenizer.scale_text(text.to(device))
        semantic = table.tokenizer.encoder(scaled).to(scaled.dtype)
        if table.has_codes:
            semantic, codes = table.tokenizer.quantizer.quantize(semantic)
    parts, ids = [semantic], None
    if id_fallback is not None:
        ids = _fallback_ids(table, text, id_fallback, known_text)
        parts.append(ids)
    known = table.encoded_items.semantic.float()
    directions = functional.normalize(semantic.float() - known[: table.n_training_items - 1].mean(dim=0), dim=-1)
    rows = table.fusion(torch.cat(parts, dim=-1))
    return NewItems(*(part if part is None else part.cpu() for part in (text, codes, ids, rows, directions)))


def _fallback_ids(table, text, kind, known_text):
    n_trained, nearest = table.n_training_items, None
    trained = table.id_embedding.weight[: n_trained - 1]
    if kind == "nearest":
        nearest = nearest_items(torch.cat([known_text[:n_trained], text]), n_trained).to(trained.device)
    return cold_id_rows(kind, trained, len(text), nearest).clone()

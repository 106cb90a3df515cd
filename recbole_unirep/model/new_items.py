"""recbole_unirep.model.new_items: items that a finished model has not seen, embedded and put behind its own.

The rows of its own items are not computed anew, since a product over another number of rows may have other last bits.

Shapes: M new items, N item ids of the run with padding, D text_dim, H hidden_size, L levels.
"""

from typing import NamedTuple, Optional

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.model.backbone import causal_backbones, is_causal_backbone
from recbole_unirep.model.textknn import TextKNN
from recbole_unirep.model.unirep import UniRep
from recbole_unirep.modules.cold_ids import COLD_IDS, nearest_items
from recbole_unirep.modules.representation import REPRESENTATIONS
from recbole_unirep.scoring.model_contract import Generative
from recbole_unirep.semantic_ids.frozen_codes import has_fixed_codes
from recbole_unirep.semantic_ids.new_item_codes import check_tokenizer
from recbole_unirep.semantic_ids.pieces import code_pieces

ID_FALLBACKS = tuple(name for name in COLD_IDS if name != "untrained")  # of a new item there are no first values
TOLERANCE = 0.02  # of a text vector's length: float16 moves it by less


class NewItems(NamedTuple):
    """What new items have by a finished model.

    Attributes:
        text (Tensor): text vectors, shape: [M, D].
        codes (Tensor or None): semantic IDs, -1 where a level is not used, None where the representation has none,
            int64, shape: [M, L].
        ids (Tensor or None): in place of ID embeddings, None where the representation has none, shape: [M, id_dim].
        rows (Tensor or None): rows of the item table, None where the text is all (TextKNN), shape: [M, H].
        directions (Tensor or None): see `UnifiedItemEmbedding.directions`, shape: [M, code_dim].
    """

    text: Tensor
    codes: Optional[Tensor] = None
    ids: Optional[Tensor] = None
    rows: Optional[Tensor] = None
    directions: Optional[Tensor] = None


def check_takes_items(config, model):
    """Raises ValueError where a run's model has no place for new items.

    Args:
        config (Config): the run's.
        model (recbole AbstractRecommender): of the run.
    """
    name = config["model"]
    remedy = f"train UniRep or VQRec over {' or '.join(causal_backbones())}, or take TextKNN"
    if isinstance(model, Generative):
        raise ValueError(
            f"{name} of this run finds items along the tree of its trained items' IDs, a new one changes what others "
            f"get: {remedy}"
        )
    if isinstance(model, TextKNN):
        return
    if not isinstance(model, UniRep):
        raise ValueError(f"{name} of this run has no embedding that it could make of a new item's text: {remedy}")
    if not REPRESENTATIONS[config["representation"]].has_semantic:
        raise ValueError(
            f"representation={config['representation']} of this run knows items by learned IDs alone, a new one has "
            f"none: train with representation=unified"
        )
    if not is_causal_backbone(config["backbone"]):
        raise ValueError(
            f"backbone={config['backbone']} of this run has scores for its own items alone: train over "
            f"{' or '.join(causal_backbones())}"
        )
    if has_fixed_codes(config):
        check_tokenizer(config)


def id_fallback_of(config, asked):
    """What stands for new items' ID embeddings, None where items have none.

    Args:
        config (Config): the run's.
        asked (str or None): one of ID_FALLBACKS; None takes what the run gives to cold items, 'mean' where those are
            left untrained.

    Raises:
        ValueError: it is not known, or the run's items have no ID part.
    """
    name, representation = config["model"], config["representation"]
    if name == "TextKNN" or not REPRESENTATIONS[representation].has_id:
        if asked is not None:
            which = name if representation is None else f"representation={representation}"
            raise ValueError(
                f"id_fallback={asked} is for items with an ID part, {which} of this run has none: leave it out"
            )
        return None
    if asked is None:
        return config["cold_id_embedding"] if config["cold_id_embedding"] in ID_FALLBACKS else ID_FALLBACKS[0]
    if asked not in ID_FALLBACKS:
        raise ValueError(f"id_fallback={asked} is not known: choose one of {', '.join(ID_FALLBACKS)}")
    return asked


def check_text(model, known_text):
    """Raises ValueError where the run's items have other text vectors now than its checkpoint reads.

    Args:
        model (UniRep or TextKNN): whose text vectors are in its checkpoint.
        known_text (Tensor): text vectors of the run's items, row 0 pads, shape: [N, D].
    """
    if isinstance(model, TextKNN):
        own, known = model.unit_text.cpu(), functional.normalize(known_text, dim=-1)
        has_text = own.any(dim=1)
    else:
        own, known = model.item_embedding.item_text_embedding.cpu(), known_text
        has_text = model.has_text.cpu()  # those without text have a mean in the checkpoint
    n_changed = int((((own - known).norm(dim=1) > TOLERANCE * own.norm(dim=1)) & has_text).sum())
    if n_changed:
        raise ValueError(
            f"{n_changed} of {len(own) - 1} items of the run have other text vectors ({model.text_encoder}) than its "
            f"checkpoint was trained with, so new ones would not suit it: restore the .item file and the vectors, or "
            f"train anew"
        )


@torch.no_grad()
def embed_new_items(table, text, codes=None, id_fallback=None, known_text=None) -> NewItems:
    """Embeds new items as the table embeds its own.

    Args:
        table (UnifiedItemEmbedding): of a model in evaluation mode.
        text (Tensor): text vectors, none of them zeros, shape: [M, D].
        codes (Tensor or None): where codes stand still those of the new items, int64, shape: [M, L].
        id_fallback (str or None): out of ID_FALLBACKS; None where there is no ID part.
        known_text (Tensor or None): text vectors of the table's items, row 0 pads, for 'nearest', shape: [N, D].

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
    trained = table.id_embedding.weight[: table.n_training_items - 1]
    if kind == "nearest":
        n_trained = table.n_training_items
        return trained[nearest_items(torch.cat([known_text[:n_trained], text]), n_trained).to(trained.device)]
    row = trained.mean(dim=0) if kind == "mean" else torch.zeros_like(trained[0])
    return row.expand(len(text), -1).clone()

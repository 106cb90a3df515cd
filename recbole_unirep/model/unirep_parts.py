"""recbole_unirep.model.unirep_parts: builds the parts of a UniRep from its config.

The order of construction is fixed, because every part draws its initial values from torch's generator.

Shapes: N items, D text dimensions.
"""

import math
from collections.abc import Mapping
from logging import getLogger
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.model.backbone import BackboneEnsemble, LocalConvolution, make_backbone
from recbole_unirep.model.unirep_options import check_options, hidden_size, item_pieces
from recbole_unirep.modules.code_embedding import CodeEmbedding
from recbole_unirep.modules.fusion import make_fusion
from recbole_unirep.modules.item_embedding import UnifiedItemEmbedding
from recbole_unirep.modules.representation import REPRESENTATIONS, IdPart, ItemRows, TextPart
from recbole_unirep.semantic_ids.frozen_codes import FITTED, frozen_codes, has_frozen_codes
from recbole_unirep.tokenizer import make_tokenizer
from recbole_unirep.tokenizer.base import shipped_defaults


class SemanticPart(NamedTuple):
    """Source of the semantic embeddings; all fields are None for representation 'id'.

    Attributes:
        has_text (Tensor or None): False for items without text, shape: [N], bool.
        text (TextPart or None): item text embeddings, and the tokenizer trained jointly with the recommender.
        code_embedding (CodeEmbedding or None): embeddings of frozen codes.
        text_encoder (str or None): name of the sentence encoder.
        fitted (dict[str, FittedCodes]): tokenizers fitted before training, by the name of their folder in the run.
    """

    has_text: Tensor | None = None
    text: TextPart | None = None
    code_embedding: nn.Module | None = None
    text_encoder: str | None = None
    fitted: Mapping = MappingProxyType({})


class Quantization(NamedTuple):
    """Items and weights of Algorithm 1's losses, see properties/model/UniRep.yaml.

    Attributes:
        items (str): 'batch' or 'catalogue'.
        weighting (str): 'item' or 'occurrence'.
        dead_code_steps (int): 0 if training does not move codebooks.
    """

    items: str
    weighting: str
    dead_code_steps: int


class UniRepParts(NamedTuple):
    """The parts of a UniRep.

    Attributes:
        backbone (recbole SequentialRecommender or BackboneEnsemble): its item table is replaced by the unified one.
        semantic (SemanticPart): source of the table's semantic embeddings.
        quantization (Quantization): settings of the quantization losses.
        loss_weights (dict[str, float]): weight of each part of the loss, by name.
        output_projection (nn.Linear or None): applied to the states before the product with item embeddings.
        temperature (float or None): for similarity 'cosine'.
        log_temperature (nn.Parameter or None): the logarithm of the temperature, if it is learned, shape: [].
        n_training_items (int): number of item ids that take part in training, padding included.
    """

    backbone: nn.Module
    semantic: SemanticPart
    quantization: Quantization
    loss_weights: dict
    output_projection: nn.Module | None
    temperature: float | None
    log_temperature: nn.Parameter | None
    n_training_items: int


def make_parts(config, dataset) -> UniRepParts:
    """Checks UniRep's keys and builds its parts.

    Args:
        config (Config): RecBole's or ours, with the keys of properties/model/UniRep.yaml, its tokenizer and backbone.
        dataset (recbole Dataset): the training part.

    Raises:
        ValueError: an option is out of its range, or the backbone does not support the loss.
    """
    check_options(config)
    has_semantic, has_codes, has_id = REPRESENTATIONS[config["representation"]]
    n_trained = n_training_items(dataset)
    is_frozen = has_frozen_codes(config)
    if not has_semantic:
        semantic = SemanticPart()
    elif is_frozen:
        semantic = _of_frozen_codes(config, dataset, n_trained)
    else:
        semantic = _of_text(config, dataset, n_trained, has_codes)

    semantic_dim = config["code_embedding_size" if is_frozen else "code_dim"]
    id_dim = config["id_embedding_size"] if has_semantic else semantic_dim
    width = (semantic_dim if has_semantic else 0) + (id_dim if has_id else 0)
    size = hidden_size(config, width)
    backbones = [make_backbone(config["backbone"], config, dataset, size) for _ in range(config["n_backbones"])]
    backbone = BackboneEnsemble(backbones) if len(backbones) > 1 else backbones[0]
    backbone.item_embedding = UnifiedItemEmbedding(
        rows=ItemRows(dataset.item_num, n_trained, backbone.item_embedding.num_embeddings - dataset.item_num),
        text=semantic.text,
        code_embedding=semantic.code_embedding,
        ids=IdPart(id_dim, config["cold_id_embedding"], config["id_dropout_prob"]) if has_id else None,
        fusion=make_fusion(config["fusion"], width, size, config["fusion_hidden_units"], config["similarity"]),
        hidden_size=size,
        init_std=config["id_init_std"],
    )
    if config["local_convolution"]:
        for member in backbones:
            member.local_convolution = LocalConvolution(size, config["local_convolution"])

    is_cosine, is_encoded = config["similarity"] == "cosine", semantic.text is not None
    trains_codes = is_encoded and has_codes and config["train_on_codes"]
    uses = {"recommendation": True, "quantization": trains_codes, "reconstruction": is_encoded}
    dead_code_steps = config["dead_code_steps"] if trains_codes else 0
    return UniRepParts(
        backbone=backbone,
        semantic=semantic,
        quantization=Quantization(config["quantization_items"], config["quantization_weighting"], dead_code_steps),
        loss_weights={name: config[f"{name}_weight"] for name, is_used in uses.items() if is_used},
        output_projection=nn.Linear(size, size) if config["output_projection"] else None,
        temperature=config["temperature"] if is_cosine else None,
        log_temperature=_log_temperature(config) if is_cosine and config["learn_temperature"] else None,
        n_training_items=n_trained,
    )


def _log_temperature(config):
    return nn.Parameter(torch.tensor(float(config["temperature"])).log())


def _of_frozen_codes(config, dataset, n_trained):
    """Builds embeddings for frozen codes."""
    frozen = frozen_codes(config, dataset)
    pieces = item_pieces(config, frozen, n_trained, dataset)
    size, std = config["code_embedding_size"], config["id_init_std"]
    return SemanticPart(
        has_text=frozen.is_known,
        code_embedding=CodeEmbedding(frozen.codes, frozen.codebook_sizes, size, std, pieces),
        text_encoder=frozen.source,
        fitted={FITTED: frozen.fitted},
    )


def _tokenizer_settings(config, n_items):
    """Returns the tokenizer's keys; a codebook_size that is not given follows from the number of items."""
    settings = {key: config[key] for key in shipped_defaults(config["tokenizer"])}
    if "codebook_size" in settings and settings["codebook_size"] is None:
        settings["codebook_size"] = codebook_size_of(n_items)
        getLogger().info(f"codebook_size is {settings['codebook_size']}, which follows from {n_items} items")
    return settings


def codebook_size_of(n_items):
    """Returns the largest power of 2 that is at most a 128th of the items, but 16 to 128, and at most the items.

    32 codebooks then hold at most a quarter of the numbers of a table with a row per item, from 2,048 items on, and a
    code takes one byte.
    """
    return min(max(n_items, 1), 2 ** int(math.log2(min(max(n_items / 128, 16), 128))))


def _of_text(config, dataset, n_trained, has_codes):
    """Builds a jointly trained tokenizer and the text that it encodes."""
    item_text = load_item_text(config, dataset)
    text = item_text.vectors
    has_text = text.any(dim=-1)
    is_read = has_text & (torch.arange(len(text)) < n_trained)
    n_read = int(is_read.sum())
    settings = _tokenizer_settings(config, n_read)
    tokenizer = make_tokenizer(config["tokenizer"], settings, text.shape[1], n_read if has_codes else None)
    if not has_codes:
        tokenizer = tokenizer.without_quantizer()
    tokenizer.initialise(text[is_read], config["seed"])
    vectors = torch.where(has_text[:, None], text, tokenizer.text_mean)  # the mean becomes a zero vector after scaling
    return SemanticPart(
        has_text=has_text,
        text=TextPart(tokenizer, vectors, config["table_gradient_share"], config["train_on_codes"]),
        text_encoder=item_text.encoder,
    )

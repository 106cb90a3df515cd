"""recbole_unirep.model.unirep_options: which values of UniRep's keys go together, and the size they make."""

import math
from logging import getLogger

import torch

from recbole_unirep.model.backbone import backbone_names, causal_backbones, is_causal_backbone, item_size_key
from recbole_unirep.model.score_bias import LEARNED, RANKING
from recbole_unirep.modules.code_embedding import CODE_PIECES
from recbole_unirep.modules.cold_ids import COLD_IDS
from recbole_unirep.modules.fusion import FUSIONS, KEEPS_WIDTH, SIMILARITIES
from recbole_unirep.modules.representation import REPRESENTATIONS
from recbole_unirep.scoring.protocols import RECBOLE, protocols_asked
from recbole_unirep.semantic_ids.collisions import POLICIES
from recbole_unirep.semantic_ids.frozen_codes import has_fixed_codes
from recbole_unirep.semantic_ids.pieces import ngram_pieces, sentence_pieces
from recbole_unirep.tokenizer import tokenizer_names
from recbole_unirep.tokenizer.base import shipped_defaults
from recbole_unirep.training.losses import LOSSES

QUANTIZATION_ITEMS = ("batch", "catalogue")
QUANTIZATION_WEIGHTINGS = ("item", "occurrence")


def check_options(config):
    """Looks at UniRep's keys.

    Args:
        config (Config): RecBole's or ours.

    Raises:
        ValueError: an option is not in its range, or goes against another.
    """
    ranges = {
        "backbone": backbone_names(),
        "tokenizer": tokenizer_names(),
        "representation": tuple(REPRESENTATIONS),
        "code_pieces": CODE_PIECES,
        "fusion": tuple(FUSIONS),
        "similarity": SIMILARITIES,
        "loss_type": LOSSES,
        "quantization_items": QUANTIZATION_ITEMS,
        "quantization_weighting": QUANTIZATION_WEIGHTINGS,
        "cold_id_embedding": COLD_IDS,
        "collisions": tuple(POLICIES),
    }
    for key, values in ranges.items():
        if config[key] not in values:
            raise ValueError(f"{key}={config[key]} is not known: choose one of {', '.join(values)}")
    if config["quantization_items"] == "catalogue" and config["quantization_weighting"] == "occurrence":
        raise ValueError("quantization_weighting=occurrence counts a batch's items: use quantization_items=batch")
    for key in ("level_metrics", "encoder_sizes"):
        if key in shipped_defaults(config["tokenizer"]) and not isinstance(config[key], (list, tuple)):
            raise ValueError(f"{key}={config[key]} is no list: write --{key}=[A,B,C]")
    if config["cold_id_embedding"] == "nearest" and not REPRESENTATIONS[config["representation"]].has_semantic:
        raise ValueError(
            f"cold_id_embedding=nearest goes by text, representation={config['representation']} has none: choose mean, "
            f"zero or untrained"
        )
    if not 0 < config["table_gradient_share"] <= 1:
        raise ValueError(f"table_gradient_share={config['table_gradient_share']} is no share: give 1, or less above 0")
    _check_codes(config)
    sizes = config["encoder_sizes"] if "encoder_sizes" in shipped_defaults(config["tokenizer"]) else ()
    if not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"encoder_sizes={sizes} are not all whole numbers above 0: write --encoder_sizes=[512,256]")
    temperature = config["temperature"]
    if not isinstance(temperature, (int, float)) or isinstance(temperature, bool) or not temperature > 0:
        raise ValueError(f"temperature={temperature} is no number above 0: give one, such as 0.0625")
    n_last = config["transition_bias"]
    if type(n_last) is not int or n_last < 0:
        raise ValueError(f"transition_bias={n_last} is no number of items: give 3, or 0 for none")
    in_our_rows = config["training_rows"] in ("user", "target") and RECBOLE not in protocols_asked(config["protocol"])
    if n_last and not in_our_rows:
        raise ValueError(
            f"transition_bias={n_last} leaves out what a row itself counts later, which RecBole's own rows don't hold: "
            f"use run_recbole of recbole_unirep with training_rows=user and a protocol other than {RECBOLE}, or leave "
            f"the key out"
        )
    for key in RANKING:
        if not math.isfinite(config[key]):
            raise ValueError(f"{key}={config[key]} is no weight: give a number, 0 for none")
    width = config["local_convolution"]
    if type(width) is not int or width < 0:
        raise ValueError(f"local_convolution={width} is no number of items: give 3, or 0 for none")
    is_asked = {key: config[key] for key in ("output_projection", "local_convolution", *LEARNED, *RANKING)}
    is_asked["similarity"] = config["similarity"] != "dot"
    for key in is_asked:
        if is_asked[key] and not is_causal_backbone(config["backbone"]):
            raise ValueError(
                f"{key}={config[key]} is for backbone {' or '.join(causal_backbones())}, found {config['backbone']}: "
                f"leave the key out"
            )
    for key in LEARNED:
        if config[key] and config["loss_type"] not in ("CE", "SSM"):
            raise ValueError(
                f"{key}={config[key]} learns from a softmax, found loss_type={config['loss_type']}: use CE or SSM, or "
                f"leave the key out"
            )
    if config["loss_type"] in ("BCE", "SSM") and not is_causal_backbone(config["backbone"]):
        raise ValueError(
            f"loss_type={config['loss_type']} trains every position, which backbone {config['backbone']} can't: "
            f"use CE or BPR, or a backbone out of {', '.join(causal_backbones())}"
        )


def _check_codes(config):
    """Codes that stand still, or are trained along: what goes with which."""
    is_fixed = has_fixed_codes(config)
    if is_fixed and config["representation"] in ("text", "text_id"):
        raise ValueError(
            f"representation={config['representation']} is an encoder without its quantization, codes that stand still "
            f"have none: use tokenizer=RQVAE without semantic_ids, or another representation"
        )
    if is_fixed and config["cold_id_embedding"] == "nearest":
        raise ValueError("cold_id_embedding=nearest goes by encoded text, fixed codes have none: choose mean or zero")
    if config["code_pieces"] != "code" and config["representation"] == "id":
        raise ValueError(f"code_pieces={config['code_pieces']} is for codes, representation=id has none: leave it out")
    if config["code_pieces"] != "code" and not is_fixed:
        raise ValueError(
            f"code_pieces={config['code_pieces']} is for codes that stand still, tokenizer={config['tokenizer']} is "
            f"trained along: use another, such as RQKMeans, or semantic_ids=FOLDER"
        )
    if config["collisions"] != "leave" and not is_fixed:
        raise ValueError(
            f"collisions={config['collisions']} is for a tokenizer that is fitted here and stands still, found "
            f"tokenizer={config['tokenizer']}: give it to unirep tokenize, or leave it out"
        )


def hidden_size(config, width):
    """The backbone's size: side by side the parts' own, projected the backbone's.

    Args:
        config (Config): RecBole's or ours.
        width (int): dimensions of the parts side by side.

    Raises:
        ValueError: another size was asked for than the parts have.
    """
    key, fusion = item_size_key(config["backbone"]), config["fusion"]
    if fusion not in KEEPS_WIDTH:
        return config[key]
    asked = config[key]
    if asked not in (width, config.internal_config_dict[key]):
        raise ValueError(
            f"{key}={asked} was asked, fusion: {fusion} makes it {width}: set code_dim or id_embedding_size, or "
            f"fusion=project"
        )
    getLogger().info(f"{key} of the backbone is {width}: the parts of an item stand side by side (fusion: {fusion})")
    return width


def item_pieces(config, fixed, n_training_items, dataset):
    """Pieces of the items' IDs that the config asks for; None where each code is one.

    Args:
        config (Config): ours: code_pieces, ngram_size, n_pieces.
        fixed (FixedCodes): codes of the items.
        n_training_items (int): number of item ids that take part in training, padding included.
        dataset (Dataset): RecBole's, the training part.

    Raises:
        ValueError: see `sentence_pieces`.
    """
    kind = config["code_pieces"]
    if kind == "code":
        return None
    # One more than an item is a target, so that those that are only read count as well.
    counts = 1 + torch.bincount(dataset.inter_feat[dataset.iid_field], minlength=dataset.item_num)
    counts[0] = 0
    counts[n_training_items:] = 0
    if kind == "ngram":
        return ngram_pieces(fixed.codes, counts, config["ngram_size"])
    return sentence_pieces(fixed.codes, counts, config["n_pieces"])

"""recbole_unirep.model.unirep_options: checks combinations of UniRep's keys, and derives sizes and pieces from them."""

import math
from collections import ChainMap
from logging import getLogger

import torch

from recbole_unirep.model.backbone import backbone_names, causal_backbones, is_causal_backbone, item_size_key
from recbole_unirep.model.score_bias import LEARNED, RANKING
from recbole_unirep.modules.code_embedding import CODE_PIECES
from recbole_unirep.modules.cold_ids import COLD_IDS
from recbole_unirep.modules.fusion import FUSIONS, KEEPS_WIDTH, SIMILARITIES
from recbole_unirep.modules.representation import REPRESENTATIONS
from recbole_unirep.scoring.cold_offset import COLD_OFFSET
from recbole_unirep.scoring.protocols import RECBOLE, protocols_asked
from recbole_unirep.semantic_ids.collisions import POLICIES
from recbole_unirep.semantic_ids.frozen_codes import has_frozen_codes
from recbole_unirep.semantic_ids.pieces import ngram_pieces, sentence_pieces
from recbole_unirep.settings.parts import read_keys
from recbole_unirep.settings.shipped import shipped_file
from recbole_unirep.tokenizer import tokenizer_names
from recbole_unirep.tokenizer.base import shipped_defaults
from recbole_unirep.training.losses import LOSSES

QUANTIZATION_ITEMS = ("batch", "catalogue")
QUANTIZATION_WEIGHTINGS = ("item", "occurrence")


def check_options(config):
    """Checks UniRep's keys.

    Args:
        config (Config): RecBole's or ours.

    Raises:
        ValueError: an option is out of its range, or two options exclude each other.
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
            raise ValueError(f"{key}={config[key]} is not a list: write --{key}=[A,B,C]")
    if config["cold_id_embedding"] == "nearest" and not REPRESENTATIONS[config["representation"]].has_semantic:
        raise ValueError(
            f"cold_id_embedding=nearest needs item text, representation={config['representation']} uses none: choose "
            f"mean, zero or untrained"
        )
    if not 0 < config["table_gradient_share"] <= 1:
        raise ValueError(
            f"table_gradient_share={config['table_gradient_share']} is out of range: give a number above 0, at most 1"
        )
    _check_codes(config)
    sizes = config["encoder_sizes"] if "encoder_sizes" in shipped_defaults(config["tokenizer"]) else ()
    if not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"encoder_sizes={sizes} must be whole numbers above 0: write --encoder_sizes=[512,256]")
    temperature = config["temperature"]
    if not isinstance(temperature, (int, float)) or isinstance(temperature, bool) or not temperature > 0:
        raise ValueError(f"temperature={temperature} is not a number above 0: give one, such as 0.0625")
    n_last = config["transition_bias"]
    if type(n_last) is not int or n_last < 0:
        raise ValueError(f"transition_bias={n_last} is not a number of items: give 3, or 0 to turn it off")
    chosen = config["chosen_on_validation"]
    choosable = (*RANKING, COLD_OFFSET)
    unknown = [key for key in chosen if key not in choosable] if isinstance(chosen, (list, tuple)) else [chosen]
    if unknown:
        raise ValueError(
            f"chosen_on_validation={chosen} is not a list of ranking weights: name {', '.join(choosable)}, or none"
        )
    for key in choosable:
        if not math.isfinite(config[key]):
            raise ValueError(f"{key}={config[key]} is not a finite number: give a number, or 0 to turn it off")
    if config["learn_temperature"] and config["similarity"] != "cosine":
        raise ValueError(f"learn_temperature=True needs similarity=cosine, found {config['similarity']}: leave it out")
    width = config["local_convolution"]
    if type(width) is not int or width < 0:
        raise ValueError(f"local_convolution={width} is not a number of items: give 3, or 0 to turn it off")
    for key, (problem, remedy) in obstacles(config).items():
        if config[key] not in (OFF[key], []):
            raise ValueError(f"{key}={config[key]} {problem}: {remedy}")


OFF = {
    "n_backbones": 1,
    "output_projection": False,
    "local_convolution": 0,
    "repeat_bias": False,
    "transition_bias": 0,
    "history_similarity": 0.0,
    "popularity_bias": 0.0,
    "cold_offset": 0.0,
    "chosen_on_validation": None,
    "similarity": "dot",
    "label_smoothing": 0.0,
    "loss_type": "CE",
}  # key -> the value with which it changes nothing; of loss_type, the one that every backbone and loader supports

QUANTIZATION_WEIGHT_OF_GRADIENT = 100.0

TRAINS_CODES = {
    "codebook_update": "ema",
    "codebook_gradient": False,
    "residual_gradient": "detached",
    "gradient_estimator": "straight_through",
    "codebook_decay": None,
    "commitment_weight": None,
    "quantization_weight": None,
    "dead_code_steps": None,
}  # keys that matter only if training reads codes -> the value that excludes nothing; None: any value


def obstacles(settings, has_rows=None):
    """Finds the keys of OFF that the other settings exclude.

    Args:
        settings (mapping): the config's keys.
        has_rows (bool or None): whether training reads this package's rows; None asks the settings.

    Returns:
        dict[str, tuple[str, str]]: key to the problem and its remedy.
    """
    backbone, loss, found = settings["backbone"], settings["loss_type"], {}
    if has_rows is None:
        has_rows = settings["training_rows"] in ("user", "target")
    has_rows = has_rows and RECBOLE not in protocols_asked(settings["protocol"])
    if not has_rows:
        found["transition_bias"] = (
            "needs each row's later items, which RecBole's own rows do not contain",
            f"use run_recbole of recbole_unirep with training_rows=user and a protocol other than {RECBOLE}, or leave "
            f"the key out",
        )
        found["label_smoothing"] = (
            "is for this package's rows",
            "use training_rows=user, or leave the key out",
        )
        if loss == "SSM":
            found["loss_type"] = ("needs training on user sequences", "use training_rows=user, or CE or BPR")
    if settings["reorder"]:
        found["transition_bias"] = ("counts the order of items, which reorder changes", "leave one of them out")
    if loss not in ("CE", "SSM"):
        for key in (*LEARNED, "label_smoothing"):
            found[key] = (f"needs a softmax loss, found loss_type={loss}", "use CE or SSM, or leave the key out")
    if not is_causal_backbone(backbone):
        names = causal_backbones()
        problem = f"is for backbone {' or '.join(names)}, found {backbone}"
        found |= {key: (problem, "leave the key out") for key in OFF if key != "loss_type"}
        if loss in ("BCE", "SSM"):
            found["loss_type"] = (
                f"trains every position, which backbone {backbone} does not support",
                f"use CE or BPR, or one of the backbones {', '.join(names)}",
            )
    return found


def fitted_defaults(given, settings, has_rows):
    """Leaves out the defaults that the user's settings exclude; see `scoring.model_contract.FitsDefaults`."""
    changed, problems = {}, {}
    settings = ChainMap(changed, settings)
    for keys in (["loss_type"], OFF):  # the loss decides about other keys
        for key, (problem, _) in obstacles(settings, has_rows).items():
            if key in keys and key not in given and settings[key] not in (OFF[key], []):
                changed[key] = OFF[key]
                problems.setdefault(problem, []).append(key)
    lines = [f"not used: {', '.join(keys)}, because the default {problem}" for problem, keys in problems.items()]
    if settings["n_backbones"] > 1 and "n_layers" in given and "n_backbones" not in given:
        lines.append(f"not used: n_backbones {settings['n_backbones']}, because n_layers is given without it")
        changed["n_backbones"] = 1
    asked = [key for key in TRAINS_CODES if key in given]
    if not settings["train_on_codes"] and "train_on_codes" not in given and asked:
        changed["train_on_codes"] = True
        lines.append(f"not used: train_on_codes False, because the default excludes {', '.join(asked)}")
    if settings.get("codebook_update") == "ema" and "codebook_update" not in given and _moves_codebooks(settings):
        changed["codebook_update"] = "gradient"
        lines.append("not used: codebook_update ema, because the default takes no gradients to the codebooks")
    if settings["quantization_weight"] is None:
        is_gradient = settings.get("codebook_update") == "gradient"  # frozen codes have no such key, and no such loss
        changed["quantization_weight"] = QUANTIZATION_WEIGHT_OF_GRADIENT if is_gradient else 1.0
    if has_rows is False:
        stock = read_keys(shipped_file("stock", "UniRep.yaml"))
        changed |= {key: value for key, value in stock.items() if key not in given}
    if "chosen_on_validation" not in given:
        changed["chosen_on_validation"] = [key for key in settings["chosen_on_validation"] or () if key not in given]
    return changed, lines


def _moves_codebooks(settings):
    """True if the gradient of other losses than the codebook's own reaches the codebooks; only RQVAE has such keys."""
    return settings.get("codebook_gradient") or settings.get("residual_gradient", "detached") != "detached"


def _check_codes(config):
    """Checks the keys that depend on whether codes are frozen or trained jointly."""
    is_frozen = has_frozen_codes(config)
    if is_frozen and config["representation"] in ("text", "text_id"):
        raise ValueError(
            f"representation={config['representation']} needs the encoder of a jointly trained tokenizer, frozen codes "
            f"have none: use tokenizer=RQVAE without semantic_ids, or another representation"
        )
    for key, value in TRAINS_CODES.items():
        if not is_frozen and not config["train_on_codes"] and None not in (value, config[key]) and config[key] != value:
            raise ValueError(
                f"{key}={config[key]} needs training on codes, train_on_codes=False fits them after each epoch: use "
                f"train_on_codes=True, or leave {key} out"
            )
    if is_frozen and config["cold_id_embedding"] == "nearest":
        raise ValueError(
            "cold_id_embedding=nearest needs encoded text, which frozen codes do not have: choose mean or zero"
        )
    if config["code_pieces"] != "code" and config["representation"] == "id":
        raise ValueError(f"code_pieces={config['code_pieces']} needs codes, representation=id has none: leave it out")
    if config["code_pieces"] != "code" and not is_frozen:
        raise ValueError(
            f"code_pieces={config['code_pieces']} needs frozen codes, tokenizer={config['tokenizer']} is trained "
            f"jointly: use another tokenizer, such as RQKMeans, or semantic_ids=FOLDER"
        )
    if config["collisions"] != "leave" and not is_frozen:
        raise ValueError(
            f"collisions={config['collisions']} needs a tokenizer that is fitted before training, found "
            f"tokenizer={config['tokenizer']}: pass the key to unirep tokenize, or leave it out"
        )


def hidden_size(config, width):
    """Returns the backbone's hidden size: the width of the concatenated parts, or the configured size if projected.

    Args:
        config (Config): RecBole's or ours.
        width (int): size of the concatenated parts.

    Raises:
        ValueError: the configured size differs from the width of the parts.
    """
    key, fusion = item_size_key(config["backbone"]), config["fusion"]
    if fusion not in KEEPS_WIDTH:
        return config[key]
    size = config[key]
    if size not in (width, config.internal_config_dict[key]):
        raise ValueError(
            f"{key}={size} does not fit, fusion={fusion} makes it {width}: set code_dim or id_embedding_size, or use "
            f"fusion=project"
        )
    getLogger().info(f"{key} of the backbone is {width}: semantic and ID vectors are concatenated (fusion: {fusion})")
    return width


def item_pieces(config, frozen, n_training_items, dataset):
    """Returns the pieces of the semantic IDs that the config selects; None if every code is its own piece.

    Args:
        config (Config): ours: code_pieces, ngram_size, n_pieces.
        frozen (FrozenCodes): codes of the items.
        n_training_items (int): number of item ids that take part in training, padding included.
        dataset (Dataset): RecBole's, the training part.

    Raises:
        ValueError: see `sentence_pieces`.
    """
    kind = config["code_pieces"]
    if kind == "code":
        return None
    # One more than the number of times an item is a target, so that items that are only inputs count as well.
    counts = 1 + torch.bincount(dataset.inter_feat[dataset.iid_field], minlength=dataset.item_num)
    counts[0] = 0
    counts[n_training_items:] = 0
    if kind == "ngram":
        return ngram_pieces(frozen.codes, counts, config["ngram_size"])
    return sentence_pieces(frozen.codes, counts, config["n_pieces"])

"""Ranges and forms of config values that can be checked without other keys."""

import math
import re

# Smallest valid values.
LEAST = {
    **dict.fromkeys(
        (
            "epochs", "nproc", "users_per_batch", "train_batch_size", "eval_batch_size", "scores_at_once",
            "pair_batch_size", "fusion_hidden_units",
            "MAX_ITEM_LIST_LENGTH", "n_backbones", "n_layers", "n_heads", "hidden_size", "inner_size", "embedding_size",
            "id_embedding_size", "n_levels", "codebook_size", "code_dim", "lexical_dim", "text_batch_size",
            "shared_negatives", "transition_followers", "kmeans_iterations", "opq_iterations", "leaf_items",
            "code_embedding_size", "ngram_size", "n_pieces",
            "collaborative_dim", "fit_batch_size", "num_beams", "graph_neighbours", "head_size", "max_distance",
            "n_generated", "behaviour_dim", "behaviour_levels", "behaviour_codebook_size", "n_hash_buckets",
            "vocabulary_size", "n_segmentations",
            "num_layers", "nh", "nv", "text_processes", "text_shard_size",
        ),
        1,
    ),
    **dict.fromkeys(
        (
            "seed", "tie_seed", "candidates_seed", "cold_item_seed", "cold_item_share", "stopping_step", "eval_step",
            "learning_rate", "weight_decay", "dead_code_steps", "fit_dead_code_steps", "recommendation_weight",
            "quantization_weight", "reconstruction_weight", "commitment_weight", "fit_items", "fit_seed", "fit_epochs",
            "collaborative_share",
            "n_user_tokens", "token_init_std", "graph_steps", "dense_weight", "divergence_weight",
            "warmup_steps", "hidden_dropout_prob",
            "attn_dropout_prob", "dropout_prob", "mask_ratio", "ft_ratio", "codebook_decay",
            "id_dropout_prob", "label_smoothing", "crop", "reorder", "low_frequencies", "filter_share",
        ),
        0,
    ),
}  # fmt: skip
# Largest valid values, of fractions and probabilities.
MOST = dict.fromkeys(
    (
        "hidden_dropout_prob", "attn_dropout_prob", "dropout_prob", "mask_ratio", "ft_ratio", "codebook_decay",
        "id_dropout_prob", "label_smoothing", "crop", "reorder", "filter_share",
    ),
    1,
)  # fmt: skip
# Examples of keys whose default follows from the data or other keys.
DERIVED = {
    "epochs": 12,
    "users_per_batch": 128,
    "stopping_step": 12,
    "codebook_size": 64,
    "quantization_weight": 1.0,
}
STAGES = ("pretrain", "finetune", "actor_pretrain", "critic_pretrain")
RANGES = {"hidden_act": ("gelu", "relu", "swish", "tanh", "sigmoid"), "train_stage": STAGES}
MAPPINGS = ("eval_args", "train_neg_sample_args", "val_interval", "load_col", "unload_col", "clip_grad_norm")
INTERVAL = re.compile(r"[\[(][^,;]+,[^,;]+[\])](;[\[(][^,;]+,[^,;]+[\])])*")
LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam")  # for others RecBole silently uses Adam


def check_values(given, defaults):
    """Checks each value that the user set, without regard to other keys.

    Args:
        given (dict): the user's keys.
        defaults (dict): the layers below them.

    Raises:
        ValueError: the type of a value is not that of a number or bool as default, a number is out of range, a value
            has not the form of its key, or the optimizer is unknown.
    """
    learner = given.get("learner", "adam")
    if str(learner).lower() not in LEARNERS:
        raise ValueError(f"learner={learner} is not known: choose one of {', '.join(LEARNERS)}")
    for key, value in given.items():
        default = defaults.get(key)
        if default is None and value is not None:
            default = DERIVED.get(key)
        _check_form(key, value, default)
        if isinstance(default, bool) and value not in (True, False):
            raise ValueError(f"{key}={value} is neither True nor False: give one, the default is {default}")
        if isinstance(default, bool) or not isinstance(default, (int, float)):
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            raise ValueError(f"{key}={value} is not a number: give one, such as the default {default}")
        if isinstance(default, int) and not isinstance(value, int):
            raise ValueError(f"{key}={value} is not a whole number: give one, such as the default {default}")
        if value < LEAST.get(key, value):
            raise ValueError(f"{key}={value} is too small: give at least {LEAST[key]}, the default is {default}")
        if value > MOST.get(key, value):
            raise ValueError(f"{key}={value} is too large: give at most {MOST[key]}, the default is {default}")


def _check_form(key, value, default):
    """Raises ValueError if a value is not one of the key's names, or not a mapping or interval as the key needs."""
    if key in RANGES and default is not None and value not in RANGES[key]:
        raise ValueError(f"{key}={value} is not known: choose one of {', '.join(RANGES[key])}")
    if key in MAPPINGS and value is not None and not isinstance(value, dict):
        raise ValueError(f"{key}={value} is not a mapping: write one as in yaml, such as {{name: value}}, or none")
    if key.endswith("_num_interval") and value is not None and not INTERVAL.fullmatch(str(value)):
        raise ValueError(f"{key}={value} is not an interval: write one such as [5,inf)")
    if key == "teacher" and not str(value).isidentifier():  # KD_DAGFM evaluates it as code
        raise ValueError(f"teacher={value} is not the name of a KD_DAGFM network: give one, such as CrossNet")

"""recbole_unirep.serving.export: exports a finished run as files that need neither its data nor RecBole.

    manifest.json         content, how scores are computed, versions, sha256 of each file
    weights.safetensors   the model's state_dict
    items.safetensors     item_vectors [n_items, H] for the dot product with states, tie order
    encoder.onnx          maps histories to states (see `serving.encoder` for the choice of ONNX)
    additions.safetensors terms that UniRep adds to scores (`serving.score_parts`), if any
    codebooks.safetensors, semantic_ids/   code vectors; a bundle of semantic IDs; both only if the model has codes
    item_tokens.json, config.yaml

Models that do not score by the product of a state and an item table get no items.safetensors and no encoder.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from safetensors.torch import save as save_tensors

from recbole_unirep.files.manifest import check_place, write_manifest
from recbole_unirep.files.whole import whole_folder, write_yaml
from recbole_unirep.model.item_codes import model_codes
from recbole_unirep.runs.environment import environment
from recbole_unirep.runs.folder import CONFIG
from recbole_unirep.scoring.model_contract import ranking_bias, scores_by_table
from recbole_unirep.semantic_ids.bundle import save_bundle
from recbole_unirep.semantic_ids.catalogue import TEXT_SETTINGS
from recbole_unirep.semantic_ids.ids import SemanticIds
from recbole_unirep.serving.encoder import INPUTS, OUTPUTS, onnx_encoder
from recbole_unirep.serving.exported import ExportedRecommender
from recbole_unirep.serving.recommender import Recommender
from recbole_unirep.tokenizer.base import shipped_defaults
from recbole_unirep.training.checkpoint import plain
from recbole_unirep.version import __version__

COMPARED, DIFFERENCE = 100, 1e-4  # items compared per history; tolerance relative to the largest score
MACHINE_KEYS = ("data_path", "run_dir", "resume", "text_dir", "config_files")  # paths on the run's machine


def export_run(run, out, data_path=None, overwrite=False):
    """Exports a run. The folder appears only if the export is complete and gives the scores of the run.

    Args:
        run (str or Path): folder of the run.
        out (str or Path): folder to create.
        data_path (str or None): folder of the datasets; None uses the path stored in the run.
        overwrite (bool): True replaces an existing export.

    Returns:
        dict: the manifest.

    Raises:
        FileExistsError: `out` exists and `overwrite` is False, or `out` is not an export.
        FileNotFoundError: `run` holds no run or no checkpoint.
        ValueError: the model stores more than its weights, or the export gives other scores than the run.
    """
    out = Path(out)
    if Path(run, CONFIG).is_file():  # otherwise loading the run raises the error about the run
        check_place(out, overwrite)
    recommender = Recommender.load(run, data_path, use_gpu=False)
    config, model = recommender.config, recommender.model
    others = plain(model.other_parameter())
    if others:
        raise ValueError(
            f"{config['model']} stores {', '.join(others)} beside its weights, which safetensors cannot hold: export "
            f"another model, or recommend from the run itself"
        )
    record = {
        "made_by": f"recbole-unirep {__version__}",
        "packages": environment(config["device"])["packages"],
        "model": config["model"],
        "dataset": config["dataset"],
        "n_items": len(recommender.item_tokens) - 1,
        "n_trained_items": recommender.read_items.n_trained - 1,
        "first_added_item": recommender.read_items.first_added,
        "max_length": config["MAX_ITEM_LIST_LENGTH"],
    }
    with whole_folder(out, replace=True) as folder:
        record["shared_weights"] = _write_weights(folder, model)
        record["levels"] = _write_codes(folder, recommender)
        if not scores_by_table(model):
            record.update(encoder=None, additions={}, scores=_no_scores(config["model"]))
        else:
            additions = _write_scores(folder, recommender)
            record.update(
                encoder={"file": "encoder.onnx", "inputs": list(INPUTS), "outputs": list(OUTPUTS)},
                additions=additions,
                scores=_scores(additions),
            )
        tokens = [str(token) for token in recommender.item_tokens]
        _write_json(folder / "item_tokens.json", {"tokens": tokens, "titles": recommender.titles.tolist()})
        write_yaml(folder / CONFIG, {**config.resolved, **dict.fromkeys(MACHINE_KEYS)})
        write_manifest(folder, record)
        exported = ExportedRecommender(folder, n_threads=1)
        if record["encoder"] is not None:
            _compare(exported, recommender)
    return exported.manifest


def _compare(exported, recommender):
    """Raises ValueError if an export gives other scores than its run."""
    trained = recommender.item_tokens[1 : recommender.read_items.n_trained].tolist()
    histories = [trained[:1], trained[: 2 * recommender.config["MAX_ITEM_LIST_LENGTH"]]]
    best = recommender.recommend(items=histories, k=min(COMPARED, len(trained)), keep_earlier=True)
    for row, scores in zip(best, exported.scores(histories)):
        found = scores[[recommender.item_ids[item] - 1 for item in row.items]]
        difference = float(np.abs(found - row.scores).max())
        if not difference <= DIFFERENCE * (1 + float(np.abs(row.scores).max())):
            raise ValueError(
                f"the exported encoder of {recommender.config['model']} gives scores that differ by {difference:.2g} "
                f"from the run's, so nothing is written: recommend from the run itself"
            )


def _scores(additions):
    scores = "scores: state of encoder.onnx times item_vectors of items.safetensors"
    if not additions:
        return scores
    return (
        f"{scores}, plus {', '.join(additions)}, which are not in the encoder but in additions.safetensors: "
        f"load_export adds them, your own code must do so too"
    )


def _no_scores(name):
    return (
        f"scores: none; {name} does not score by the product of a state and an item table, so weights and codes are "
        f"exported, but no encoder: recommend from the run itself"
    )


def _write_weights(folder, model):
    """Writes the model's state_dict; tensors that share memory are stored once.

    Returns:
        dict[str, str]: names that are not stored, each with the name that holds the same values.
    """
    weights, first, shared = {}, {}, {}
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and place in first:
            shared[name] = first[place]
            continue
        first[place] = name
        weights[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    (folder / "weights.safetensors").write_bytes(save_tensors(weights))
    return shared


def _write_codes(folder, recommender):
    """Writes semantic IDs and codebooks; returns the number of codes per level, or None if the model has no codes."""
    found = model_codes(recommender.model)
    if found is None:
        return None
    config, tokenizer = recommender.config, found.tokenizer
    ids = SemanticIds([str(token) for token in recommender.item_tokens[1:]], found.codes, found.sizes)
    record = {"model": config["model"], "dataset": config["dataset"]}
    if tokenizer is None:
        ids.save(folder / "semantic_ids", record, {})
    else:
        settings = {key: config[key] for key in shipped_defaults(type(tokenizer).__name__)}
        settings["text_dim"] = recommender.model.item_embedding.item_text_embedding.shape[1]
        record["text"] = {key: config[key] for key in TEXT_SETTINGS}
        save_bundle(folder / "semantic_ids", ids, tokenizer, settings, record)
    if found.codebooks is not None:
        levels = {f"level_{number}": level for number, level in enumerate(found.codebooks, start=1)}
        (folder / "codebooks.safetensors").write_bytes(save(levels))
    return found.sizes


@torch.no_grad()
def _write_scores(folder, recommender):
    """Writes encoder, item vectors and score additions; returns the weights of the additions by name."""
    model, n_items = recommender.model, len(recommender.item_tokens)
    item_vectors = model.item_embedding.weight[:n_items].detach().float().contiguous()
    encoder = onnx_encoder(model, item_vectors, recommender.config["MAX_ITEM_LIST_LENGTH"])
    (folder / "encoder.onnx").write_bytes(encoder)
    order = recommender.priority.cpu().numpy()
    arrays = {"item_vectors": item_vectors.numpy(), "tie_order": order}
    (folder / "items.safetensors").write_bytes(save(arrays))
    score_bias = ranking_bias(model)
    if score_bias is None:
        return {}
    (folder / "additions.safetensors").write_bytes(save(_additions(score_bias, n_items)))
    return score_bias.weights


def _additions(score_bias, n_items):
    """Returns the arrays of `score_parts.ScoreParts`."""
    weights = score_bias.weights
    arrays = {name: np.asarray(weight, dtype=np.float32) for name, weight in weights.items()}
    if "transition_bias" in weights:
        parts = (score_bias.offsets, score_bias.items.int(), score_bias.values)
        names = ("follower_offsets", "followers", "follower_values")
        arrays.update({name: part.cpu().numpy() for name, part in zip(names, parts)})
    if "history_similarity" in weights:
        arrays["directions"] = score_bias.directions(torch.arange(n_items)).float().contiguous().numpy()
    if "popularity_bias" in weights:
        arrays["log_counts"] = torch.log1p(score_bias.item_counts).numpy()
    if "cold_offset" in weights:
        arrays["first_new_item"] = np.asarray(score_bias.n_trained)
    return arrays


def _write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

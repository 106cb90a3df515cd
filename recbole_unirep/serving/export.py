"""recbole_unirep.serving.export: `unirep export`, a finished run as files that need neither its data nor RecBole.

    manifest.json         what is there, what the scores are, versions, sha256 of each file
    weights.safetensors   the model's state
    items.safetensors     item_vectors [n_items, H] that ranking multiplies, order among equal scores
    encoder.onnx          histories to states (`serving.encoder` says why ONNX)
    additions.safetensors what UniRep adds to scores (`serving.score_parts`), where it does
    codebooks.safetensors, semantic_ids/   vectors of codes; a bundle of semantic IDs; where the model has codes
    item_tokens.json, config.yaml

A model whose scores are no state times a table of items has no items.safetensors and no encoder.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from safetensors.torch import save as save_tensors

from recbole_unirep.commands.options import read_options
from recbole_unirep.files.manifest import check_place, write_manifest, written_folder
from recbole_unirep.files.whole import write_yaml
from recbole_unirep.model.item_codes import model_codes
from recbole_unirep.runs.environment import environment
from recbole_unirep.runs.log import RunLog
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

COMPARED, DIFFERENCE = 100, 1e-4  # best items whose scores are compared; what rounding may do to the largest of them
MACHINE_KEYS = ("data_path", "run_dir", "resume", "text_dir", "config_files")  # what only the run's machine knows


def export(arguments):
    """Exports a run.

    Args:
        arguments (sequence of str): the run's folder, then `--out=FOLDER` (RUN/export), `--overwrite=True`,
            `--data_path=FOLDER`.

    Yields:
        str: what to print.

    Raises:
        FileExistsError: something lies at the place.
        FileNotFoundError: the folder holds no run or no checkpoint.
        ValueError: an option is not understood, or the model keeps more than its weights.
    """
    if not arguments or arguments[0].startswith("--"):
        raise ValueError("export reads a finished run: write unirep export RUN, its folder first")
    options = read_options("export", arguments[1:], ("out", "overwrite", "data_path"))
    overwrite = options.get("overwrite", "false").lower()
    if overwrite not in ("true", "false"):
        raise ValueError(f"export: --overwrite={options['overwrite']} is neither True nor False: write one of them")
    with RunLog(speaks=False):
        out = Path(options.get("out") or Path(arguments[0]) / "export")
        manifest = export_run(arguments[0], out, options.get("data_path"), overwrite == "true")
    size = sum(file["bytes"] for file in manifest["files"].values())
    yield f"{out}: {manifest['model']} on {manifest['dataset']}, {manifest['n_items']} items, {size / 1e6:.1f} MB"
    yield manifest["scores"]


def export_run(run, out, data_path=None, overwrite=False):
    """Writes the export of a run, whole or not at all, once its scores are those of the run.

    Args:
        run (str or Path): its folder.
        out (str or Path): the folder to be.
        data_path (str or None): where the datasets lie now; None is where the run found them.
        overwrite (bool): whether an export that lies there is replaced.

    Returns:
        dict: the manifest.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: as `export`.
    """
    out = Path(out)
    if Path(run, "config.yaml").is_file():  # what is wrong with the run is said first
        check_place(out, overwrite)
    recommender = Recommender.load(run, data_path, use_gpu=False)
    config, model = recommender.config, recommender.model
    beside = plain(model.other_parameter())
    if beside:
        raise ValueError(
            f"{config['model']} keeps {', '.join(beside)} beside its weights, which safetensors do not hold: export "
            f"another model, or recommend by the run itself"
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
    with written_folder(out) as folder:
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
        write_yaml(folder / "config.yaml", {**config.resolved, **dict.fromkeys(MACHINE_KEYS)})
        write_manifest(folder, record)
        exported = ExportedRecommender(folder, n_threads=1)
        if record["encoder"] is not None:
            _compare(exported, recommender)
    return exported.manifest


def _compare(exported, recommender):
    """Raises ValueError where an export scores otherwise than its run."""
    trained = recommender.item_tokens[1 : recommender.read_items.n_trained].tolist()
    histories = [trained[:1], trained[: 2 * recommender.config["MAX_ITEM_LIST_LENGTH"]]]
    best = recommender.recommend(items=histories, k=min(COMPARED, len(trained)), keep_earlier=True)
    for row, scores in zip(best, exported.scores(histories)):
        found = scores[[recommender.item_ids[item] - 1 for item in row.items]]
        difference = float(np.abs(found - row.scores).max())
        if not difference <= DIFFERENCE * (1 + float(np.abs(row.scores).max())):
            raise ValueError(
                f"the exported encoder of {recommender.config['model']} gives scores that differ by {difference:.2g} "
                f"from the run's, so nothing is written: recommend by the run itself"
            )


def _scores(additions):
    scores = "scores: state of encoder.onnx times item_vectors of items.safetensors"
    if not additions:
        return scores
    return (
        f"{scores}, plus {', '.join(additions)}, which are not in the encoder but in additions.safetensors: "
        f"load_export adds them, a program of yours has to"
    )


def _no_scores(name):
    return (
        f"scores: none; those of {name} are not a state times a table of items, so weights and codes are exported and "
        f"no encoder: recommend by the run itself"
    )


def _write_weights(folder, model):
    """Writes the model's state; tensors that share their numbers stand there once.

    Returns:
        dict[str, str]: names that are left out, each with the name that has its numbers.
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
    """Writes semantic IDs and codebooks where the model has codes; gives the codes of each level, None without."""
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
    """Writes what scores are made of; gives the weights of what is added, by name."""
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
    """Arrays of `score_parts.ScoreParts`."""
    weights = score_bias.weights
    arrays = {name: np.asarray(weight, dtype=np.float32) for name, weight in weights.items()}
    if "transition_bias" in weights:
        parts = (score_bias.offsets, score_bias.items, score_bias.values)
        names = ("follower_offsets", "followers", "follower_values")
        arrays.update({name: part.cpu().numpy() for name, part in zip(names, parts)})
    if "history_similarity" in weights:
        arrays["directions"] = score_bias.directions(torch.arange(n_items)).float().contiguous().numpy()
    if "popularity_bias" in weights:
        arrays["log_counts"] = torch.log1p(score_bias.item_counts).numpy()
    return arrays


def _write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

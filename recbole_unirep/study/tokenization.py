"""recbole_unirep.study.tokenization: writes a catalogue's semantic IDs as a bundle; encodes new items with a bundle.

The steps of `tokenize_catalogue`: items and their vectors or columns, tokenizer, codes, collisions, bundle.
"""

import csv
from hashlib import sha256
from logging import getLogger
from pathlib import Path

import torch
import yaml

from recbole_unirep.analysis.codebook import collision_rate, unique_item_coverage
from recbole_unirep.config import Config
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.runs.log import RunLog
from recbole_unirep.scoring.model_contract import item_table
from recbole_unirep.semantic_ids.bundle import load_bundle, save_bundle
from recbole_unirep.semantic_ids.catalogue import (
    GRAPH,
    TEXT_SETTINGS,
    catalogue_of_files,
    collaborative_graph,
    item_tokens,
    load_catalogue,
    pad_collaborative,
)
from recbole_unirep.semantic_ids.fitting import fit_codes
from recbole_unirep.settings.arguments import join_arguments
from recbole_unirep.settings.value_ranges import check_values
from recbole_unirep.settings.values import parse_value
from recbole_unirep.tokenizer import TOKENIZERS, is_collaborative, reads_vectors, tokenizer_class
from recbole_unirep.tokenizer.base import shipped_defaults


def tokenize_catalogue(name, policy, collaborative, vectors, out, keys):
    """Fits a tokenizer to a catalogue and writes its semantic IDs as a bundle.

    Args:
        name (str): name of a tokenizer of this or another package.
        policy (str): treatment of collisions, a key of POLICIES.
        collaborative (str or None): a run folder, or 'graph', for a tokenizer that reads collaborative vectors; None
            means 'graph' for such a tokenizer.
        vectors (list of Path or None): vector files instead of a dataset.
        out (str or None): folder of the bundle; None means semantic_ids/SOURCE-TOKENIZER.
        keys (dict[str, str]): config keys of dataset, tokenizer and item texts, as texts.

    Returns:
        Path: the bundle.

    Raises:
        ValueError: a key or a file can't be used; nothing is written.
        FileExistsError: the bundle already exists.
        FileNotFoundError: a file is missing.
    """
    with RunLog(speaks=True):
        tokenizer_class(name)  # reports an unknown name before any file is read
        catalogue, settings, record = _read_catalogue(name, vectors, keys, collaborative)
        folder = Path(out or f"semantic_ids/{record['source']}-{name}")
        if folder.exists():
            raise FileExistsError(f"{folder} exists: remove it, or choose another --out")
        fitted = fit_codes(name, settings, catalogue, policy)
        record = {**record, **fitted.record}
        if reads_vectors(name):
            record["vectors_sha256"] = sha256(catalogue.known.contiguous().numpy()).hexdigest()
        record["collisions"] = _collision_record(policy, fitted, catalogue.known)
        save_bundle(folder, fitted.semantic_ids, fitted.tokenizer, fitted.settings, record)
        getLogger().info(_summary(fitted.semantic_ids, record, folder))
        return folder


def encode_new_items(bundle, vectors, out, keys):
    """Encodes new items with the tokenizer of a bundle, from their vectors or columns.

    Args:
        bundle (str or Path): folder of the bundle.
        vectors (list of Path or None): vector files, in the same order as for the bundle; None reads a dataset.
        out (str or Path): the CSV file to write.
        keys (dict[str, str]): config keys of dataset and item texts, as texts.

    Returns:
        Path: the file, with columns item, code_1, code_2, ...; unused levels are empty. The collision policy is not
        applied, because it needs a whole catalogue.

    Raises:
        ValueError: the items can't be encoded.
        FileExistsError: the file already exists.
        FileNotFoundError: a file is missing.
    """
    with RunLog(speaks=True):
        bundle, out = load_bundle(bundle), Path(out)
        if out.exists():
            raise FileExistsError(f"{out} exists: remove it, or choose another --out")
        name = bundle.record["tokenizer"]
        if vectors is None:
            text_settings = bundle.record.get("text", {}).items()
            keys = {**{key: str(value) for key, value in text_settings if value is not None}, **keys}
        reads = "RQKMeans" if is_collaborative(name) else name  # new items have no collaborative vectors yet
        catalogue, _, _ = _read_catalogue(reads, vectors, keys)
        codes = bundle.tokenizer.encode(pad_collaborative(catalogue.known, bundle.record["settings"])).numpy()
        with open(out, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["item", *(f"code_{level + 1}" for level in range(codes.shape[1]))])
            for item, code in zip(catalogue.items, codes.tolist()):
                writer.writerow([item, *("" if value < 0 else value for value in code)])
        known = sum(item in bundle.semantic_ids.row for item in catalogue.items)
        getLogger().info(f"{out}: codes of {len(codes)} items, {known} of them in the bundle already")
        return out


def _read_catalogue(name, vectors, keys, collaborative=None):
    """Reads the items with their vectors or columns, the tokenizer's settings, and a record of their sources."""
    if vectors is not None:
        given = keys if collaborative is None else {"collaborative": collaborative, **keys}
        return _read_vector_files(name, vectors, given)
    return _read_dataset(name, keys, collaborative)


def _read_vector_files(name, paths, given):
    """Reads the items of vector files, without a dataset."""
    if not reads_vectors(name):
        raise ValueError(f"tokenizer={name} reads no vectors: name a --dataset instead of --vectors")
    settings = shipped_defaults(name)
    unknown = [key for key in given if key not in settings]
    if unknown:
        raise ValueError(f"{name} has no key {unknown[0]}: {', '.join(settings)} are its keys")
    given = {key: parse_value(key, text, yaml.SafeLoader) for key, text in given.items()}
    check_values(given, settings)
    return catalogue_of_files(paths), {**settings, **given}, {"source": paths[0].stem}


def _read_dataset(name, keys, collaborative):
    """Reads the items of a dataset with their text vectors or columns."""
    source = collaborative or (GRAPH if is_collaborative(name) else None)
    if source and not is_collaborative(name):
        able = " or ".join(filter(is_collaborative, TOKENIZERS))
        raise ValueError(f"collaborative={source} is for tokenizer={able}, found {name}: leave it out")
    config = Config("UniRep", arguments=join_arguments({"tokenizer": name, **keys}))
    dataset = create_dataset(config)
    given = config.external_config_dict  # the other values of the config are those of joint training
    settings = {key: config[key] if key in given else value for key, value in shipped_defaults(name).items()}
    further = []
    if source == GRAPH:
        further = collaborative_graph(config, dataset.build_for_rows()[0])
    elif source:
        further = [(source, _item_table(source, config, dataset))]
        settings["collaborative_dim"] = further[0][1].shape[1]
    catalogue = load_catalogue(config, dataset, name, further)
    record = {"source": config["dataset"], "dataset": config["dataset"]}
    if reads_vectors(name):
        record["text"] = {key: config[key] for key in TEXT_SETTINGS}
    return catalogue, settings, record


def _item_table(run, config, dataset):
    """Item table of a finished run, in the item order of the dataset, shape: [N, D]."""
    _, model, data = load_data_and_model(run, str(Path(config["data_path"]).parent))
    table = item_table(model)
    if table is None:
        raise ValueError(f"collaborative={run}: that model has no item table: train SASRec or GRU4Rec")
    row = {str(token): number for number, token in enumerate(data.train.field2id_token[data.train.iid_field])}
    items = item_tokens(dataset)
    missing = sum(item not in row for item in items)
    if missing:
        raise ValueError(f"collaborative={run} lacks {missing} of {len(items)} items: train it on this dataset")
    return table.weight.detach().cpu()[[row[item] for item in items]]


def _collision_record(policy, fitted, known):
    """Coverage, collision rate and distortion before and after a collision policy."""
    plain, resolved = before_and_after = fitted.plain, torch.from_numpy(fitted.semantic_ids.codes)
    cost = {
        "policy": policy,
        "changed_items": int((resolved[:, : plain.shape[1]] != plain).any(dim=-1).sum()),
        "unique_item_coverage": list(map(unique_item_coverage, before_and_after)),
        "collision_rate": list(map(collision_rate, before_and_after)),
    }
    if isinstance(known, torch.Tensor):
        before = fitted.tokenizer.distortion(known, plain)[-1]
        after = (
            fitted.tokenizer.distortion(known, resolved[:, : plain.shape[1]])[-1] if cost["changed_items"] else before
        )
        cost["distortion"] = [before, after]
    return cost


def _summary(semantic_ids, record, folder):
    """Summary for the terminal."""
    cost = record["collisions"]
    lines = [
        f"{len(semantic_ids)} items, {semantic_ids.n_levels} levels, codes of each: "
        f"{', '.join(map(str, semantic_ids.codebook_sizes))}",
        f"collisions: {cost['policy']}, {cost['changed_items']} items changed; distinct semantic IDs per item "
        f"{cost['unique_item_coverage'][0]:.4f} before, {cost['unique_item_coverage'][1]:.4f} after; share of items in "
        f"collisions {cost['collision_rate'][0]:.4f} before, {cost['collision_rate'][1]:.4f} after",
    ]
    if "distortion" in cost:
        lines.append("distortion {:.4f} before, {:.4f} after".format(*cost["distortion"]))
    return "\n".join([*lines, str(folder)])

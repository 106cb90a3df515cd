"""recbole_unirep.commands.tokenize: semantic IDs of a catalogue, from one command to a bundle, and of items to come.

`tokenize` reads from top to bottom: items and what is known of them, tokenizer, codes, collisions, bundle.
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
from recbole_unirep.model.item_codes import item_table
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.runs.log import RunLog
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
from recbole_unirep.settings.value_ranges import check_values
from recbole_unirep.settings.values import parse_value, split_arguments
from recbole_unirep.tokenizer import TOKENIZERS, is_collaborative, reads_vectors, tokenizer_class
from recbole_unirep.tokenizer.base import shipped_defaults


def tokenize(arguments):
    """Makes the semantic IDs of a catalogue and writes them as a bundle.

    Args:
        arguments (sequence of str): `--tokenizer=..`, `--dataset=..` or `--vectors="A.npy B.npy"`, `--collisions=..`,
            `--collaborative=RUN|graph` (Fused, LETTER), `--out=FOLDER` and keys of the tokenizer and of item texts.

    Returns:
        Path: the bundle.

    Raises:
        ValueError: an option or a file is not usable; nothing has been written then.
        FileExistsError: the bundle is there.
        FileNotFoundError: a file is missing.
    """
    with RunLog(speaks=True):
        options = split_arguments(arguments)
        out = options.pop("out", None)
        policy = options.pop("collisions", "leave")
        name = options.get("tokenizer", "RQKMeans")
        tokenizer_class(name)  # reports a wrong name before anything is read
        catalogue, settings, record = _read(name, options)
        folder = Path(out or f"semantic_ids/{record['source']}-{name}")
        if folder.exists():
            raise FileExistsError(f"{folder} exists: remove it, or choose another --out")
        fitted = fit_codes(name, settings, catalogue, policy)
        record = {**record, **fitted.record}
        if reads_vectors(name):
            record["vectors_sha256"] = sha256(catalogue.known.contiguous().numpy()).hexdigest()
        record["collisions"] = _cost(policy, fitted, catalogue.known)
        save_bundle(folder, fitted.semantic_ids, fitted.tokenizer, fitted.settings, record)
        getLogger().info(_summary(fitted.semantic_ids, record, folder))
        return folder


def encode_items(arguments):
    """Gives codes to new items by the tokenizer of a bundle, from vectors or columns alone.

    Args:
        arguments (sequence of str): the bundle's folder, then `--vectors="A.npy B.npy"`, in the order in which the
            bundle had them, or `--dataset=..` and keys of item texts, and `--out=FILE.csv`.

    Returns:
        Path: a CSV file: item, code_1, code_2, ...; unused levels are empty. They are the tokenizer's own codes: a
        policy for collisions speaks of a whole catalogue.

    Raises:
        ValueError: the items can't be encoded.
        FileNotFoundError: a file is missing.
    """
    if not arguments or arguments[0].startswith("--"):
        raise ValueError("encode-items reads a bundle: write unirep encode-items BUNDLE, its folder first")
    with RunLog(speaks=True):
        bundle, options = load_bundle(arguments[0]), split_arguments(arguments[1:])
        out = Path(options.pop("out", "codes.csv"))
        if out.exists():
            raise FileExistsError(f"{out} exists: remove it, or choose another --out")
        name = bundle.record["tokenizer"]
        if "vectors" not in options:
            known = bundle.record.get("text", {}).items()
            options = {**{key: str(value) for key, value in known if value is not None}, **options}
        reads = "RQKMeans" if is_collaborative(name) else name  # of new items nobody knows yet who takes them
        catalogue, _, _ = _read(reads, options)
        codes = bundle.tokenizer.encode(pad_collaborative(catalogue.known, bundle.record["settings"])).numpy()
        with open(out, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["item", *(f"code_{level + 1}" for level in range(codes.shape[1]))])
            for item, code in zip(catalogue.items, codes.tolist()):
                writer.writerow([item, *("" if value < 0 else value for value in code)])
        known = sum(item in bundle.semantic_ids.row for item in catalogue.items)
        getLogger().info(f"{out}: codes of {len(codes)} items, {known} of which the bundle holds already")
        return out


def _read(name, options):
    """The items that options speak of, the tokenizer's settings, and a record of where both are from."""
    return _of_files(name, options) if "vectors" in options else _of_dataset(name, options)


def _of_files(name, options):
    """Items of vector files; a dataset is not needed."""
    if not reads_vectors(name):
        raise ValueError(f"tokenizer={name} reads no vectors: name a --dataset in place of --vectors")
    paths = [Path(path) for path in options["vectors"].split()]
    if not paths:
        raise ValueError('vectors is empty: write --vectors="A.npy B.npy"')
    given = {key: text for key, text in options.items() if key not in ("vectors", "tokenizer")}
    settings = shipped_defaults(name)
    unknown = [key for key in given if key not in settings]
    if unknown:
        raise ValueError(f"{name} has no key {unknown[0]}: {', '.join(settings)} are its keys")
    given = {key: parse_value(key, text, yaml.SafeLoader) for key, text in given.items()}
    check_values(given, settings)
    return catalogue_of_files(paths), {**settings, **given}, {"source": paths[0].stem}


def _of_dataset(name, options):
    """Items of a dataset, with their text vectors or their columns."""
    source = options.get("collaborative", GRAPH if is_collaborative(name) else None)
    if source and not is_collaborative(name):
        able = " or ".join(filter(is_collaborative, TOKENIZERS))
        raise ValueError(f"collaborative={source} is for tokenizer={able}, found {name}: leave it out")
    arguments = [f"--{key}={text}" for key, text in {"tokenizer": name, **options}.items() if key != "collaborative"]
    config = Config("UniRep", arguments=arguments)
    dataset = create_dataset(config)
    settings = {key: config[key] for key in shipped_defaults(name)}
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
    """The item table of a finished run, in the numbering of the dataset, shape: [N, D]."""
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


def _cost(policy, fitted, known):
    """What a policy costs and gives, before and after."""
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
    """What was made, for the terminal."""
    cost = record["collisions"]
    lines = [
        f"{len(semantic_ids)} items, {semantic_ids.n_levels} levels, codes of each: "
        f"{', '.join(map(str, semantic_ids.codebook_sizes))}",
        f"collisions: {cost['policy']}, {cost['changed_items']} items changed; distinct semantic IDs an item "
        f"{cost['unique_item_coverage'][0]:.4f} before, {cost['unique_item_coverage'][1]:.4f} after; items that share "
        f"theirs {cost['collision_rate'][0]:.4f}, {cost['collision_rate'][1]:.4f}",
    ]
    if "distortion" in cost:
        lines.append("distortion {:.4f} before, {:.4f} after".format(*cost["distortion"]))
    return "\n".join([*lines, str(folder)])

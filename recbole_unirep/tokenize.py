"""recbole_unirep.tokenize: semantic IDs of a catalogue, from one command to a bundle, and of items to come.

`tokenize` reads from top to bottom: items and what is known of them, tokenizer, codes, collisions, bundle.
"""

from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from recbole.utils import init_seed
from torch.nn import functional

from dataset_prep.vector_files import VectorFiles
from recbole_unirep.analysis.codebook import collision_rate, unique_item_coverage
from recbole_unirep.config import Config
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.data.item_columns import load_items
from recbole_unirep.data.item_graph import graph_vectors
from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.run_folder import RunLog
from recbole_unirep.semantic_ids import SemanticIds
from recbole_unirep.tokenizer import TOKENIZERS, make_tokenizer, reads_vectors
from recbole_unirep.tokenizer.base import shipped_defaults
from recbole_unirep.tokenizer.bundle import load_bundle, save_bundle
from recbole_unirep.tokenizer.collisions import LastLevel, resolve
from recbole_unirep.values import parse_value, split_arguments


class Catalogue(NamedTuple):
    """Items and what a tokenizer reads of them.

    Attributes:
        items (list of str): item tokens, shape: [N].
        known (Tensor or Items): vectors, shape: [N, text_dim], or tokens and columns.
        settings (dict): of the tokenizer, but for text_dim.
        record (dict): where all this is from.
    """

    items: list
    known: Any
    settings: dict
    record: dict


def tokenize(arguments):
    """Makes the semantic IDs of a catalogue and writes them as a bundle.

    Args:
        arguments (sequence of str): `--tokenizer=..`, `--dataset=..` or `--vectors="A.npy B.npy"`, `--collisions=..`,
            `--collaborative=RUN|graph`, `--out=FOLDER` and keys of the tokenizer and of item texts.

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
        if name not in TOKENIZERS:
            raise ValueError(f"tokenizer={name} is not known: choose one of {', '.join(TOKENIZERS)}")
        catalogue = _of_files(name, options) if "vectors" in options else _of_dataset(name, options)
        folder = Path(out or f"semantic_ids/{catalogue.record['source']}-{name}")
        if folder.exists():
            raise FileExistsError(f"{folder} exists: remove it, or choose another --out")
        text_dim = catalogue.known.shape[1] if reads_vectors(name) else None
        tokenizer = make_tokenizer(name, catalogue.settings, text_dim).fit(_described(catalogue.known))
        codes = tokenizer.encode_catalogue(catalogue.known)
        resolved = resolve(policy, codes, catalogue.items, _last_level(tokenizer, catalogue.known, codes))
        semantic_ids = _semantic_ids(catalogue.items, resolved, tokenizer)
        record = {**catalogue.record, "collisions": _cost(policy, tokenizer, catalogue.known, codes, resolved)}
        settings = {**catalogue.settings, **({} if text_dim is None else {"text_dim": text_dim})}
        save_bundle(folder, semantic_ids, tokenizer, settings, record)
        getLogger().info(_summary(semantic_ids, record, folder))
        return folder


def encode_items(arguments):
    """Gives codes to new items by the tokenizer of a bundle, from vectors or columns alone.

    Args:
        arguments (sequence of str): the bundle's folder, then `--vectors="A.npy B.npy"`, in the order in which the
            bundle had them, or `--dataset=..` and keys of item texts, and `--out=FILE.csv`.

    Returns:
        Path: a CSV file: item, code_1, code_2, ...; unused levels are empty.

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
        catalogue = _of_files(name, options) if "vectors" in options else _of_dataset(name, options)
        codes = bundle.tokenizer.encode(catalogue.known).numpy()
        lines = [",".join(["item", *(f"code_{level + 1}" for level in range(codes.shape[1]))])]
        for item, code in zip(catalogue.items, codes.tolist()):
            lines.append(",".join([_quoted(item), *("" if value < 0 else str(value) for value in code)]))
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")
        known = sum(item in bundle.semantic_ids.row for item in catalogue.items)
        getLogger().info(f"{out}: codes of {len(codes)} items, {known} of which the bundle holds already")
        return out


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
    settings.update({key: parse_value(key, text, yaml.SafeLoader) for key, text in given.items()})
    pairs = [VectorFiles(path, path.with_suffix(".json")) for path in paths]
    for pair in pairs:
        if not pair.exist():
            raise FileNotFoundError(f"{pair.matrix} is missing: give vectors [n_items, dimensions] saved by numpy.save")
    items = [str(item) for item in pairs[0].read_record().get("items", [])]
    parts = [torch.from_numpy(pair.read(items)) for pair in pairs]
    return Catalogue(items, _joined(parts), settings, {"source": paths[0].stem, "vectors": [p.name for p in paths]})


def _of_dataset(name, options):
    """Items of a dataset, with their text vectors or their columns."""
    collaborative = options.get("collaborative")
    arguments = [f"--{key}={text}" for key, text in options.items() if key != "collaborative"]
    config = Config("UniRep", arguments=[*arguments, *([] if "tokenizer" in options else [f"--tokenizer={name}"])])
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    settings = {key: config[key] for key in shipped_defaults(name)}
    items = load_items(config, dataset)
    record = {"source": config["dataset"], "dataset": config["dataset"]}
    if not reads_vectors(name):
        return Catalogue(items.tokens, items, settings, {**record, "columns": list(items.columns)})
    text = load_item_text(config, dataset)
    parts, record["vectors"] = [text.vectors[1:]], [text.encoder]
    if collaborative:
        parts.append(_collaborative(collaborative, config, dataset, items.tokens, settings))
        record["vectors"].append(f"collaborative: {collaborative}")
    return Catalogue(items.tokens, _joined(parts), settings, record)


def _collaborative(source, config, dataset, items, settings):
    """Vectors of who takes an item: a trained model's item table, or the items' graph, shape: [N, D]."""
    if source == "graph":
        train = dataset.build_for_rows()[0]
        n_training = np.bincount(train.inter_feat[train.uid_field].numpy(), minlength=train.user_num) + 1
        dim = settings.get("collaborative_dim", 64)
        vectors = graph_vectors(train.sequences, n_training, train.item_num, dim, config["seed"])
        return torch.from_numpy(vectors[1:])
    _, model, data = load_data_and_model(source, str(Path(config["data_path"]).parent))
    table = getattr(model, "item_embedding", None)
    if table is None:
        raise ValueError(f"collaborative={source}: that model has no item table: train SASRec or GRU4Rec")
    tokens = data.train.field2id_token[data.train.iid_field]
    row = {str(token): number for number, token in enumerate(tokens)}
    missing = [item for item in items if item not in row]
    if missing:
        raise ValueError(f"collaborative={source} lacks {len(missing)} of {len(items)} items: train it on this dataset")
    return table.weight.detach().cpu()[[row[item] for item in items]]


def _joined(parts):
    """Vectors side by side, several each at length 1."""
    return parts[0] if len(parts) == 1 else torch.cat([functional.normalize(part, dim=-1) for part in parts], dim=-1)


def _described(known):
    """What a tokenizer learns from: of vectors those that are not zero, items with a text."""
    if not isinstance(known, torch.Tensor):
        return known
    has_text = known.any(dim=-1)
    return known if has_text.all() else known[has_text]


def _last_level(tokenizer, known, codes):
    found = tokenizer.last_level(known, codes) if hasattr(tokenizer, "last_level") else None
    return found and LastLevel(*found)


def _semantic_ids(items, codes, tokenizer):
    sizes = list(tokenizer.codebook_sizes)
    sizes += [int(codes[:, level].max()) + 1 for level in range(len(sizes), codes.shape[1])]
    return SemanticIds(items, codes.numpy(), sizes)


def _cost(policy, tokenizer, known, codes, resolved):
    """What a policy costs and gives."""
    cost = {
        "policy": policy,
        "changed_items": int((resolved[:, : codes.shape[1]] != codes).any(dim=-1).sum()),
        "unique_item_coverage": [unique_item_coverage(codes), unique_item_coverage(resolved)],
        "collision_rate": [collision_rate(codes), collision_rate(resolved)],
    }
    if isinstance(known, torch.Tensor):
        both = (tokenizer.distortion(known, part[:, : codes.shape[1]])[-1] for part in (codes, resolved))
        cost["distortion"] = list(both)
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


def _quoted(text):
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n') else text

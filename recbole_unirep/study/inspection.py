"""Reads the codes of a bundle or a finished run for inspection, with item titles, labels and vectors."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from recbole_unirep.config import Config
from recbole_unirep.data.dataset import create_dataset
from recbole_unirep.data.item_file import load_items, telling_names
from recbole_unirep.model.item_codes import model_codes
from recbole_unirep.quick_start import load_data_and_model
from recbole_unirep.scoring.model_contract import item_table
from recbole_unirep.semantic_ids.bundle import load_bundle
from recbole_unirep.semantic_ids.catalogue import load_catalogue
from recbole_unirep.semantic_ids.ids import RECORD, read_record
from recbole_unirep.tokenizer import reads_vectors
from recbole_unirep.tokenizer.base import shipped_defaults

TITLES, CATEGORIES = ("title", "name", "movie_title"), ("categories", "category", "class", "genres", "genre")
LABELS = {"category": CATEGORIES, "brand": ("brand", "store")}


class Inspected(NamedTuple):
    """Items with codes, titles, labels and vectors.

    Attributes:
        name (str): tokenizer or model, and dataset.
        items (list of str): item tokens, shape: [N].
        codes (ndarray): unused levels hold -1, shape: [N, L], int64.
        codebook_sizes (list of int): shape: [L].
        titles (list of str): titles, the token for items without one, shape: [N].
        labels (dict[str, list]): 'category' and 'brand' if the dataset has them, None for items without one.
        vectors (dict[str, ndarray]): 'text' and 'ID' vectors of the items if there are any, shape: [N, D] each.
        distortion (list of float or None): distortion after each level as a fraction of the variance.
        settings (frozenset of str): config keys that the codes depend on.
    """

    name: str
    items: list
    codes: np.ndarray
    codebook_sizes: list
    titles: list
    labels: dict
    vectors: dict
    distortion: list | None
    settings: frozenset


def read_inspected(folder, data_path=None) -> Inspected:
    """Reads a bundle or a run.

    Args:
        folder (str or Path): folder of a bundle or a run.
        data_path (str or None): current folder of the datasets; None uses the one of the run. A bundle's dataset is
            read only if this is given.

    Returns:
        Inspected: codes, and the titles, labels and vectors that are available.

    Raises:
        FileNotFoundError: the folder holds neither a bundle nor a run, or a file is missing.
        ValueError: the contents can't be read, or the run's model has no codes.
    """
    if (Path(folder) / RECORD).is_file():
        return _of_bundle(folder, data_path)
    return _of_run(folder, data_path)


def _of_bundle(folder, data_path):
    bundle = load_bundle(folder)
    ids, record, tokenizer = bundle.semantic_ids, bundle.record, bundle.tokenizer
    items, vectors, distortion = None, {}, None
    if data_path is not None and "dataset" in record:
        keys = {"data_path": str(data_path), "tokenizer": record["tokenizer"], **record["settings"]}
        keys.pop("text_dim", None)
        config = Config("UniRep", record["dataset"], config_dict={**keys, **record.get("text", {})})
        dataset = create_dataset(config)
        items = _in_order(load_items(config, dataset), ids.items)
        if "text" in record:
            catalogue = load_catalogue(config, dataset, "RQVAE")
            row = {item: number for number, item in enumerate(catalogue.items)}
            vectors["text"] = catalogue.known[[row[item] for item in ids.items]].numpy()
            if len(record["vectors"]) == 1 and reads_vectors(record["tokenizer"]):
                codes = torch.from_numpy(ids.codes[:, : tokenizer.n_levels])
                distortion = tokenizer.distortion(torch.from_numpy(vectors["text"]), codes)
    name = f"{record['tokenizer']} of {record.get('dataset', record.get('source', 'vectors'))}"
    settings = _settings(record["tokenizer"])
    return _with_columns(name, ids.items, ids.codes, ids.codebook_sizes, items, vectors, distortion, settings)


@torch.no_grad()
def _of_run(folder, data_path):
    config, model, data = load_data_and_model(folder, data_path)
    name = f"{config['model']} on {config['dataset']}, seed {config['seed']}"
    found, table, vectors, distortion = model_codes(model), item_table(model), {}, None
    if found is None:
        raise ValueError(
            f"{folder}: {config['model']} has no codes: inspect a run of UniRep, TIGER or RPG, or a bundle"
        )
    items = load_items(config, data.train)
    if found.tokenizer is not None:
        text = table.item_text_embedding[1:]
        vectors["text"] = text.cpu().numpy()
        distortion = found.tokenizer.distortion(text, torch.from_numpy(found.codes).to(text.device))
    if table is not None and table.has_id:
        vectors["ID"] = table.id_embedding.weight.cpu().numpy()
    settings = _settings_of_run(config, is_fitted=found.tokenizer is None)
    return _with_columns(name, items.tokens, found.codes, found.sizes, items, vectors, distortion, settings)


def _settings(tokenizer):
    """Config keys of a fitted tokenizer and of the steps after it."""
    return frozenset(shipped_defaults(tokenizer)) | {"collisions"}


def _settings_of_run(config, is_fitted):
    """Config keys of a run's tokenizer, whether fitted before training or trained with the model."""
    if config["semantic_ids"]:
        return _settings(read_record(config["semantic_ids"])["tokenizer"])
    settings = _settings(config["tokenizer"])
    if is_fitted:
        return settings
    settings -= {"collisions", "fit_dead_code_steps"}
    return (
        settings | {"dead_code_steps"} if config["train_on_codes"] else settings - {"codebook_init", "codebook_update"}
    )


def _in_order(items, tokens):
    row = {item: number for number, item in enumerate(items.tokens)}
    missing = [item for item in tokens if item not in row]
    if missing:
        raise ValueError(
            f"the dataset lacks {len(missing)} items of the bundle, {missing[0]!r} first: use the dataset of the bundle"
        )
    return items.part([row[item] for item in tokens])


def _with_columns(name, tokens, codes, sizes, items, vectors, distortion, settings):
    columns = items.columns if items is not None else {}
    title = next((columns[key] for key in TITLES if key in columns), [""] * len(tokens))
    titles = [(text if isinstance(text, str) else " ".join(text)) or token for text, token in zip(title, tokens)]
    labels = {}
    for label, usual in LABELS.items():
        key = next((key for key in usual if key in columns), None)
        if key is not None:
            cells = [[cell] if isinstance(cell, str) and cell else list(cell) for cell in columns[key]]
            names, _ = telling_names(cells)
            labels[label] = [name if cell else None for name, cell in zip(names, cells)]
    return Inspected(name, list(tokens), codes, list(sizes), titles, labels, vectors, distortion, settings)


def neighbours(inspected: Inspected, item: str, count: int) -> dict:
    """Finds the nearest items to an item by text vector, ID vector and codes.

    Args:
        inspected (Inspected): the items.
        item (str): token of the item.
        count (int): number of neighbours per kind.

    Returns:
        dict[str, list of tuple[str, str, str]]: (token, title, nearness) by kind, nearest first. 'text' and 'ID' rank
        by cosine and need vectors; 'code' ranks by shared leading codes, then by all shared codes.

    Raises:
        ValueError: the item does not exist.
    """
    if item not in inspected.items:
        raise ValueError(f"item={item} is not among the {len(inspected.items)} items: give an item token")
    row = inspected.items.index(item)
    equal = inspected.codes == inspected.codes[row]
    leading = np.cumprod(equal, axis=1).sum(axis=1)
    near = {
        "code": (
            leading * (equal.shape[1] + 1) + equal.sum(axis=1),
            lambda r: f"{leading[r]} of {equal.shape[1]} leading codes",
        )
    }
    for name, vectors in inspected.vectors.items():
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        cosines = unit @ unit[row]
        near[name] = cosines, lambda r, cosines=cosines: f"{cosines[r]:.3f}"
    found = {}
    for name, (nearness, describe) in near.items():
        order = [r for r in np.argsort(-nearness, kind="stable") if r != row][:count]
        found[name] = [(inspected.items[r], inspected.titles[r], describe(r)) for r in order]
    return found

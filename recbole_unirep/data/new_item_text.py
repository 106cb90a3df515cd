"""recbole_unirep.data.new_item_text: rows and text vectors of new items, which a finished run has not seen."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataset_prep.embedding import item_vectors
from dataset_prep.new_items import new_sentences, new_vectors, read_new_items
from dataset_prep.text import value_text
from dataset_prep.vector_files import VectorFiles, shortened
from recbole_unirep.data.item_text import encodings, item_texts, side_by_side
from recbole_unirep.files.item_columns import TITLE_COLUMNS


class NewRows(NamedTuple):
    """New items, as read from a file.

    Attributes:
        items (list of str): distinct tokens, shape: [M].
        titles (list of str): "" if an item has none, shape: [M].
        rows (list of dict): cells by column, shape: [M].
    """

    items: list
    titles: list
    rows: list


def read_rows(source, item_id_field) -> NewRows:
    """Reads new items and checks their tokens.

    Args:
        source (str, Path or sequence of mappings): see `read_new_items`.
        item_id_field (str): column of the item tokens.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file cannot be read, or a token is missing or given twice.
    """
    rows = read_new_items(source)
    if not all(item_id_field in row for row in rows):
        lacking = next(row for row in rows if item_id_field not in row)
        raise ValueError(f"the new items have no column {item_id_field}, found {', '.join(lacking)}: rename the column")
    items = [row[item_id_field].strip() if isinstance(row[item_id_field], str) else "" for row in rows]
    nameless = [number for number, item in enumerate(items, 1) if not item]
    if nameless:
        raise ValueError(
            f"{len(nameless)} of {len(items)} rows have no {item_id_field}, row {nameless[0]} first: give tokens"
        )
    twice = [item for item, count in zip(*np.unique(items, return_counts=True)) if count > 1]
    if twice:
        raise ValueError(
            f"{len(twice)} of {len(set(items))} new items have several rows ({shortened(twice)}): give one row per item"
        )
    title = next((name for name in TITLE_COLUMNS if any(name in row for row in rows)), None)
    cells = [row.get(title, "") for row in rows]
    return NewRows(items, [value_text(cell, "token") if isinstance(cell, str) else "" for cell in cells], rows)


def new_item_text(config, dataset, new, vectors=None) -> Tensor:
    """Encodes new items by the run's encoders, or reads their vectors from files.

    Args:
        config (Config or mapping): see `load_item_text`.
        dataset (Dataset): RecBole's dataset of the run.
        new (NewRows): the items.
        vectors (sequence of Path or None): one NAME.npy with its NAME.json per encoder of the run, in the run's order;
            None encodes the text.

    Returns:
        Tensor: float32, shape: [M, text_dim].

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: an item has no text, or the vectors do not match the run's encoders.
    """
    texts, chosen = item_texts(config, dataset), encodings(config)
    if vectors is not None:
        known = [item_vectors(texts, encoding, config["text_dir"]) for encoding in chosen]
        return vectors_of_files(vectors, new.items, {e.encoder: part.shape[1] for e, part in zip(chosen, known)})
    sentences = new_sentences(texts, new.rows)
    parts = [new_vectors(texts, encoding, config["text_dir"], sentences) for encoding in chosen]
    return side_by_side([torch.from_numpy(part) for part in parts])


def vectors_of_files(paths, items, dimensions) -> Tensor:
    """Reads vectors of new items from files of the user.

    Args:
        paths (sequence of Path): each NAME.npy with a NAME.json in the same folder, which lists the item tokens in row
            order.
        items (list of str): tokens, shape: [M].
        dimensions (dict[str, int or None]): dimensions of the run's vectors by encoder name, None if unknown.

    Returns:
        Tensor: float32; vectors of several files are normalized and concatenated, shape: [M, text_dim].

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the number of files differs from the number of encoders, or a file cannot be used.
    """
    if len(paths) != len(dimensions):
        raise ValueError(
            f"vectors names {len(paths)} files, the run has {len(dimensions)} encoders ({', '.join(dimensions)}): give "
            f"one file per encoder, in this order"
        )
    parts = []
    for path, (name, dimension) in zip(paths, dimensions.items()):
        pair = VectorFiles(path, path.with_suffix(".json"))
        if not pair.exist():
            raise FileNotFoundError(f"{path} is missing: give vectors [n_items, dimensions] saved by numpy.save")
        part = pair.read(items)
        if dimension is not None and part.shape[1] != dimension:
            raise ValueError(
                f"{path} has vectors of {part.shape[1]} dimensions, those of the run ({name}) have {dimension}: use "
                f"the same encoder"
            )
        empty = [item for item, is_known in zip(items, part.any(axis=1)) if not is_known]
        if empty:
            raise ValueError(
                f"{len(empty)} of {len(items)} new items have all-zero vectors in {path} ({shortened(empty)}): give "
                f"other vectors, or leave these items out"
            )
        parts.append(torch.from_numpy(part))
    return side_by_side(parts)

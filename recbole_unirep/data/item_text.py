"""recbole_unirep.data.item_text: item text embeddings of a dataset, in the order of RecBole's item ids."""

import logging
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dataset_prep.embedding import Encoding, ItemTexts, encode_share, item_vectors
from dataset_prep.encoders import LEXICAL, OtherEncoder
from recbole_unirep import parallel
from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.settings.extensions import extensions, find_extension

logger = logging.getLogger()


class ItemText(NamedTuple):
    """Item text embeddings of a dataset.

    Attributes:
        vectors (Tensor): float32, zeros for padding (row 0) and for items without text, shape: [n_items, text_dim].
        encoder (str): name of the encoder in the config; several names are joined by " + ".
        dimension (int): text_dim.
        n_without_text (int): items with a zero vector, without padding.
    """

    vectors: Tensor
    encoder: str
    dimension: int
    n_without_text: int


def load_item_text(config, dataset) -> ItemText:
    """Loads the text embeddings of a dataset's items; encodes and stores missing ones.

    Vectors of several encoders are normalized and concatenated.

    Args:
        config (Config or mapping): gives None for an absent key.
        dataset (Dataset): RecBole's; its items after filtering get vectors.

    Returns:
        ItemText: row i is RecBole's item i.

    Raises:
        FileNotFoundError: the `.item` file or one of an encoder's two files (.npy, .json) is missing.
        ValueError: an option, a file or the encoder cannot be used.
    """
    texts, chosen = item_texts(config, dataset), encodings(config)
    with parallel.main_first():  # it encodes and stores, the others read the files
        parts = [torch.from_numpy(item_vectors(texts, encoding, config["text_dir"])) for encoding in chosen]
    encoded = side_by_side(parts)
    vectors = torch.cat([torch.zeros(1, encoded.shape[1]), encoded])  # [n_items, text_dim]
    names = " + ".join(encoding.encoder for encoding in chosen)
    text = ItemText(vectors, names, encoded.shape[1], int((encoded == 0).all(dim=1).sum()))
    logger.info(
        f"Item text: encoder {text.encoder}, {text.dimension} dimensions, {len(texts.items)} items, "
        f"{text.n_without_text} without text"
    )
    return text


def encode_own_share(config, dataset):
    """Encodes this process' share of the missing vectors, then waits for the other processes.

    Args:
        config (Config or mapping): see `load_item_text`.
        dataset (Dataset): see `load_item_text`.
    """
    texts = item_texts(config, dataset)
    for encoding in encodings(config):
        encode_share(texts, encoding, config["text_dir"], parallel.rank(), parallel.world_size())
    parallel.gathered(None)


def item_texts(config, dataset) -> ItemTexts:
    """Describes the texts of a dataset's items; arguments as of `load_item_text`."""
    fields = config["text_fields"]
    items = [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]
    n_warm = n_training_items(dataset) - 1
    return ItemTexts(
        dataset=config["dataset"],
        folder=Path(config["data_path"]),
        items=items,
        item_id_field=config["ITEM_ID_FIELD"],
        fields=[fields] if isinstance(fields, str) else fields,
        separator=config["field_separator"],
        fit_items=items[:n_warm] if n_warm < len(items) else None,
    )


def encodings(config) -> list:
    """Returns an Encoding per encoder of `text_encoder`.

    Raises:
        ValueError: the key names no encoder, names an encoder twice, or several packages have an encoder of that name.
    """
    others = {one.name: OtherEncoder(one.load, one.distribution, one.version) for one in extensions("text_encoder")}
    return [
        Encoding(
            encoder=encoder,
            batch_size=config["text_batch_size"],
            device=config["text_device"],
            dtype=config["text_dtype"],
            lexical_dim=config["lexical_dim"],
            show_progress=bool(config["show_progress"]),
            processes=config["text_processes"],
            shard_size=config["text_shard_size"],
            others=others,
        )
        for encoder in _encoders(config["text_encoder"], config["text_processes"])
    ]


def side_by_side(parts) -> Tensor:
    """Concatenates the vectors of several sources, each normalized; a single source is returned unchanged.

    Args:
        parts (iterable of Tensor): vectors of the same items, shape: [N, D] each.

    Returns:
        Tensor: shape: [N, sum of D].
    """
    parts = list(parts)
    return parts[0] if len(parts) == 1 else torch.cat([functional.normalize(part, dim=-1) for part in parts], dim=-1)


def _encoders(text_encoder, n_processes):
    """Returns the encoders' names.

    Raises:
        ValueError: the key names no encoder, names an encoder twice, or names one of another package, but there are
            several processes.
    """
    encoders = text_encoder if isinstance(text_encoder, (list, tuple)) else [text_encoder]
    if not encoders or not all(isinstance(encoder, str) and encoder for encoder in encoders):
        raise ValueError(
            f"text_encoder={text_encoder} names no encoder: give a sentence-transformers model, 'lexical' or the NAME "
            f"of your vectors, several as [A,B], or use no text (--representation=id)"
        )
    for encoder in encoders:
        other = find_extension("text_encoder", encoder, is_taken=encoder == LEXICAL)
        if other is not None and n_processes > 1:
            raise ValueError(
                f"text_processes={n_processes} is for sentence-transformers models, {other} encodes in one process: "
                f"set it to 1"
            )
    if len(set(encoders)) < len(encoders):
        raise ValueError(f"text_encoder={text_encoder} names an encoder twice: name each once")
    return list(encoders)

"""item_text: item text embeddings as a table aligned with RecBole's item numbering."""

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
        encoder (str): what made them, as the config names it; several are joined by " + ".
        dimension (int): text_dim.
        n_without_text (int): items with a zero vector, padding not counted.
    """

    vectors: Tensor
    encoder: str
    dimension: int
    n_without_text: int


def load_item_text(config, dataset) -> ItemText:
    """Loads the vectors of a dataset's items, and has them made where they are missing.

    Those of several encoders stand side by side, each scaled to length 1.

    Args:
        config (Config): or any mapping that gives None for an absent key.
        dataset (Dataset): RecBole's; its items after filtering are the ones that get vectors.

    Returns:
        ItemText: row i belongs to RecBole's item i.

    Raises:
        FileNotFoundError: the `.item` file or half of a pair of vector files is missing.
        ValueError: an option, a file or the encoder is not usable.
    """
    texts, asked = item_texts(config, dataset), encodings(config)
    with parallel.main_first():  # what it encodes and stores the others find
        parts = [torch.from_numpy(item_vectors(texts, encoding, config["text_dir"])) for encoding in asked]
    encoded = side_by_side(parts)
    vectors = torch.cat([torch.zeros(1, encoded.shape[1]), encoded])  # [n_items, text_dim]
    names = " + ".join(encoding.encoder for encoding in asked)
    text = ItemText(vectors, names, encoded.shape[1], int((encoded == 0).all(dim=1).sum()))
    logger.info(
        f"Item text: encoder {text.encoder}, {text.dimension} dimensions, {len(texts.items)} items, "
        f"{text.n_without_text} without text"
    )
    return text


def encode_own_share(config, dataset):
    """Encodes what falls to this process of the vectors that are missing, and waits until the others have done theirs.

    Args:
        config (Config): as `load_item_text`.
        dataset (Dataset): likewise.
    """
    texts = item_texts(config, dataset)
    for encoding in encodings(config):
        encode_share(texts, encoding, config["text_dir"], parallel.rank(), parallel.world_size())
    parallel.gathered(None)


def item_texts(config, dataset) -> ItemTexts:
    """Where the texts of a dataset's items are; arguments as `load_item_text`."""
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
    """An Encoding of each encoder that the config names.

    Raises:
        ValueError: it names none, or one twice, or several packages bring one of that name.
    """
    brought = {extension.name: extension for extension in extensions("text_encoder")}
    others = {name: OtherEncoder(one.load, one.distribution, one.version) for name, one in brought.items()}
    return [
        Encoding(
            encoder=encoder,
            batch_size=config["text_batch_size"],
            device=config["text_device"],
            dtype=config["text_dtype"],
            lexical_dim=config["lexical_dim"],
            show_progress=bool(config["show_progress"]),
            processes=config["text_processes"] or 1,
            shard_size=config["text_shard_size"] or config["text_batch_size"],
            others=others,
        )
        for encoder in _encoders(config["text_encoder"], config["text_processes"] or 1)
    ]


def side_by_side(parts) -> Tensor:
    """Vectors of several encoders, each scaled to length 1; those of one encoder as they are, shape: [N, text_dim]."""
    return parts[0] if len(parts) == 1 else torch.cat([functional.normalize(part, dim=1) for part in parts], dim=1)


def _encoders(asked, n_processes):
    """Names of the encoders; ValueError where what was asked names none, one twice, or one that can't be used so."""
    encoders = asked if isinstance(asked, (list, tuple)) else [asked]
    if not encoders or not all(isinstance(encoder, str) and encoder for encoder in encoders):
        raise ValueError(
            f"text_encoder={asked} names no encoder: give a sentence-transformers model, 'lexical' or the NAME of your "
            f"vectors, several as [A,B], or use no text (--representation=id)"
        )
    for encoder in encoders:
        other = find_extension("text_encoder", encoder, is_taken=encoder == LEXICAL)
        if other is not None and n_processes > 1:
            raise ValueError(
                f"text_processes={n_processes} is for sentence-transformers models, {other} encodes in one process: "
                f"leave it at 1"
            )
    if len(set(encoders)) < len(encoders):
        raise ValueError(f"text_encoder={asked} names an encoder twice: give each once")
    return list(encoders)

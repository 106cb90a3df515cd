"""item_text: item text embeddings as a table aligned with RecBole's item numbering."""

import logging
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dataset_prep.embedding import Encoding, ItemTexts, item_vectors
from recbole_unirep import parallel

logger = logging.getLogger()


class ItemText(NamedTuple):
    """Item text embeddings of a dataset.

    Attributes:
        vectors (Tensor): float32, zeros for padding (row 0) and for items without text, shape: [n_items, text_dim].
        encoder (str): what made them, as the config names it.
        dimension (int): text_dim.
        n_without_text (int): items with a zero vector, padding not counted.
    """

    vectors: Tensor
    encoder: str
    dimension: int
    n_without_text: int


def load_item_text(config, dataset) -> ItemText:
    """Loads the vectors of a dataset's items, and has them made where they are missing.

    Args:
        config (Config): or any mapping that gives None for an absent key.
        dataset (Dataset): RecBole's; its items after filtering are the ones that get vectors.

    Returns:
        ItemText: row i belongs to RecBole's item i.

    Raises:
        FileNotFoundError: the `.item` file or half of a pair of vector files is missing.
        ValueError: an option, a file or the encoder is not usable.
    """
    if not config["text_encoder"]:
        raise ValueError(
            f"text_encoder={config['text_encoder']} names no encoder: give a sentence-transformers model, 'lexical' or "
            f"the NAME of your vectors, or use no text (--representation=id)"
        )
    fields = config["text_fields"]
    items = [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]
    n_training_items = getattr(dataset, "n_training_items", None)  # with split: cold_items
    texts = ItemTexts(
        dataset=config["dataset"],
        folder=Path(config["data_path"]),
        items=items,
        item_id_field=config["ITEM_ID_FIELD"],
        fields=[fields] if isinstance(fields, str) else fields,
        separator=config["field_separator"],
        fit_items=n_training_items and items[: n_training_items - 1],
    )
    encoding = Encoding(
        encoder=config["text_encoder"],
        batch_size=config["text_batch_size"],
        device=config["text_device"],
        dtype=config["text_dtype"],
        lexical_dim=config["lexical_dim"],
        show_progress=bool(config["show_progress"]),
    )
    with parallel.main_first():  # what it encodes and stores the others find
        encoded = torch.from_numpy(item_vectors(texts, encoding, config["text_dir"]))
    vectors = torch.cat([torch.zeros(1, encoded.shape[1]), encoded])  # [n_items, text_dim]
    text = ItemText(vectors, encoding.encoder, encoded.shape[1], int((encoded == 0).all(dim=1).sum()))
    logger.info(
        f"Item text: encoder {text.encoder}, {text.dimension} dimensions, {len(texts.items)} items, "
        f"{text.n_without_text} without text"
    )
    return text

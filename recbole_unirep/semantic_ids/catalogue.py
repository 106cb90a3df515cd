"""catalogue: a dataset's items and what a tokenizer reads of them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dataset_prep.vector_files import VectorFiles
from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.data.cooccurrence import graph_vectors, n_training
from recbole_unirep.data.item_file import load_items
from recbole_unirep.data.item_text import load_item_text
from recbole_unirep.tokenizer import reads_vectors

GRAPH = "graph"
TEXT_SETTINGS = ("text_encoder", "text_fields", "lexical_dim")  # what makes a text's vector


class Catalogue(NamedTuple):
    """Items and what is known of them.

    Attributes:
        items (list of str): item tokens, in RecBole's numbering without padding, shape: [N].
        known (Tensor or Items): vectors, shape: [N, text_dim], or tokens and columns.
        learned (Tensor): rows that a tokenizer may learn from: items that are trained and, of vectors, are not zero,
            shape: [n], int64.
        vectors (list of str): what the vectors are made of; of columns their names.
    """

    items: list
    known: Any
    learned: Tensor
    vectors: list

    def to_learn_from(self):
        """What of the known a tokenizer learns from."""
        return self.known[self.learned] if isinstance(self.known, Tensor) else self.known.part(self.learned.tolist())


def load_catalogue(config, dataset, tokenizer, further=()) -> Catalogue:
    """Reads what a tokenizer needs.

    Args:
        config (Config): ours.
        dataset (Dataset): RecBole's, or its training part.
        tokenizer (str): a key of TOKENIZERS.
        further (sequence of tuple[str, Tensor]): names of further vectors, and they, in RecBole's numbering without
            padding, shape: [N, D] each; joined to the text's.

    Returns:
        Catalogue: vectors of several sources stand side by side, each at length 1.
    """
    n_learned = n_training_items(dataset) - 1
    if not reads_vectors(tokenizer):
        items = load_items(config, dataset)
        return Catalogue(items.tokens, items, torch.arange(n_learned), list(items.columns))
    text = load_item_text(config, dataset)
    vectors = join([text.vectors[1:], *(part for _, part in further)])
    learned = text.vectors[1 : n_learned + 1].any(dim=-1).nonzero()[:, 0]
    return Catalogue(item_tokens(dataset), vectors, learned, [text.encoder, *(name for name, _ in further)])


def item_tokens(dataset) -> list:
    """Items of a dataset in RecBole's numbering, padding left out, list of str."""
    return [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]


def catalogue_of_files(paths) -> Catalogue:
    """Items of vector files, without a dataset.

    Args:
        paths (sequence of Path): NAME.npy, with NAME.json beside it that lists the item tokens in row order (`items`);
            the first file's items are taken, in its order.

    Returns:
        Catalogue: vectors of several files stand side by side, each at length 1.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file can't be used, or lacks an item of the first.
    """
    pairs = [VectorFiles(path, path.with_suffix(".json")) for path in paths]
    for pair in pairs:
        if not pair.exist():
            raise FileNotFoundError(f"{pair.matrix} is missing: give vectors [n_items, dimensions] saved by numpy.save")
    items = [str(item) for item in pairs[0].read_record().get("items", [])]
    vectors = join(torch.from_numpy(pair.read(items)) for pair in pairs)
    return Catalogue(items, vectors, vectors.any(dim=-1).nonzero()[:, 0], [path.name for path in paths])


def graph(train, dim, seed) -> Tensor:
    """Vectors of items by who takes them together in training, padding left out, shape: [N, dim].

    Args:
        train (Dataset): training part of a dataset that `build_for_rows` or `build` made.
        dim (int): dimensions.
        seed (int): of the factorization.
    """
    vectors = graph_vectors(train.sequences, n_training(train, "the items' graph"), train.item_num, dim, seed)
    return torch.from_numpy(vectors[1:])


def join(parts) -> Tensor:
    """Vectors side by side; several are scaled to length 1 each."""
    parts = list(parts)
    return parts[0] if len(parts) == 1 else torch.cat([functional.normalize(part, dim=-1) for part in parts], dim=-1)


def pad_collaborative(vectors, settings) -> Tensor:
    """Vectors of items that nobody has taken yet, as a tokenizer reads them: zeros stand for the collaborative ones.

    Args:
        vectors (Tensor): of their text, shape: [M, D].
        settings (mapping): of a fitted tokenizer; `text_dim` are the dimensions that it was fitted on, of which the
            last `collaborative_dim`, where it has any, are collaborative.

    Returns:
        Tensor: shape: [M, text_dim] where the collaborative part was missing, else as they are.
    """
    n_missing = settings.get("collaborative_dim", 0)
    if n_missing and vectors.shape[1] + n_missing == settings["text_dim"]:
        return join([vectors, vectors.new_zeros(len(vectors), n_missing)])
    return vectors

"""recbole_unirep.semantic_ids.catalogue: a dataset's items, with the vectors or columns that a tokenizer reads."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dataset_prep.vector_files import VectorFiles
from recbole_unirep.data.cold_items import n_training_items
from recbole_unirep.data.cooccurrence import graph_vectors, n_training
from recbole_unirep.data.item_file import load_items
from recbole_unirep.data.item_text import load_item_text, side_by_side
from recbole_unirep.tokenizer import reads_vectors

GRAPH = "graph"
TEXT_SETTINGS = ("text_encoder", "text_fields", "lexical_dim")  # keys that determine a text's vector


class Catalogue(NamedTuple):
    """Items, with the vectors or columns that a tokenizer reads.

    Attributes:
        items (list of str): item tokens, in RecBole's numbering without padding, shape: [N].
        known (Tensor or Items): vectors, shape: [N, text_dim], or tokens and columns.
        learned (Tensor): rows that a tokenizer may learn from: items of training whose vector, if any, is not zero,
            shape: [n], int64.
        vectors (list of str): names of the sources of the vectors, or of the columns.
    """

    items: list
    known: Any
    learned: Tensor
    vectors: list

    def to_learn_from(self):
        """The vectors, or tokens and columns, that a tokenizer may learn from."""
        return self.known[self.learned] if isinstance(self.known, Tensor) else self.known.part(self.learned.tolist())


def load_catalogue(config, dataset, tokenizer, further=()) -> Catalogue:
    """Reads what a tokenizer needs of a dataset's items.

    Args:
        config (Config): ours.
        dataset (Dataset): RecBole's, or its training part.
        tokenizer (str): a name of `tokenizer_names`.
        further (sequence of tuple[str, Tensor]): name and vectors of further sources, in RecBole's numbering without
            padding, shape: [N, D] each; appended to the text vectors.

    Returns:
        Catalogue: vectors of several sources are normalized and concatenated.
    """
    n_learned = n_training_items(dataset) - 1
    if not reads_vectors(tokenizer):
        items = load_items(config, dataset)
        return Catalogue(items.tokens, items, torch.arange(n_learned), list(items.columns))
    text = load_item_text(config, dataset)
    vectors = side_by_side([text.vectors[1:], *(part for _, part in further)])
    learned = text.vectors[1 : n_learned + 1].any(dim=-1).nonzero()[:, 0]
    return Catalogue(item_tokens(dataset), vectors, learned, [text.encoder, *(name for name, _ in further)])


def item_tokens(dataset) -> list:
    """Item tokens of a dataset in RecBole's numbering without padding, list of str."""
    return [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]


def catalogue_of_files(paths) -> Catalogue:
    """Items of vector files, without a dataset.

    Args:
        paths (sequence of Path): NAME.npy, each with a NAME.json that lists the item tokens in row order (`items`); the
            catalogue has the items of the first file, in its order.

    Returns:
        Catalogue: vectors of several files are normalized and concatenated.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file can't be used, or lacks an item of the first one.
    """
    pairs = [VectorFiles(path, path.with_suffix(".json")) for path in paths]
    for pair in pairs:
        if not pair.exist():
            raise FileNotFoundError(f"{pair.matrix} is missing: give vectors [n_items, dimensions] saved by numpy.save")
    items = [str(item) for item in pairs[0].read_record().get("items", [])]
    vectors = side_by_side(torch.from_numpy(pair.read(items)) for pair in pairs)
    return Catalogue(items, vectors, vectors.any(dim=-1).nonzero()[:, 0], [path.name for path in paths])


def graph(train, dim, seed) -> Tensor:
    """Vectors of items by their co-occurrence in training, without padding, shape: [N, dim].

    Args:
        train (Dataset): training part of a dataset, from `build_for_rows` or `build`.
        dim (int): size of a vector.
        seed (int): seed of the factorization.
    """
    vectors = graph_vectors(train.sequences, n_training(train, "the items' graph"), train.item_num, dim, seed)
    return torch.from_numpy(vectors[1:])


def collaborative_graph(config, train) -> list:
    """The graph of a dataset's training part, as `further` vectors of `load_catalogue`.

    Args:
        config (Config): ours: collaborative_dim, seed.
        train (Dataset): as `graph` reads it.
    """
    return [(GRAPH, graph(train, config["collaborative_dim"], config["seed"]))]


def pad_collaborative(vectors, settings) -> Tensor:
    """Appends zeros as the collaborative part of items without interactions.

    Args:
        vectors (Tensor): text embeddings, shape: [M, D].
        settings (mapping): settings of a fitted tokenizer: `text_dim`, the size of the vectors that it was fitted on,
            and `collaborative_dim`, if set, the size of their collaborative part, which is last.

    Returns:
        Tensor: shape: [M, text_dim] if the collaborative part was missing, else `vectors` unchanged.
    """
    n_missing = settings.get("collaborative_dim", 0)
    if n_missing and vectors.shape[1] + n_missing == settings["text_dim"]:
        return side_by_side([vectors, vectors.new_zeros(len(vectors), n_missing)])
    return vectors

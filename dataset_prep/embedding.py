"""embedding: a vector per item, encoded from its sentence once and found again afterwards.

Encoders are sentence-transformers models, the lexical one, those of other packages, and none at all where the user
brings vectors. Never does one stand in for another silently.

Reference:
    Nils Reimers and Iryna Gurevych. "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks." in EMNLP 2019.
    Jianmo Ni et al. "Sentence-T5: Scalable Sentence Encoders from Pre-trained Text-to-Text Models." in ACL 2022.
"""

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Optional

import numpy as np

from dataset_prep.encoders import LEXICAL, OtherEncoder, calls, devices_of, folder_fingerprint, load_encoder, versions
from dataset_prep.lexical import lexical_vectors
from dataset_prep.shards import Shards
from dataset_prep.text import ItemSentences, by_length, item_sentences
from dataset_prep.vector_files import VectorFiles, difference, is_ours, names_beside, storage_folder

logger = logging.getLogger()

STORED_DTYPES = ("float16", "float32")


class ItemTexts(NamedTuple):
    """Where a dataset's item texts are, and which items are wanted.

    Attributes:
        dataset (str): its name.
        folder (Path): its folder, with `<dataset>.item`.
        items (sequence of str): item tokens to encode, without padding.
        item_id_field (str): column of the item tokens.
        fields (sequence of str, optional): columns of a sentence, in order; None takes the usual ones.
        separator (str): what stands between the columns of the file.
        fit_items (sequence of str, optional): items that the lexical encoder learns from; None is all.
    """

    dataset: str
    folder: Path
    items: Sequence[str]
    item_id_field: str
    fields: Optional[Sequence[str]]
    separator: str
    fit_items: Optional[Sequence[str]] = None

    def sentences(self, items: Sequence[str]) -> ItemSentences:
        """Sentences of some items, as `item_sentences` gives them."""
        item_file = self.folder / f"{self.dataset}.item"
        return item_sentences(item_file, self.fields, items, self.item_id_field, self.separator)


class Encoding(NamedTuple):
    """How sentences become vectors.

    Attributes:
        encoder (str): a sentence-transformers name or local path, "lexical", a key of `others`, or NAME of vectors the
            user brings.
        batch_size (int): sentences encoded at once.
        device (str, optional): device of a sentence-transformers model; None is the library's own choice.
        dtype (str): storage of the vectors, "float16" or "float32".
        lexical_dim (int): dimensions of the lexical encoder.
        show_progress (bool): whether a progress bar is shown.
        processes (int): processes of a sentence-transformers model on this machine.
        shard_size (int): sentences of a shard, about: whole batches.
        others (mapping of str to OtherEncoder): encoders of other packages, by name.
    """

    encoder: str
    batch_size: int
    device: Optional[str]
    dtype: str
    lexical_dim: int
    show_progress: bool
    processes: int = 1
    shard_size: int = 2048
    others: Mapping[str, OtherEncoder] = MappingProxyType({})

    @property
    def file_name(self) -> str:
        """The encoder's part of a file's name, such as "sentence-t5-base"."""
        return Path(self.encoder).name

    def identity(self) -> dict[str, Any]:
        """What a stored vector must have been made with to be used again."""
        identity = {"encoder": self.encoder, "dtype": self.dtype}
        if self.encoder == LEXICAL:
            identity["lexical_dim"] = self.lexical_dim
        elif self.encoder in self.others:
            identity["package"] = self.others[self.encoder].package
        elif os.path.isdir(self.encoder):  # a model trained further in its place is another encoder
            identity["encoder"] = str(Path(self.encoder).resolve())
            identity["encoder_files"] = folder_fingerprint(Path(self.encoder))
        return identity


class Sentences(NamedTuple):
    """What is to be encoded, and what vectors of it would be stored.

    Attributes:
        items (list of str): item tokens in the order of the stored rows, the same whatever RecBole's numbering.
        sentences (list of str): one per item.
        provenance (dict): what the vectors are made of.
        fit_on (list of str, optional): sentences that the lexical encoder learns from.
        storage (Path): folder of the vectors.
        beside (list of Path): folders where vectors may lie.
        vectors (VectorFiles, optional): stored ones that may be used as they are; nothing is to be encoded then.
    """

    items: list
    sentences: list
    provenance: dict
    fit_on: Optional[list]
    storage: Path
    beside: list
    vectors: Optional[VectorFiles] = None


def item_vectors(texts: ItemTexts, encoding: Encoding, text_dir: Optional[str]) -> np.ndarray:
    """Gives each item's vector: the user's, else stored ones of the same text and encoder, else newly encoded.

    Args:
        texts (ItemTexts): the items and their texts.
        encoding (Encoding): the encoder and its options.
        text_dir (str, optional): folder of what we store; None is `storage_folder`'s choice.

    Returns:
        np.ndarray: float32, zeros for an item without text, shape: [len(texts.items), text_dim].

    Raises:
        FileNotFoundError: the `.item` file or half of a pair of vector files is missing.
        ValueError: an option, a file or the encoder is not usable.
        OSError: the vectors can't be stored.
    """
    asked = _asked(texts, encoding, text_dir)
    if asked.vectors is not None:
        return asked.vectors.read(texts.items, checked=bool(asked.items))
    files = VectorFiles.named(asked.storage, texts.dataset, encoding.file_name)
    shards = _shards(asked, texts.dataset, encoding)
    with shards.alone() if shards else nullcontext():
        fit_on = asked.fit_on and sorted(set(asked.fit_on) - {""})
        vectors = encode(asked.sentences, encoding, names_beside(asked.beside, texts.dataset), fit_on, shards)
        with np.errstate(over="ignore"):  # the next line says it better
            vectors = vectors.astype(encoding.dtype)
        if not np.isfinite(vectors).all():
            raise ValueError(
                f"{encoding.encoder} gives values that {encoding.dtype} can't hold: set text_dtype to float32"
            )
        files.write(vectors, asked.items, {**asked.provenance, "versions": versions(encoding)})
        if shards:
            shards.remove()
    return files.read(texts.items, checked=True)


def encode_share(texts: ItemTexts, encoding: Encoding, text_dir: Optional[str], worker: int, n_workers: int) -> None:
    """Encodes every n-th shard, so that several workers, on several machines over one folder, leave nothing to encode.

    Args:
        texts (ItemTexts): as `item_vectors`.
        encoding (Encoding): likewise.
        text_dir (str, optional): likewise.
        worker (int): number of this worker, from 0.
        n_workers (int): of them.

    Raises:
        ValueError, OSError: as `item_vectors`.
    """
    asked = _asked(texts, encoding, text_dir)
    shards = None if asked.vectors is not None else _shards(asked, texts.dataset, encoding)
    if shards:
        beside = names_beside(asked.beside, texts.dataset)
        _encode_missing(shards, encoding, beside, range(worker, len(shards), n_workers))


def _asked(texts, encoding, text_dir) -> Sentences:
    """What is asked for, and the stored vectors that answer it."""
    if encoding.dtype not in STORED_DTYPES:
        raise ValueError(f"text_dtype is {encoding.dtype!r}: it must be one of {list(STORED_DTYPES)}")
    places = vector_places(texts, encoding, text_dir)
    folders = [files.matrix.parent for files in places]
    storage = folders[-1]
    stored = [files for files in places if files.exist()]
    for files in stored:
        if not is_ours(files.read_record()):
            if encoding.file_name != encoding.encoder:
                raise ValueError(
                    f"text_encoder {encoding.encoder} would be stored as {files.matrix.name}, where vectors of yours "
                    f"lie: use them (--text_encoder={encoding.file_name}), or move them away"
                )
            return Sentences([], [], {}, None, storage, folders, files)

    items = sorted(texts.items)
    sentences, template = texts.sentences(items)
    provenance = {
        **encoding.identity(),
        "template": template,
        "texts_sha256": hashlib.sha256("\n".join(sentences).encode()).hexdigest(),
    }
    fit_on = None
    if encoding.encoder == LEXICAL and texts.fit_items is not None:
        wanted = set(texts.fit_items)
        fit_on = [sentence for item, sentence in zip(items, sentences) if item in wanted]
        provenance["fitted_on_sha256"] = hashlib.sha256("\n".join(fit_on).encode()).hexdigest()
    elif encoding.encoder == LEXICAL:
        provenance["fitted_on_sha256"] = None
    asked = Sentences(items, sentences, provenance, fit_on, storage, folders)
    for files in stored:
        outdated = difference(files, {"items": items, **provenance})
        if outdated is None:
            return asked._replace(vectors=files)
        logger.info(f"{files.matrix} is not used again, its {outdated} differs: the texts are encoded anew")
    if not any(sentences):
        raise ValueError(f"none of {len(items)} items has a text in {texts.folder}: check text_fields and the item ids")
    return asked


def vector_places(texts: ItemTexts, encoding: Encoding, text_dir: Optional[str]) -> list[VectorFiles]:
    """Where an encoder's vectors may lie: beside the data, and last where ours are stored; arguments as above."""
    storage = Path(text_dir) if text_dir else storage_folder(texts.folder, texts.dataset)
    folders = dict.fromkeys([texts.folder, storage])
    return [VectorFiles.named(folder, texts.dataset, encoding.file_name) for folder in folders]


def _shards(asked, dataset, encoding) -> Optional[Shards]:
    """The parts of what is to be encoded; None where it is one part, or the lexical encoder's."""
    size = encoding.batch_size * max(1, encoding.shard_size // encoding.batch_size)
    distinct = by_length(asked.sentences)
    if encoding.encoder == LEXICAL or len(distinct) <= size:
        return None
    folder = asked.storage / f".{dataset}.{encoding.file_name}.shards"
    made_with = {
        **encoding.identity(),
        "batch_size": encoding.batch_size,
        "versions": versions(encoding),
    }
    return Shards(folder, distinct, size, made_with)


def encode(
    sentences: Sequence[str],
    encoding: Encoding,
    beside: Sequence[str],
    fit_on: Optional[Sequence[str]] = None,
    shards: Optional[Shards] = None,
) -> np.ndarray:
    """Encodes each distinct sentence once, in the order of their lengths; an empty one is a zero vector.

    Args:
        sentences (sequence of str): at least one of them is not empty.
        encoding (Encoding): the encoder and its options.
        beside (sequence of str): vectors that lie beside the data, for the error message.
        fit_on (sequence of str, optional): distinct ones that the lexical encoder learns from, in order; None is all.
        shards (Shards, optional): of the distinct sentences; None encodes them in one piece.

    Returns:
        np.ndarray: float32, shape: [len(sentences), text_dim].

    Raises:
        ValueError: the encoder can't be loaded.
    """
    distinct = by_length(sentences)
    logger.info(f"{encoding.encoder} encodes {len(distinct)} distinct sentences of {len(sentences)} items")
    if shards:
        _encode_missing(shards, encoding, beside, range(len(shards)))
        parts = iter(shards)
    elif encoding.encoder == LEXICAL:
        parts = [(range(len(distinct)), lexical_vectors(distinct, encoding.lexical_dim, fit_on))]
    else:
        encoder = load_encoder(encoding.encoder, encoding.device, beside, encoding.others)
        with calls(encoder, encoding.batch_size, len(distinct), [], encoding.show_progress) as call:
            parts = [(range(len(distinct)), call(distinct))]
    number = {sentence: row for row, sentence in enumerate(distinct)}
    filled = np.array([row for row, sentence in enumerate(sentences) if sentence])
    place = np.array([number[sentences[row]] for row in filled])  # among the distinct ones
    order = np.argsort(place, kind="stable")
    vectors = None
    for part, encoded in parts:
        if vectors is None:
            vectors = np.zeros((len(sentences), encoded.shape[1]), dtype=np.float32)
        own = order[slice(*np.searchsorted(place[order], [part.start, part.stop]))]
        vectors[filled[own]] = encoded[place[own] - part.start]
    return vectors


def _encode_missing(shards, encoding, beside, numbers) -> None:
    """Has the missing shards encoded; without any the encoder is not loaded."""
    missing = shards.missing(numbers)
    if not missing:
        return
    encoder = load_encoder(encoding.encoder, encoding.device, beside, encoding.others)
    devices = devices_of(min(encoding.processes, len(missing)), encoding.device)
    with calls(encoder, encoding.batch_size, shards.size, devices, show_progress=False) as call:
        shards.encode(call, max(1, len(devices)), missing, encoding.show_progress)

"""embedding: one vector per item, encoded from its sentence once and reused afterwards.

The encoder is a sentence-transformers model, the lexical one or one of another package; vectors may also come from the
user. No encoder silently replaces another.

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
from typing import Any, NamedTuple

import numpy as np

from dataset_prep.encoders import LEXICAL, OtherEncoder, calls, devices_of, folder_fingerprint, load_encoder, versions
from dataset_prep.lexical import lexical_vectors
from dataset_prep.shards import Shards
from dataset_prep.text import ItemSentences, by_length, item_sentences
from dataset_prep.vector_files import VectorFiles, difference, is_ours, names_beside, storage_folder

logger = logging.getLogger()

STORED_DTYPES = ("float16", "float32")


class ItemTexts(NamedTuple):
    """A dataset's item texts.

    Attributes:
        dataset (str): name of the dataset.
        folder (Path): its folder, with `<dataset>.item`.
        items (sequence of str): tokens of the items to encode, without padding.
        item_id_field (str): column of the item tokens.
        fields (sequence of str, optional): columns of a sentence, in order; None uses the usual ones.
        separator (str): between the columns of the file.
        fit_items (sequence of str, optional): items that the lexical encoder is fitted on; None is all.
    """

    dataset: str
    folder: Path
    items: Sequence[str]
    item_id_field: str
    fields: Sequence[str] | None
    separator: str
    fit_items: Sequence[str] | None = None

    def sentences(self, items: Sequence[str]) -> ItemSentences:
        """Sentences of the given items, as from `item_sentences`."""
        item_file = self.folder / f"{self.dataset}.item"
        return item_sentences(item_file, self.fields, items, self.item_id_field, self.separator)


class Encoding(NamedTuple):
    """How sentences become vectors.

    Attributes:
        encoder (str): a sentence-transformers name or local path, "lexical", a key of `others`, or NAME of the user's
            vectors.
        batch_size (int): sentences per batch.
        device (str, optional): device of a sentence-transformers model or of one of `others`; None leaves the choice
            to the encoder.
        dtype (str): type of the stored vectors, "float16" or "float32".
        lexical_dim (int): size of the lexical encoder's vectors.
        show_progress (bool): whether to show a progress bar.
        processes (int): number of processes of a sentence-transformers model on this machine.
        shard_size (int): sentences per shard, rounded down to whole batches.
        others (mapping of str to OtherEncoder): encoders of other packages, by name.
    """

    encoder: str
    batch_size: int
    device: str | None
    dtype: str
    lexical_dim: int
    show_progress: bool
    processes: int = 1
    shard_size: int = 2048
    others: Mapping[str, OtherEncoder] = MappingProxyType({})

    @property
    def file_name(self) -> str:
        """The encoder's part of a file name, such as "sentence-t5-base"."""
        return Path(self.encoder).name

    def identity(self) -> dict[str, Any]:
        """What stored vectors must have been made with to be reused (dict of plain values)."""
        identity = {"encoder": self.encoder, "dtype": self.dtype}
        if self.encoder == LEXICAL:
            identity["lexical_dim"] = self.lexical_dim
        elif self.encoder in self.others:
            identity["package"] = self.others[self.encoder].package
        elif os.path.isdir(self.encoder):  # a model changed in place is another encoder
            identity["encoder"] = str(Path(self.encoder).resolve())
            identity["encoder_files"] = folder_fingerprint(Path(self.encoder))
        return identity


class Sentences(NamedTuple):
    """The sentences to encode and where their vectors go, or stored vectors that make encoding unnecessary.

    Attributes:
        items (list of str): item tokens in the order of the stored rows, which does not depend on RecBole's numbering.
        sentences (list of str): one per item.
        provenance (dict): what the vectors are made from.
        fit_on (list of str, optional): sentences that the lexical encoder is fitted on.
        storage (Path): folder to store the vectors in.
        beside (list of Path): folders to search for vectors.
        vectors (VectorFiles, optional): stored vectors to reuse.
    """

    items: list
    sentences: list
    provenance: dict
    fit_on: list | None
    storage: Path
    beside: list
    vectors: VectorFiles | None = None


def item_vectors(texts: ItemTexts, encoding: Encoding, text_dir: str | None) -> np.ndarray:
    """The vector of each item: the user's, else a stored one of the same text and encoder, else a new one.

    Args:
        texts (ItemTexts): the items and their texts.
        encoding (Encoding): the encoder and its options.
        text_dir (str, optional): folder to store vectors in; None leaves the choice to `storage_folder`.

    Returns:
        np.ndarray: float32, zeros for an item without text, shape: [len(texts.items), text_dim].

    Raises:
        FileNotFoundError: the `.item` file or half of a pair of vector files is missing.
        ValueError: an option, a file or the encoder can't be used.
        OSError: the vectors can't be stored.
    """
    work = _work(texts, encoding, text_dir)
    if work.vectors is not None:
        return work.vectors.read(texts.items, checked=bool(work.items))
    files = VectorFiles.named(work.storage, texts.dataset, encoding.file_name)
    shards = _shards(work, texts.dataset, encoding)
    with shards.locked() if shards else nullcontext():
        fit_on = work.fit_on and sorted(set(work.fit_on) - {""})
        vectors = encode(work.sentences, encoding, names_beside(work.beside, texts.dataset), fit_on, shards)
        with np.errstate(over="ignore"):  # overflow is the error below
            vectors = vectors.astype(encoding.dtype)
        if not np.isfinite(vectors).all():
            raise ValueError(
                f"{encoding.encoder} gives values that overflow {encoding.dtype}: set text_dtype to float32"
            )
        files.write(vectors, work.items, {**work.provenance, "versions": versions(encoding)})
        if shards:
            shards.remove()
    return files.read(texts.items, checked=True)


def encode_share(texts: ItemTexts, encoding: Encoding, text_dir: str | None, worker: int, n_workers: int) -> None:
    """Encodes every n-th shard. Workers on several machines that share a folder encode all of them together.

    Args:
        texts (ItemTexts): as in `item_vectors`.
        encoding (Encoding): as in `item_vectors`.
        text_dir (str, optional): as in `item_vectors`.
        worker (int): number of this worker, from 0.
        n_workers (int): number of workers.

    Raises:
        ValueError, OSError: as in `item_vectors`.
    """
    work = _work(texts, encoding, text_dir)
    shards = None if work.vectors is not None else _shards(work, texts.dataset, encoding)
    if shards:
        beside = names_beside(work.beside, texts.dataset)
        _encode_missing(shards, encoding, beside, range(worker, len(shards), n_workers))


def _work(texts, encoding, text_dir) -> Sentences:
    """The sentences to encode, or the stored vectors to reuse."""
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
                    f"text_encoder {encoding.encoder} would overwrite your own vectors {files.matrix.name}: use them "
                    f"(--text_encoder={encoding.file_name}), or move them away"
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
    work = Sentences(items, sentences, provenance, fit_on, storage, folders)
    for files in stored:
        outdated = difference(files, {"items": items, **provenance})
        if outdated is None:
            return work._replace(vectors=files)
        logger.info(f"{files.matrix} is out of date, its {outdated} differs: the texts are encoded again")
    if not any(sentences):
        raise ValueError(
            f"none of {len(items)} items has a text in {texts.folder}: check text_fields and the item tokens"
        )
    return work


def vector_places(texts: ItemTexts, encoding: Encoding, text_dir: str | None) -> list[VectorFiles]:
    """Files where an encoder's vectors can be: next to the data, and last where this package stores them."""
    storage = Path(text_dir) if text_dir else storage_folder(texts.folder, texts.dataset)
    folders = dict.fromkeys([texts.folder, storage])
    return [VectorFiles.named(folder, texts.dataset, encoding.file_name) for folder in folders]


def _shards(work, dataset, encoding) -> Shards | None:
    """The shards to encode; None for a single one, and for the lexical encoder."""
    size = encoding.batch_size * max(1, encoding.shard_size // encoding.batch_size)
    distinct = by_length(work.sentences)
    if encoding.encoder == LEXICAL or len(distinct) <= size:
        return None
    folder = work.storage / f".{dataset}.{encoding.file_name}.shards"
    made_with = {**encoding.identity(), "batch_size": encoding.batch_size, "versions": versions(encoding)}
    return Shards(folder, distinct, size, made_with)


def encode(
    sentences: Sequence[str],
    encoding: Encoding,
    beside: Sequence[str],
    fit_on: Sequence[str] | None = None,
    shards: Shards | None = None,
) -> np.ndarray:
    """Encodes each distinct sentence once, sorted by length; an empty sentence has a zero vector.

    Args:
        sentences (sequence of str): at least one of them is not empty.
        encoding (Encoding): the encoder and its options.
        beside (sequence of str): names of the vectors next to the data, for the error.
        fit_on (sequence of str, optional): distinct sentences to fit the lexical encoder on, in order; None is all.
        shards (Shards, optional): of the distinct sentences; None encodes them in one part.

    Returns:
        np.ndarray: float32, shape: [len(sentences), text_dim].

    Raises:
        ValueError: the encoder can't be loaded.
    """
    distinct = by_length(sentences)
    logger.info(f"encoding {len(distinct)} distinct texts of {len(sentences)} items with {encoding.encoder}")
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
    """Encodes the missing shards; the encoder is loaded only if any is missing."""
    missing = shards.missing(numbers)
    if not missing:
        return
    encoder = load_encoder(encoding.encoder, encoding.device, beside, encoding.others)
    devices = devices_of(min(encoding.processes, len(missing)), encoding.device)
    with calls(encoder, encoding.batch_size, shards.size, devices, show_progress=False) as call:
        shards.encode(call, max(1, len(devices)), missing, encoding.show_progress)

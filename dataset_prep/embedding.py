"""embedding: a vector per item, encoded from its sentence once and found again afterwards.

Encoders are sentence-transformers models, the lexical one, and none at all where the user brings vectors. Never does
one stand in for another silently.

Reference:
    Nils Reimers and Iryna Gurevych. "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks." in EMNLP 2019.
    Jianmo Ni et al. "Sentence-T5: Scalable Sentence Encoders from Pre-trained Text-to-Text Models." in ACL 2022.
"""

import hashlib
import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from dataset_prep.lexical import lexical_vectors
from dataset_prep.text import ItemSentences, by_length, item_sentences
from dataset_prep.vector_files import VectorFiles, is_ours, names_beside

logger = logging.getLogger()

LEXICAL = "lexical"
STORED_DTYPES = ("float16", "float32")
LIBRARIES = {LEXICAL: ("scikit-learn",)}
MODEL_LIBRARIES = ("sentence-transformers", "transformers", "torch")
HUB_TIMEOUT = 5  # seconds


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
        encoder (str): a sentence-transformers name or local path, "lexical", or NAME of vectors the user brings.
        batch_size (int): sentences encoded at once.
        device (str, optional): device of a sentence-transformers model; None is the library's own choice.
        dtype (str): storage of the vectors, "float16" or "float32".
        lexical_dim (int): dimensions of the lexical encoder.
        show_progress (bool): whether a progress bar is shown.
    """

    encoder: str
    batch_size: int
    device: Optional[str]
    dtype: str
    lexical_dim: int
    show_progress: bool

    @property
    def file_name(self) -> str:
        """The encoder's part of a file's name, such as "sentence-t5-base"."""
        return Path(self.encoder).name

    def identity(self) -> dict[str, Any]:
        """What a stored vector must have been made with to be used again."""
        identity = {"encoder": self.encoder, "dtype": self.dtype}
        if self.encoder == LEXICAL:
            identity["lexical_dim"] = self.lexical_dim
        elif os.path.isdir(self.encoder):  # a model trained further in its place is another encoder
            identity["encoder"] = str(Path(self.encoder).resolve())
            identity["encoder_files"] = folder_fingerprint(Path(self.encoder))
        return identity


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
    """
    if encoding.dtype not in STORED_DTYPES:
        raise ValueError(f"text_dtype is {encoding.dtype!r}: it must be one of {list(STORED_DTYPES)}")
    places = vector_places(texts, encoding, text_dir)
    stored = [files for files in places if files.exist()]
    for files in stored:
        if not is_ours(files.read_record()):
            if encoding.file_name != encoding.encoder:
                raise ValueError(
                    f"text_encoder {encoding.encoder} would be stored as {files.matrix.name}, where vectors of yours "
                    f"lie: use them (--text_encoder={encoding.file_name}), or move them away"
                )
            return files.read(texts.items)

    items = sorted(texts.items)  # the same rows whatever RecBole's numbering
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
    for files in stored:
        outdated = difference(files, {"items": items, **provenance})
        if outdated is None:
            return files.read(texts.items)
        logger.info(f"{files.matrix} is not used again, its {outdated} differs: the texts are encoded anew")

    if not any(sentences):
        raise ValueError(f"none of {len(items)} items has a text in {texts.folder}: check text_fields and the item ids")
    beside = names_beside([files.matrix.parent for files in places], texts.dataset)
    vectors = encode(sentences, encoding, beside, fit_on and sorted(set(fit_on) - {""}))
    with np.errstate(over="ignore"):  # the next line says it better
        vectors = vectors.astype(encoding.dtype)
    if not np.isfinite(vectors).all():
        raise ValueError(f"{encoding.encoder} gives values that {encoding.dtype} can't hold: set text_dtype to float32")
    libraries = {library: version(library) for library in LIBRARIES.get(encoding.encoder, MODEL_LIBRARIES)}
    places[-1].write(vectors, items, {**provenance, "versions": libraries})
    return places[-1].read(texts.items)


def vector_places(texts: ItemTexts, encoding: Encoding, text_dir: Optional[str]) -> list[VectorFiles]:
    """Where an encoder's vectors may lie: beside the data, and last where ours are stored; arguments as above."""
    storage = Path(text_dir) if text_dir else storage_folder(texts.folder, texts.dataset)
    folders = dict.fromkeys([texts.folder, storage])
    return [VectorFiles.named(folder, texts.dataset, encoding.file_name) for folder in folders]


def storage_folder(dataset_folder: Path, dataset: str) -> Path:
    """Where vectors are stored unless text_dir says: beside the data, else in the user's cache.

    Args:
        dataset_folder (Path): folder of the dataset.
        dataset (str): its name.

    Returns:
        Path: the dataset's folder where it may be written and is no part of an installed package.
    """
    installed = {"site-packages", "dist-packages"} & set(dataset_folder.resolve().parts)
    # The mode is asked too, because root may write into a folder that was made read-only on purpose.
    writable = os.access(dataset_folder, os.W_OK) and dataset_folder.stat().st_mode & 0o222
    if writable and not installed:
        return dataset_folder
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "recbole-unirep" / dataset


def difference(files: VectorFiles, wanted: dict[str, Any]) -> Optional[str]:
    """What keeps stored vectors of ours from being used again.

    Args:
        files (VectorFiles): the stored pair.
        wanted (dict): what their record must hold.

    Returns:
        str, optional: the first key of the record that differs; None where they may be used.
    """
    record = files.read_record()
    for key, value in wanted.items():
        if record.get(key) != value:
            return key
    return None if files.is_intact() else "vectors_sha256"


def encode(
    sentences: Sequence[str], encoding: Encoding, beside: Sequence[str], fit_on: Optional[Sequence[str]] = None
) -> np.ndarray:
    """Encodes each distinct sentence once, in the order of their lengths; an empty one is a zero vector.

    Args:
        sentences (sequence of str): at least one of them is not empty.
        encoding (Encoding): the encoder and its options.
        beside (sequence of str): vectors that lie beside the data, for the error message.
        fit_on (sequence of str, optional): distinct ones that the lexical encoder learns from, in order; None is all.

    Returns:
        np.ndarray: float32, shape: [len(sentences), text_dim].

    Raises:
        ValueError: the encoder can't be loaded.
    """
    distinct = by_length(sentences)
    logger.info(f"{encoding.encoder} encodes {len(distinct)} distinct sentences of {len(sentences)} items")
    if encoding.encoder == LEXICAL:
        encoded = lexical_vectors(distinct, encoding.lexical_dim, fit_on)
    else:
        encoded = load_encoder(encoding.encoder, encoding.device, beside).encode(
            distinct, batch_size=encoding.batch_size, show_progress_bar=encoding.show_progress, convert_to_numpy=True
        )
    vectors = np.zeros((len(sentences), encoded.shape[1]), dtype=np.float32)
    row_of_sentence = {sentence: row for row, sentence in enumerate(distinct)}
    filled = [row for row, sentence in enumerate(sentences) if sentence]
    vectors[filled] = encoded[[row_of_sentence[sentences[row]] for row in filled]]
    return vectors


def load_encoder(name: str, device: Optional[str], beside: Sequence[str]):
    """Loads a sentence-transformers model, from the hub's cache alone where the hub can't be reached.

    Args:
        name (str): model name or local folder.
        device (str, optional): None is the library's own choice.
        beside (sequence of str): vectors that lie beside the data, for the error message.

    Returns:
        sentence_transformers.SentenceTransformer: the model.

    Raises:
        ValueError: there is no such folder, the hub doesn't know the model or can't be reached.
    """
    try:
        offline = not os.path.isdir(name) and hub_is_out_of_reach(name)
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(name, device=device, local_files_only=offline)
    except Exception as error:  # the hub, its HTTP client, transformers and torch each raise their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        advice = [f"--text_encoder={other} (vectors beside the data)" for other in beside if other != LEXICAL]
        raise ValueError(
            f"text_encoder {name} can't be loaded ({reason}): "
            f"use {', '.join(advice + [f'--text_encoder={LEXICAL}'])}, or a local model folder"
        ) from error


def hub_is_out_of_reach(name: str) -> bool:
    """Asks the hub for a model once; sentence-transformers itself retries for over a minute.

    Args:
        name (str): model name, with or without its organization.

    Returns:
        bool: True where the hub doesn't answer and the model lies in its cache.

    Raises:
        ConnectionError: the hub doesn't answer and the cache lacks the model.
        FileNotFoundError: the hub answers that there is no such model.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.utils import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    repositories = [name] if "/" in name else [f"sentence-transformers/{name}", name]
    for repository in repositories:
        try:
            HfApi().model_info(repository, timeout=HUB_TIMEOUT)
        except RepositoryNotFoundError:
            continue
        except HFValidationError as error:
            raise FileNotFoundError("no such folder, and no name that a model on the hub could have") from error
        except HfHubHTTPError:  # another answer: what it means for this model, sentence-transformers will say
            return False
        except Exception as error:  # whatever its HTTP client raises; which client that is has changed
            cache = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
            # Without its modules.json a model would be loaded with mean pooling: another encoder, silently.
            if any(try_to_load_from_cache(cached, "modules.json", cache_dir=cache) for cached in repositories):
                return True
            raise ConnectionError(f"the Hugging Face hub can't be reached: {error}") from error
        return False
    raise FileNotFoundError("the Hugging Face hub has no such model, or hides it from you")


def folder_fingerprint(folder: Path) -> str:
    """SHA-256 over the names, sizes and times of a folder's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

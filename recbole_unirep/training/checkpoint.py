"""recbole_unirep.training.checkpoint: checkpoints of tensors and plain values, written atomically.

RecBole pickles its Config into every checkpoint, which torch >= 2.6 refuses to load (RecBole issues 2212, 2215). Our
checkpoints end with their own SHA-256, because torch itself does not detect a flipped bit.
"""

import pickle
import random

import numpy as np
import scipy.sparse
import torch

from recbole_unirep import parallel
from recbole_unirep.files.sealed import is_damaged, seal
from recbole_unirep.files.whole import whole

REMEDY = "restore it or train again"


def save(state, path):
    """Writes a checkpoint to a temporary file and moves it into place; if that fails, the old one stays intact.

    With several processes, only the main one writes.

    Args:
        state (dict): tensors and plain values.
        path (pathlib.Path): the file.

    Raises:
        OSError: the file cannot be written.
    """
    if not parallel.is_main():
        return
    with whole(path) as partial:
        with open(partial, "wb") as file:
            writer = _Writer(file)
            try:
                torch.save(state, writer)
            except RuntimeError:  # torch hides the system's error behind a message about a file position
                raise writer.error or OSError("torch could not write it") from None
        seal(partial)


def load(path, device):
    """Reads a checkpoint that `save` wrote. Loading never runs code.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, or holds other objects than tensors and plain values.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: the run was stopped before its first epoch ended")
    if is_damaged(path):
        raise ValueError(f"checkpoint {path} is not the file that was written (sha256 differs): {REMEDY}")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"checkpoint {path} holds more than tensors and plain values and is not loaded (UnpicklingError): {REMEDY}"
        ) from error
    except Exception as error:
        raise ValueError(f"checkpoint {path} cannot be read ({type(error).__name__}): {REMEDY}") from error
    if not isinstance(state, dict):
        raise ValueError(f"checkpoint {path} holds a {type(state).__name__}, not a dict: {REMEDY}")
    return state


def load_weights(model, path, device):
    """Loads the weights of a checkpoint into a model.

    Args:
        model (recbole AbstractRecommender): built from the same config.
        path (pathlib.Path): model.pt or last.pt of a run.
        device (torch.device): device of the loaded tensors.

    Returns:
        dict: the checkpoint.

    Raises:
        ValueError: the checkpoint is damaged, or belongs to a different model.
    """
    state = load(path, device)
    try:
        model.load_state_dict(state["state_dict"])
        model.load_other_parameter(restore(state["other_parameter"], device))
    except (KeyError, RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"checkpoint {path} does not fit this {type(model).__name__} ({type(error).__name__}: {reason}): {REMEDY}"
        ) from error
    return state


class _Writer:
    """A file that keeps the system's error, which torch discards."""

    def __init__(self, file):
        self.file, self.error = file, None

    def write(self, part):
        try:
            return self.file.write(part)
        except OSError as error:
            self.error = error
            raise

    def flush(self):
        self.file.flush()


def random_state(loader):
    """Returns the state of every random generator used in training, as plain values.

    Args:
        loader: the training data; RecBole's loaders have their own generator.

    Returns:
        dict: argument of `set_random_state`.
    """
    numpy_state = np.random.get_state()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": [numpy_state[0], torch.from_numpy(numpy_state[1].astype(np.int64)), *numpy_state[2:]],
        "python": random.getstate(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "loader": [generator.get_state() for generator in _generators(loader)],
    }
    return state


def set_random_state(state, loader):
    """Restores every random generator to the state that `random_state` returned."""
    torch.set_rng_state(state["torch"].cpu())
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    if state["cuda"]:
        torch.cuda.set_rng_state_all([part.cpu() for part in state["cuda"]])
    for generator, saved in zip(_generators(loader), state["loader"]):
        generator.set_state(saved.cpu())


def _generators(loader):
    """Returns the generators of a RecBole loader; the loader of a knowledge graph model contains two loaders."""
    loaders = [loader, *(getattr(loader, name, None) for name in ("general_dataloader", "kg_dataloader"))]
    return [part.generator for part in loaders if isinstance(getattr(part, "generator", None), torch.Generator)]


def plain(value):
    """Converts RecBole's `other_parameter` values (arrays, sparse matrices) to tensors; `restore` is the inverse."""
    if isinstance(value, dict):  # modules, such as FDSA's feature_embed_layer, are in the state_dict already
        return {key: plain(part) for key, part in value.items() if not isinstance(part, torch.nn.Module)}
    if scipy.sparse.issparse(value):
        matrix = value.tocoo()
        parts = [torch.from_numpy(np.asarray(part)) for part in (matrix.row, matrix.col, matrix.data)]
        return {"sparse": value.format, "shape": list(value.shape), "parts": parts}
    if isinstance(value, np.ndarray):
        return {"array": torch.from_numpy(value)}
    return value


def restore(value, device):
    """Inverse of `plain`."""
    if not isinstance(value, dict):
        return value.to(device) if isinstance(value, torch.Tensor) else value
    if "sparse" in value:
        row, column, data = (part.cpu().numpy() for part in value["parts"])
        return scipy.sparse.coo_matrix((data, (row, column)), shape=value["shape"]).asformat(value["sparse"])
    if "array" in value:
        return value["array"].cpu().numpy()
    return {key: restore(part, device) for key, part in value.items()}

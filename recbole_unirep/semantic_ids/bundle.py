"""recbole_unirep.semantic_ids.bundle: semantic IDs and their tokenizer, for other machines and for new items."""

from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load, save

from recbole_unirep.semantic_ids.ids import SemanticIds, read_file, read_record
from recbole_unirep.tokenizer import make_tokenizer, tokenizer_names
from recbole_unirep.version import __version__

WEIGHTS = "tokenizer.safetensors"


class Bundle(NamedTuple):
    """Contents of a bundle.

    Attributes:
        semantic_ids (SemanticIds): of the catalogue.
        tokenizer (SemanticTokenizer or AssignedTokenizer): fitted.
        record (dict): provenance: tokenizer, settings, vectors, collisions, ...
    """

    semantic_ids: SemanticIds
    tokenizer: Any
    record: dict


def save_bundle(folder: Path, semantic_ids: SemanticIds, tokenizer: Any, settings: dict, record: dict) -> None:
    """Writes a bundle atomically.

    Args:
        folder (Path): does not exist yet.
        semantic_ids (SemanticIds): of the catalogue.
        tokenizer (SemanticTokenizer or AssignedTokenizer): fitted.
        settings (dict): keys of the tokenizer, and text_dim.
        record (dict): provenance: vectors, collisions, ...

    Raises:
        FileExistsError: the folder exists.
    """
    weights = {name: tensor.contiguous() for name, tensor in tokenizer.state_dict().items()}
    record = {
        "made_by": f"recbole-unirep {__version__}",
        "tokenizer": type(tokenizer).__name__,
        "settings": settings,
        **record,
    }
    semantic_ids.save(folder, record, {WEIGHTS: save(weights)})


def load_bundle(folder: Path) -> Bundle:
    """Reads a bundle. Loading never runs code.

    Raises:
        FileNotFoundError: the folder holds no bundle, or a file of the bundle is missing.
        ValueError: a file was changed, or no installed package has the bundle's tokenizer.
    """
    record = read_record(folder)
    name, settings = record.get("tokenizer"), record.get("settings")
    if name not in tokenizer_names() or not isinstance(settings, dict):
        raise ValueError(
            f"{folder} was made by tokenizer {name!r}, which is not known: known are {', '.join(tokenizer_names())}"
        )
    try:
        tokenizer = make_tokenizer(name, settings, settings.get("text_dim"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder} has settings that {name} does not accept ({error}): make the bundle again"
        ) from error
    try:
        tokenizer.load_state_dict(load(read_file(folder, record, WEIGHTS)))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{Path(folder) / WEIGHTS} does not fit tokenizer {name} ({reason}): make the bundle again"
        ) from error
    return Bundle(SemanticIds.load(folder), tokenizer.eval(), record)

"""recbole_unirep.semantic_ids.frozen_codes: frozen codes, of a tokenizer fitted before training or of a bundle.

A run that fits a tokenizer keeps it in its folder as a bundle, `tokenizer/`, and reads it back from there. The weights
of a model are tied to the codes that it was trained with, and k-means may give other codes on another machine.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional

from recbole_unirep import parallel
from recbole_unirep.runs.folder import FITTED
from recbole_unirep.semantic_ids.bundle import load_bundle, save_bundle
from recbole_unirep.semantic_ids.catalogue import TEXT_SETTINGS, collaborative_graph, item_tokens, load_catalogue
from recbole_unirep.semantic_ids.collisions import catalogue_codes, resolve
from recbole_unirep.semantic_ids.fitting import FittedCodes, assign_codes, fit_codes
from recbole_unirep.semantic_ids.ids import SemanticIds, is_numbered, read_record
from recbole_unirep.settings.with_keys import with_keys
from recbole_unirep.tokenizer import is_collaborative, tokenizer_class
from recbole_unirep.tokenizer.base import shipped_defaults

KEPT_IN = "kept_tokenizers"  # a key that no yaml declares, so that no user can set it: folder of the run that is read
UNKNOWN = "items_without_vector"  # key in the record of a run's bundle


class FrozenCodes(NamedTuple):
    """Codes that training does not change.

    Attributes:
        codes (Tensor): one row per item, row 0 pads and holds -1, shape: [n_items, L], int64.
        codebook_sizes (list of int): codes that each level may choose from, shape: [L].
        source (str or None): name of the vectors behind the codes, None if the tokenizer reads none.
        is_known (Tensor): False where an item's vector is zero, so that its codes mean nothing; True for all items of
            a bundle, shape: [n_items], bool.
        is_appended (bool): whether the last level numbers the items that share an ID (collisions 'append').
        fitted (FittedCodes or None): the tokenizer behind the codes, None if they come from a bundle of the user.
    """

    codes: torch.Tensor
    codebook_sizes: list
    source: str | None
    is_known: torch.Tensor
    is_appended: bool
    fitted: FittedCodes | None


def has_frozen_codes(config):
    """Whether the config asks for frozen codes: from a bundle, or by a tokenizer that is not trained jointly."""
    return bool(config["semantic_ids"]) or not tokenizer_class(config["tokenizer"]).is_trained


def frozen_codes(config, dataset) -> FrozenCodes:
    """Codes of a dataset's items by the tokenizer that the config names, or from a bundle.

    Args:
        config (Config): ours: tokenizer and its keys, semantic_ids, collisions; of a run that is read back by `of_run`.
        dataset (Dataset): RecBole's, the training part.

    Returns:
        FrozenCodes: of all items; the tokenizer is not fitted on cold items.

    Raises:
        ValueError: the bundle lacks items or was fitted on cold items too, or an option does not fit the tokenizer.
        FileNotFoundError: the bundle is missing.
    """
    if not config["semantic_ids"]:
        return of_fitted(fit_tokenizer(config, dataset), dataset, config["collisions"] == "append")
    if config["split"] == "cold_items":
        raise ValueError(
            f"semantic_ids={config['semantic_ids']} were learned from cold items too: use --tokenizer=NAME with "
            f"split=cold_items, which is fitted on the warm ones"
        )
    return _of_bundle(config["semantic_ids"], item_tokens(dataset), config["collisions"])


def of_fitted(fitted, dataset, is_appended) -> FrozenCodes:
    """Frozen codes of a fitted tokenizer.

    Args:
        fitted (FittedCodes): the tokenizer.
        dataset (Dataset): RecBole's, whose items get the codes.
        is_appended (bool): see `FrozenCodes`.
    """
    items, unknown = item_tokens(dataset), set(fitted.record[UNKNOWN])
    is_known = torch.tensor([item not in unknown for item in items])
    source = " + ".join(fitted.record.get("vectors", ())) or None
    codes, sizes = codes_of(fitted, items), fitted.semantic_ids.codebook_sizes
    return FrozenCodes(_padded(codes), sizes, source, functional.pad(is_known, (1, 0)), is_appended, fitted)


def _of_bundle(folder, items, collisions):
    semantic_ids, record = SemanticIds.load(folder), read_record(folder)
    codes = torch.from_numpy(_rows_of(semantic_ids, items, f"semantic_ids={folder}"))
    sizes, is_appended = semantic_ids.codebook_sizes, is_numbered(record)
    if len(codes.unique(dim=0)) < len(codes):  # unique IDs leave nothing to resolve
        resolved = resolve(collisions, codes, items, None)
        is_appended = is_appended or resolved.shape[1] > len(sizes)
        sizes = [*sizes, *(resolved[:, len(sizes) :].amax(dim=0) + 1).tolist()]
        codes = resolved
    is_known = functional.pad(torch.ones(len(codes), dtype=torch.bool), (1, 0))
    return FrozenCodes(
        _padded(codes), sizes, " + ".join(record.get("vectors", ())) or None, is_known, is_appended, None
    )


def fit_tokenizer(config, dataset) -> FittedCodes:
    """Fits the tokenizer that the config names on the items of training, or reads the one that the run has kept.

    Arguments as `frozen_codes`.

    Raises:
        ValueError: the run has kept another tokenizer, or the same with other settings.
    """
    if not has_kept(config):
        return _fit(config, dataset)
    fitted = load_fitted(config, FITTED)
    text = fitted.record.get("text", {})
    kept = {"tokenizer": type(fitted.tokenizer).__name__, "collisions": fitted.record["collisions"]["policy"]}
    kept.update({**fitted.settings, **text})
    for key in ("tokenizer", "collisions", *shipped_defaults(config["tokenizer"]), *text):
        asked, found = config[key], kept.get(key)
        if (list(asked) if isinstance(asked, tuple) else asked) != found:
            raise ValueError(
                f"{key}={asked} is asked for, {Path(config[KEPT_IN]) / FITTED} was made with {found}: give the "
                f"settings of that run's config.yaml"
            )
    return fitted


def codes_by(tokenizer, config, dataset) -> torch.Tensor:
    """Codes that a fitted tokenizer gives the items by their present vectors or columns, int64, shape: [N, L]."""
    catalogue = _catalogue(config, dataset)
    return catalogue_codes(tokenizer, catalogue.known, catalogue.items, config["collisions"]).resolved


def _catalogue(config, dataset):
    name = config["tokenizer"]
    further = collaborative_graph(config, dataset) if is_collaborative(name) else []
    return load_catalogue(config, dataset, name, further)


def _fit(config, dataset):
    catalogue = _catalogue(config, dataset)
    fitted = fit_codes(config["tokenizer"], config, catalogue, config["collisions"])
    is_known, text = torch.ones(len(catalogue.items), dtype=torch.bool), {}
    if isinstance(catalogue.known, torch.Tensor):
        is_known = catalogue.known.any(dim=-1)
        text = {"text": {key: config[key] for key in TEXT_SETTINGS}}
    fitted = fitted._replace(record={**fitted.record, **text})
    return _recorded(fitted, is_known, dataset, config["collisions"])


def fitted_codes(tokenizer, known, is_known, dataset, collisions, settings, record) -> FittedCodes:
    """Codes of a dataset's items by a tokenizer that is fitted already.

    Args:
        tokenizer (SemanticTokenizer or AssignedTokenizer): fitted.
        known (Tensor or Items): vectors or columns of the items, as the tokenizer reads them.
        is_known (Tensor): False where an item's vector is zero, shape: [N], bool.
        dataset (Dataset): RecBole's, with these items.
        collisions (str): a key of POLICIES.
        settings, record: see `FittedCodes`.
    """
    fitted = assign_codes(tokenizer, known, item_tokens(dataset), collisions, settings, record)
    return _recorded(fitted, is_known, dataset, collisions)


def _recorded(fitted, is_known, dataset, collisions):
    """FittedCodes with the record that a run keeps."""
    record = {
        "source": dataset.dataset_name,
        "dataset": dataset.dataset_name,
        **fitted.record,
        "collisions": {"policy": collisions},
        UNKNOWN: [item for item, is_so in zip(fitted.semantic_ids.items, is_known.tolist()) if not is_so],
    }
    return fitted._replace(record=record)


def of_run(config, folder):
    """A copy of a config that uses the tokenizers kept by a run.

    Args:
        config (Config): ours.
        folder (str, Path or None): folder of the run that is read back or resumed; None for a new run.
    """
    return with_keys(config, **{KEPT_IN: None if folder is None else str(folder)})


def has_kept(config, name=FITTED):
    """True if the config belongs to a run that has kept a tokenizer under this name."""
    folder = config[KEPT_IN]
    return folder is not None and (Path(folder) / name).is_dir()


def load_fitted(config, name) -> FittedCodes:
    """The tokenizer and codes that a run has kept.

    Args:
        config (Config): ours, of a run that has kept them, see `of_run` and `has_kept`.
        name (str): folder within the run.

    Raises:
        ValueError: a file of the bundle was changed after it was written.
        FileNotFoundError: a file of the bundle is missing.
    """
    semantic_ids, tokenizer, record = load_bundle(Path(config[KEPT_IN]) / name)
    return FittedCodes(semantic_ids, tokenizer, record["settings"], record, None)


def keep_fitted(fitted, folder):
    """Saves the tokenizers behind a model in its run's folder.

    Args:
        fitted (dict[str, FittedCodes or None]): by the folder's name, see `BuiltOnTokenizers.take_fitted`.
        folder (Path): folder of the run.
    """
    for name, codes in fitted.items():
        if codes is not None and parallel.is_main() and not (folder / name).exists():
            save_bundle(folder / name, codes.semantic_ids, codes.tokenizer, codes.settings, codes.record)


def codes_of(fitted, items):
    """Codes of items by token, int64, shape: [N, L].

    Args:
        fitted (FittedCodes): the tokenizer and codes that a run has kept.
        items (list of str): item tokens, shape: [N].

    Raises:
        ValueError: the tokenizer has not seen some of the items.
    """
    return torch.from_numpy(_rows_of(fitted.semantic_ids, items, f"the {FITTED} of the run"))


def _rows_of(semantic_ids, items, name):
    missing = [item for item in items if item not in semantic_ids.row]
    if missing:
        raise ValueError(
            f"{name} lacks {len(missing)} of {len(items)} items, {missing[0]!r} first: make it of this dataset by "
            f"unirep tokenize"
        )
    return semantic_ids.codes[[semantic_ids.row[item] for item in items]]


def _padded(codes):
    """Codes [N, L] with a row of -1 before them, for padding."""
    return functional.pad(codes, (0, 0, 1, 0), value=-1)

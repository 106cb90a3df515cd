"""recbole_unirep.semantic_ids.frozen_codes: codes that stand still, of a tokenizer fitted beforehand or a bundle.

A run whose tokenizer was fitted leaves it in its folder as a bundle, `tokenizer/`, and reads it from there: a k-means
on another machine may end elsewhere, and a model's weights mean the codes that it was trained with.
"""

from pathlib import Path
from typing import Any, NamedTuple, Optional

import torch
from torch.nn import functional

from recbole_unirep import parallel
from recbole_unirep.semantic_ids.bundle import load_bundle, save_bundle
from recbole_unirep.semantic_ids.catalogue import GRAPH, TEXT_SETTINGS, graph, item_tokens, load_catalogue
from recbole_unirep.semantic_ids.collisions import catalogue_codes, resolve
from recbole_unirep.semantic_ids.ids import SemanticIds, is_numbered, read_record
from recbole_unirep.settings.with_keys import with_keys
from recbole_unirep.tokenizer import is_collaborative, make_tokenizer, reads_vectors, tokenizer_class
from recbole_unirep.tokenizer.base import shipped_defaults

FITTED = "tokenizer"  # a run's folder of it
KEPT_IN = "kept_tokenizers"  # a key that no yaml declares, so that no user can set it: folder of the run that is read
UNKNOWN = "items_without_vector"  # in the record of such a bundle


class FittedCodes(NamedTuple):
    """A tokenizer fitted on a dataset's items, and their codes; what a bundle is made of.

    Attributes:
        semantic_ids (SemanticIds): of the items.
        tokenizer (SemanticTokenizer or AssignedTokenizer): fitted.
        settings (dict): keys of the tokenizer, and text_dim where it reads vectors.
        record (dict): of what they were made; among it `vectors`, what the vectors are made of, for a tokenizer that
            reads them, and UNKNOWN, items whose vector is zero.
    """

    semantic_ids: SemanticIds
    tokenizer: Any
    settings: dict
    record: dict

    def codes_of(self, items):
        """Codes of items by token, int64, shape: [N, L].

        Raises:
            ValueError: there are items that it has not seen.
        """
        return torch.from_numpy(_rows_of(self.semantic_ids, items, f"the {FITTED} of the run"))


class FixedCodes(NamedTuple):
    """Codes that stand still.

    Attributes:
        codes (Tensor): a row of -1 for padding, then one an item, shape: [n_items, L], int64.
        codebook_sizes (list of int): codes that each level may choose from, shape: [L].
        source (str or None): the vectors behind them, None where there are none.
        is_known (Tensor): False where an item's vector is zero and its codes say nothing; items of a bundle count as
            known, shape: [n_items], bool.
        is_appended (bool): whether the last level numbers the items of an ID (collisions 'append').
        fitted (FittedCodes or None): the tokenizer behind them, None where they are out of a bundle of the user's.
    """

    codes: torch.Tensor
    codebook_sizes: list
    source: Optional[str]
    is_known: torch.Tensor
    is_appended: bool
    fitted: Optional[FittedCodes]


def has_fixed_codes(config):
    """Whether the config's codes stand still: its tokenizer is not trained along, or they are out of a bundle."""
    return bool(config["semantic_ids"]) or not tokenizer_class(config["tokenizer"]).is_trained


def fixed_codes(config, dataset) -> FixedCodes:
    """Codes of a dataset's items by the tokenizer that the config names, or out of a bundle.

    Args:
        config (Config): ours: tokenizer and its keys, semantic_ids, collisions; of a run, see `of_run`.
        dataset (Dataset): RecBole's, the training part.

    Returns:
        FixedCodes: of the items, cold ones included; nothing is learned from those.

    Raises:
        ValueError: the bundle lacks items or was learned from cold ones, or an option does not fit the tokenizer.
        FileNotFoundError: there is no such bundle.
    """
    if not config["semantic_ids"]:
        return of_fitted(fit_tokenizer(config, dataset), dataset, config["collisions"] == "append")
    if config["split"] == "cold_items":
        raise ValueError(
            f"semantic_ids={config['semantic_ids']} were learned from cold items too: use --tokenizer=NAME with "
            f"split=cold_items, which is fitted on the warm ones"
        )
    return _of_bundle(config["semantic_ids"], item_tokens(dataset), config["collisions"])


def of_fitted(fitted, dataset, is_appended) -> FixedCodes:
    """Codes of a fitted tokenizer, arguments as the attributes of `FixedCodes`."""
    items, unknown = item_tokens(dataset), set(fitted.record[UNKNOWN])
    is_known = torch.tensor([item not in unknown for item in items])
    source = " + ".join(fitted.record.get("vectors", ())) or None
    codes, sizes = fitted.codes_of(items), fitted.semantic_ids.codebook_sizes
    return FixedCodes(_padded(codes), sizes, source, functional.pad(is_known, (1, 0)), is_appended, fitted)


def _of_bundle(folder, items, collisions):
    semantic_ids, record = SemanticIds.load(folder), read_record(folder)
    codes, sizes = (
        torch.from_numpy(_rows_of(semantic_ids, items, f"semantic_ids={folder}")),
        semantic_ids.codebook_sizes,
    )
    is_appended = is_numbered(record)
    if len(codes.unique(dim=0)) < len(codes):  # of a bundle whose IDs are unique nothing is left to resolve
        resolved = resolve(collisions, codes, items, None)
        is_appended = is_appended or resolved.shape[1] > len(sizes)
        sizes = [*sizes, *(resolved[:, len(sizes) :].amax(dim=0) + 1).tolist()]
        codes = resolved
    is_known = functional.pad(torch.ones(len(codes), dtype=torch.bool), (1, 0))
    return FixedCodes(_padded(codes), sizes, " + ".join(record.get("vectors", ())) or None, is_known, is_appended, None)


def fit_tokenizer(config, dataset) -> FittedCodes:
    """Fits the tokenizer that the config names on the items that take part in training, or reads what the run has kept.

    Arguments as `fixed_codes`.

    Raises:
        ValueError: a run has kept another tokenizer, or one of other settings.
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
    """Codes that a fitted tokenizer gives the items by what is known of them now, int64, shape: [N, L]."""
    catalogue = _catalogue(config, dataset)
    return catalogue_codes(tokenizer, catalogue.known, catalogue.items, config["collisions"]).resolved


def _catalogue(config, dataset):
    name, further = config["tokenizer"], []
    if is_collaborative(name):
        further = [(GRAPH, graph(dataset, config["collaborative_dim"], config["seed"]))]
    return load_catalogue(config, dataset, name, further)


def _fit(config, dataset):
    name, catalogue = config["tokenizer"], _catalogue(config, dataset)
    text_dim = catalogue.known.shape[1] if reads_vectors(name) else None
    learned = catalogue.to_learn_from()
    tokenizer = make_tokenizer(name, config, text_dim, len(learned) if text_dim else None).fit(learned)
    settings, record = {key: config[key] for key in shipped_defaults(name)}, {"columns": catalogue.vectors}
    is_known = torch.ones(len(catalogue.items), dtype=torch.bool)
    if text_dim:
        settings["text_dim"], is_known = text_dim, catalogue.known.any(dim=-1)
        record = {"vectors": catalogue.vectors, "text": {key: config[key] for key in TEXT_SETTINGS}}
    return fitted_codes(tokenizer, catalogue.known, is_known, dataset, config["collisions"], settings, record)


def fitted_codes(tokenizer, known, is_known, dataset, collisions, settings, record) -> FittedCodes:
    """Codes of a dataset's items by a tokenizer that was fitted.

    Args:
        tokenizer (SemanticTokenizer or AssignedTokenizer): fitted.
        known (Tensor or Items): what it reads of the items.
        is_known (Tensor): False where an item's vector is zero, shape: [N], bool.
        dataset (Dataset): RecBole's, whose items they are.
        collisions (str): a key of POLICIES.
        settings, record: see `FittedCodes`.
    """
    items = item_tokens(dataset)
    codes = catalogue_codes(tokenizer, known, items, collisions)
    record = {
        "source": dataset.dataset_name,
        "dataset": dataset.dataset_name,
        **record,
        "collisions": {"policy": collisions},
        UNKNOWN: [item for item, is_so in zip(items, is_known.tolist()) if not is_so],
    }
    return FittedCodes(SemanticIds(items, codes.resolved.numpy(), codes.codebook_sizes), tokenizer, settings, record)


def of_run(config, folder):
    """A config whose tokenizers are those that a run has kept; the given one is not changed.

    Args:
        config (Config): ours.
        folder (str, Path or None): of the run that is read back or continued; None for a new one.
    """
    return with_keys(config, **{KEPT_IN: None if folder is None else str(folder)})


def has_kept(config, name=FITTED):
    """Whether the config is that of a run which has kept a tokenizer under this name."""
    folder = config[KEPT_IN]
    return folder is not None and (Path(folder) / name).is_dir()


def load_fitted(config, name) -> FittedCodes:
    """What a run has kept of its tokenizer.

    Args:
        config (Config): ours, of a run that has kept it, see `of_run` and `has_kept`.
        name (str): under which.

    Raises:
        ValueError: a file of the bundle is not the one that was written.
        FileNotFoundError: a file of it is missing.
    """
    semantic_ids, tokenizer, record = load_bundle(Path(config[KEPT_IN]) / name)
    return FittedCodes(semantic_ids, tokenizer, record["settings"], record)


def keep_fitted(fitted, folder):
    """Leaves the tokenizers that a model was built over in its run's folder.

    Args:
        fitted (dict[str, FittedCodes or None]): by the folder's name, see `BuiltOnTokenizers.take_fitted`.
        folder (Path): the run's.
    """
    for name, codes in fitted.items():
        if codes is not None and parallel.is_main() and not (folder / name).exists():
            save_bundle(folder / name, *codes)


def _rows_of(semantic_ids, items, name):
    missing = [item for item in items if item not in semantic_ids.row]
    if missing:
        raise ValueError(
            f"{name} lacks {len(missing)} of {len(items)} items, {missing[0]!r} first: make it of this dataset by "
            f"unirep tokenize"
        )
    return semantic_ids.codes[[semantic_ids.row[item] for item in items]]


def _padded(codes):
    """Codes [N, L] behind a row of -1."""
    return functional.pad(codes, (0, 0, 1, 0), value=-1)

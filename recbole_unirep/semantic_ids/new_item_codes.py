"""recbole_unirep.semantic_ids.new_item_codes: frozen codes of items that a finished run has not seen.

A checkpoint holds its items' codes, not the tokenizer that gave them. The tokenizer comes from a bundle, of the user or
of the run, or is fitted again if the run has kept none. It must reproduce the checkpoint's codes before it encodes new
items.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from recbole_unirep.semantic_ids.bundle import load_bundle
from recbole_unirep.semantic_ids.catalogue import item_tokens, pad_collaborative
from recbole_unirep.semantic_ids.frozen_codes import codes_by, codes_of, fit_tokenizer
from recbole_unirep.tokenizer import TOKENIZERS, reads_vectors

REMEDY = "make a bundle with unirep tokenize and train with --semantic_ids=BUNDLE"
ROUNDING = 0.01  # fraction of items that may be so near to two codes that another processor chooses the other one


class FrozenTokenizer(NamedTuple):
    """The tokenizer that gave a run its codes.

    Attributes:
        tokenizer (SemanticTokenizer): fitted.
        settings (dict): keys of the tokenizer, and text_dim.
        text (dict or None): keys of the item text behind its vectors, if they differ from the run's; None if the
            vectors were files of the user.
        vectors (list of str): sources of its vectors.
    """

    tokenizer: Any
    settings: dict
    text: dict
    vectors: list

    @property
    def sources(self):
        """Sources of new items' vectors: all but the collaborative source, which is last."""
        return self.vectors[:-1] if self.settings.get("collaborative_dim") else self.vectors

    def encode(self, vectors) -> Tensor:
        """Codes of new items by their text vectors [M, D], int64, shape: [M, L].

        Raises:
            ValueError: the vectors do not have the size that the tokenizer reads.
        """
        return self.tokenizer.encode(pad_collaborative(vectors, self.settings)).cpu()


def check_tokenizer(config):
    """Raises ValueError if the run's tokenizer can't encode new items, or its model can't read their codes."""
    name = load_bundle(config["semantic_ids"]).record["tokenizer"] if config["semantic_ids"] else config["tokenizer"]
    if not reads_vectors(name):
        able = ", ".join(filter(reads_vectors, TOKENIZERS))
        raise ValueError(
            f"tokenizer={name} of this run reads no text vectors, so it has no codes for new items: train with one "
            f"that reads them ({able})"
        )
    if config["code_pieces"] != "code":
        raise ValueError(
            f"code_pieces={config['code_pieces']} of this run are pieces of the trained items' IDs, which new IDs may "
            f"not have: train with code_pieces=code"
        )


def frozen_tokenizer(config, dataset, codes) -> FrozenTokenizer:
    """The tokenizer behind a run's codes, checked against them.

    Args:
        config (Config): the run's.
        dataset (Dataset): the training part.
        codes (Tensor): from the checkpoint, row 0 pads, shape: [n_items, L], int64.

    Raises:
        ValueError: the tokenizer no longer gives the run's items their codes, or the items' text has changed.
        FileNotFoundError: the bundle is missing.
    """
    if config["semantic_ids"]:
        folder, bundle = config["semantic_ids"], load_bundle(config["semantic_ids"])
        row = bundle.semantic_ids.row
        now = torch.from_numpy(bundle.semantic_ids.codes[[row[item] for item in item_tokens(dataset)]])
        _check_codes(now, codes, f"bundle {folder}", "restore the bundle that the run was trained with")
        record = bundle.record
        return FrozenTokenizer(bundle.tokenizer, record["settings"], record.get("text"), record["vectors"])
    fitted = fit_tokenizer(config, dataset)
    kept = codes_of(fitted, item_tokens(dataset))
    _check_codes(kept, codes, f"tokenizer {config['tokenizer']} of the run", REMEDY)
    n_changed = int((codes_by(fitted.tokenizer, config, dataset) != kept).any(dim=1).sum())
    if n_changed > ROUNDING * len(kept):
        raise ValueError(
            f"{n_changed} of {len(kept)} items of the run have other text vectors by now, by their codes: restore the "
            f"texts and the encoder that the run was trained with"
        )
    return FrozenTokenizer(fitted.tokenizer, fitted.settings, {}, fitted.record["vectors"])


def with_unused_levels(codes, n_levels) -> Tensor:
    """Codes [M, L] padded with unused levels: new items get no number to resolve collisions."""
    return functional.pad(codes, (0, n_levels - codes.shape[1]), value=-1)


def _check_codes(now, codes, source, remedy):
    kept = codes[1:, : now.shape[1]].cpu()
    n_changed = int((now.cpu() != kept).any(dim=1).sum())
    if n_changed:
        raise ValueError(
            f"{source} gives {n_changed} of {len(kept)} items of the run other codes than its checkpoint has, so those "
            f"of new items would mean something else: {remedy}"
        )

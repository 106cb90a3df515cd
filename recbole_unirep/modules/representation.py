"""recbole_unirep.modules.representation: which parts an item's embedding has (the paper's Table 5, and controls)."""

from typing import NamedTuple

import torch


class Representation(NamedTuple):
    """What an item's embedding is made of.

    Attributes:
        has_semantic (bool): whether it has a semantic part.
        has_codes (bool): whether that part is quantized.
        has_id (bool): whether it has an ID part.
    """

    has_semantic: bool
    has_codes: bool
    has_id: bool


REPRESENTATIONS = {
    "unified": Representation(True, True, True),
    "semantic": Representation(True, True, False),
    "id": Representation(False, False, True),
    "text": Representation(True, False, False),
    "text_id": Representation(True, False, True),
}


class EncodedItems(NamedTuple):
    """Rows encoded for one step.

    Attributes:
        items (Tensor): item ids in ascending order, padding left out, shape: [M], int64.
        rows (Tensor): their embeddings, shape: [M, H].
        latent (Tensor or None): the encoder's output, None where codes are frozen, shape: [M, code_dim].
        semantic (Tensor or None): their semantic embeddings, shape: [M, code_dim].
        codes (Tensor or None): shape: [M, n_levels], int64, where the representation has codes.
    """

    items: torch.Tensor
    rows: torch.Tensor
    latent: torch.Tensor
    semantic: torch.Tensor
    codes: torch.Tensor

"""recbole_unirep.modules.representation: the parts of an item's embedding (Table 5 of the paper, and controls)."""

from typing import NamedTuple

import torch

from recbole_unirep.tokenizer.base import TrainedTokenizer


class Representation(NamedTuple):
    """Which parts an item's embedding has.

    Attributes:
        has_semantic (bool): whether there is a semantic part.
        has_codes (bool): whether that part is quantized.
        has_id (bool): whether there is an ID part.
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


class ItemRows(NamedTuple):
    """Rows of an item table.

    Attributes:
        n_items (int): number of item ids, padding included.
        n_training_items (int): number of item ids that are trained, padding included; later ones are cold.
        n_special (int): further rows for special tokens such as BERT4Rec's mask: learned, without text.
    """

    n_items: int
    n_training_items: int
    n_special: int


class TextPart(NamedTuple):
    """Semantic part that a tokenizer, trained jointly with the recommender, makes of the items' text.

    Attributes:
        tokenizer (TrainedTokenizer): gives semantic embeddings of text; without quantizer they are not quantized.
        vectors (Tensor): item text embeddings, row 0 pads, shape: [n_items, text_dim], float32.
        gradient_share (float): if a step encodes the whole table, the fraction of the items it does not read that pass
            gradients to the encoder, above 0 and at most 1.
        trains_on_codes (bool): whether training reads quantized vectors, or else the encoder's output.
    """

    tokenizer: TrainedTokenizer
    vectors: torch.Tensor
    gradient_share: float
    trains_on_codes: bool = True


class IdPart(NamedTuple):
    """ID part: a learned row per item.

    Attributes:
        dim (int): size of a row.
        cold_id (str): how a cold item's row is set, a name in COLD_IDS.
        dropout (float): probability that a training step reads zeros instead of an item's row.
    """

    dim: int
    cold_id: str
    dropout: float = 0.0


class EncodedItems(NamedTuple):
    """Rows encoded for one step.

    Attributes:
        items (Tensor): item ids in ascending order, padding left out, shape: [M], int64.
        rows (Tensor): their embeddings, shape: [M, H].
        latent (Tensor or None): the encoder's output, None for frozen codes, shape: [M, code_dim].
        semantic (Tensor or None): their semantic embeddings, shape: [M, code_dim].
        codes (Tensor or None): None where the representation has no codes, or training does not read them, shape:
            [M, n_levels], int64.
    """

    items: torch.Tensor
    rows: torch.Tensor
    latent: torch.Tensor
    semantic: torch.Tensor
    codes: torch.Tensor

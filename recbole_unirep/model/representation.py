"""recbole_unirep.model.representation: which parts an item's embedding has (the paper's Table 5, and controls)."""

from typing import NamedTuple

COLD_IDS = ("mean", "zero", "nearest", "untrained")


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

"""UniRep and the other recommenders of this package: one model per file; class and yaml file have the model's name."""

from recbole_unirep.model.actionpiece import ActionPiece
from recbole_unirep.model.backbone import OWN_BACKBONES
from recbole_unirep.model.eager import EAGER
from recbole_unirep.model.grpo import GRPO
from recbole_unirep.model.liger import LIGER
from recbole_unirep.model.mbgen import MBGen
from recbole_unirep.model.rpg import RPG
from recbole_unirep.model.textknn import TextKNN
from recbole_unirep.model.tiger import TIGER
from recbole_unirep.model.unirep import UniRep
from recbole_unirep.model.vqrec import VQRec

METHODS = {"UniRep": UniRep}
MODELS = {  # with others to compare them with
    **METHODS,
    "TIGER": TIGER,
    "GRPO": GRPO,
    "LIGER": LIGER,
    "ActionPiece": ActionPiece,
    "EAGER": EAGER,
    "RPG": RPG,
    "MBGen": MBGen,
    "VQRec": VQRec,
    **OWN_BACKBONES,
    "TextKNN": TextKNN,
}

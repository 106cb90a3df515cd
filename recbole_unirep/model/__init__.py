"""UniRep and the other recommenders of this package: one model a file, table key = class name = yaml file name."""

from recbole_unirep.model.unirep import UniRep

MODELS = {"UniRep": UniRep}

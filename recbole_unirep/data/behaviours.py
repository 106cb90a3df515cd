"""recbole_unirep.data.behaviours: the behaviour of each interaction, such as view, cart or purchase.

A column of the `.inter` file holds it. Each token is a behaviour; numbers, such as ratings, are cut into ranges.
"""

import numpy as np
from recbole.utils import FeatureSource, FeatureType

BEHAVIOUR = "behaviour_number"  # the added field of interactions: counts from 1, 0 pads
NUMBERS = (FeatureType.FLOAT,)


def add_behaviours(dataset):
    """Adds a token field BEHAVIOUR to the interactions if `behaviour_field` names a column.

    Args:
        dataset (recbole Dataset): changed in place; ids are assigned, the interactions are still a pandas table, whose
            numbers are as in the file.

    Raises:
        ValueError: the column is missing, is empty for some interactions, or does not fit `behaviour_cuts`.
    """
    config, table = dataset.config, dataset.inter_feat
    field, cuts = config["behaviour_field"], config["behaviour_cuts"]
    if not field:
        return
    if field not in table:
        raise ValueError(
            f"behaviour_field={field} is not a column of {config['dataset']}.inter: name the column that holds the "
            f"behaviour of each interaction"
        )
    if dataset.field2type[field] in NUMBERS:
        values = table[field].to_numpy()
        number, names = _ranges(field, values, cuts)
        number = np.where(np.isnan(values), -1, number)
    elif cuts is not None:
        raise ValueError(f"behaviour_cuts={cuts} needs numbers, {field} is a column of tokens: leave the cuts out")
    else:
        number, names = table[field].to_numpy() - 1, [str(name) for name in dataset.field2id_token[field][1:]]
    if (number < 0).any():
        raise ValueError(
            f"behaviour_field={field} is empty for {np.count_nonzero(number < 0)} interactions: fill it in, or remove "
            f"these interactions"
        )
    table[BEHAVIOUR] = 1 + number
    dataset.set_field_property(BEHAVIOUR, FeatureType.TOKEN, FeatureSource.INTERACTION, 1)
    dataset.field2id_token[BEHAVIOUR] = np.array(["[PAD]", *names])
    dataset.field2token_id[BEHAVIOUR] = {name: place for place, name in enumerate(["[PAD]", *names])}


def behaviours_of(table):
    """Behaviour number of each row of a table of interactions, shape: [n]; None if the table has no behaviours."""
    return table[BEHAVIOUR].to_numpy() if BEHAVIOUR in table else None


def _ranges(field, values, cuts):
    """Range number of each value, shape: [n], and the names of the ranges."""
    is_list = isinstance(cuts, (list, tuple)) and all(isinstance(cut, (int, float)) for cut in cuts)
    if not is_list or not cuts or list(cuts) != sorted(set(cuts)):
        raise ValueError(
            f"behaviour_cuts={cuts}: {field} is a column of numbers, which needs a list of rising cuts, such as [4]"
        )
    inner = [f"{one:g} to below {other:g}" for one, other in zip(cuts[:-1], cuts[1:])]
    return np.digitize(values, cuts), [f"below {cuts[0]:g}", *inner, f"{cuts[-1]:g} and more"]

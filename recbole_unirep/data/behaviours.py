"""recbole_unirep.data.behaviours: what each interaction was, such as a view, a cart or a purchase.

A column of the `.inter` file says it: a token is a behaviour, numbers are cut into ranges (ratings, say).
"""

import numpy as np
from recbole.utils import FeatureSource, FeatureType

BEHAVIOUR = "behaviour_number"  # the field that interactions get, 1 on; 0 pads
NUMBERS = (FeatureType.FLOAT,)


def add_behaviours(dataset):
    """Gives the interactions a token field BEHAVIOUR where the config names a column, `behaviour_field`.

    Args:
        dataset (recbole Dataset): numbered, its interactions still a table, their numbers as in the file; changed.

    Raises:
        ValueError: there is no such column, it holds nothing for some interactions, or it and `behaviour_cuts` do not
            go together.
    """
    config, table = dataset.config, dataset.inter_feat
    field, cuts = config["behaviour_field"], config["behaviour_cuts"]
    if not field:
        return
    if field not in table:
        raise ValueError(
            f"behaviour_field={field} is no column of {config['dataset']}.inter: name one that says what each "
            f"interaction was"
        )
    if dataset.field2type[field] in NUMBERS:
        values = table[field].to_numpy()
        number, names = _ranges(field, values, cuts)
        number = np.where(np.isnan(values), -1, number)
    elif cuts is not None:
        raise ValueError(f"behaviour_cuts={cuts} cut numbers, {field} is a column of tokens: leave them out")
    else:
        number, names = table[field].to_numpy() - 1, [str(name) for name in dataset.field2id_token[field][1:]]
    if (number < 0).any():
        raise ValueError(
            f"behaviour_field={field}: {np.count_nonzero(number < 0)} interactions have nothing in it: fill it in, or "
            f"remove them"
        )
    table[BEHAVIOUR] = 1 + number
    dataset.set_field_property(BEHAVIOUR, FeatureType.TOKEN, FeatureSource.INTERACTION, 1)
    dataset.field2id_token[BEHAVIOUR] = np.array(["[PAD]", *names])
    dataset.field2token_id[BEHAVIOUR] = {name: place for place, name in enumerate(["[PAD]", *names])}


def behaviours_of(table):
    """Numbers of the behaviours of a table of interactions, shape: [n]; None where they have none."""
    return table[BEHAVIOUR].to_numpy() if BEHAVIOUR in table else None


def _ranges(field, values, cuts):
    """Number of the range that each value is in, shape: [n], and the ranges' names."""
    is_list = isinstance(cuts, (list, tuple)) and all(isinstance(cut, (int, float)) for cut in cuts)
    if not is_list or not cuts or list(cuts) != sorted(set(cuts)):
        raise ValueError(
            f"behaviour_cuts={cuts}: {field} is a column of numbers, give rising ones that part them, such as [4]"
        )
    inner = [f"{one:g} to below {other:g}" for one, other in zip(cuts[:-1], cuts[1:])]
    return np.digitize(values, cuts), [f"below {cuts[0]:g}", *inner, f"{cuts[-1]:g} and more"]

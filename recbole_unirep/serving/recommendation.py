"""recbole_unirep.serving.recommendation: recommendations for one history and lookup of token ids; needs only numpy."""

import bisect
import difflib
from typing import NamedTuple

import numpy as np

NEIGHBOURS = 1000  # names before and after an unknown one that are searched for a close match


class Recommendation(NamedTuple):
    """The best items of one history.

    Attributes:
        user (str or None): user token; None if the history has no user.
        items (list of str): item tokens, best first.
        titles (list of str): "" if an item has none.
        scores (list of float): scores as in evaluation.
    """

    user: str | None
    items: list
    titles: list
    scores: list


def ids_of(names, known, what):
    """Returns the ids of item or user tokens.

    Args:
        names (iterable of str): tokens.
        known (mapping): id of each token; id 0 is padding, which counts as unknown.
        what (str): 'items', 'users' or 'candidates', for the error message.

    Returns:
        np.ndarray: ids, shape: [n], int64.

    Raises:
        ValueError: a token is unknown.
    """
    names = [str(name) for name in names]
    ids = np.array([known.get(name, 0) for name in names], dtype=np.int64)
    if (ids == 0).any():
        unknown = list(dict.fromkeys(names[place] for place in np.flatnonzero(ids == 0)))
        raise ValueError(
            f"{len(unknown)} of {len(set(names))} {what} are not among the run's {len(known) - 1}, the first is "
            f"'{unknown[0]}': {_suggestion(unknown[0], known)}"
        )
    return ids


def _suggestion(name, known):
    """Suggests the closest known name among alphabetical neighbours, or else the first known name."""
    names = sorted(str(token) for token, number in known.items() if number)
    place = bisect.bisect(names, name)
    near = difflib.get_close_matches(name, names[max(0, place - NEIGHBOURS) : place + NEIGHBOURS], n=1)
    return f"did you mean '{near[0]}'?" if near else f"a known one is '{names[0]}'"

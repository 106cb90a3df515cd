"""recbole_unirep.serving.recommendation: what is recommended to one history, and tokens as numbers; numpy alone."""

import bisect
import difflib
from typing import NamedTuple

import numpy as np

NEIGHBOURS = 1000  # known names on either side of an unknown one among which a near one is looked for


class Recommendation(NamedTuple):
    """The best items of one history.

    Attributes:
        user (str or None): token of the user; None where a history has none.
        items (list of str): item tokens, best first.
        titles (list of str): "" where the dataset has none.
        scores (list of float): what evaluation ranks by.
    """

    user: str | None
    items: list
    titles: list
    scores: list


def ids_of(names, known, what):
    """Numbers of items or users.

    Args:
        names (iterable of str): their tokens.
        known (mapping): number of each token; "[PAD]" has 0 and is nobody's.
        what (str): what they are, for the message.

    Returns:
        np.ndarray: shape: [n], int64.

    Raises:
        ValueError: some are unknown.
    """
    names = [str(name) for name in names]
    ids = np.array([known.get(name, 0) for name in names], dtype=np.int64)
    if (ids == 0).any():
        unknown = list(dict.fromkeys(names[place] for place in np.flatnonzero(ids == 0)))
        raise ValueError(
            f"{len(unknown)} of {len(set(names))} {what} are not among the run's {len(known) - 1}, the first is "
            f"'{unknown[0]}': {_near(unknown[0], known)}"
        )
    return ids


def _near(name, known):
    """What a name may have meant, looked for among its neighbours in alphabetical order."""
    names = sorted(str(token) for token, number in known.items() if number)
    place = bisect.bisect(names, name)
    near = difflib.get_close_matches(name, names[max(0, place - NEIGHBOURS) : place + NEIGHBOURS], n=1)
    return f"did you mean '{near[0]}'?" if near else f"known are such as '{names[0]}'"

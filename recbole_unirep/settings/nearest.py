"""recbole_unirep.settings.nearest: the end of an error about an unknown name, which suggests the closest known ones."""

import difflib


def near(name, names):
    """The closest known names.

    Args:
        name (str): the unknown name; upper and lower case count as the same.
        names (iterable of str): the known ones.

    Returns:
        list of str: at most three, the closest first; empty if none is close.
    """
    by_lower = {known.lower(): known for known in names}
    return [by_lower[lower] for lower in difflib.get_close_matches(str(name).lower(), by_lower, n=3)]


def nearest(name, names):
    """The end of an error's sentence: what the user may have meant.

    Args:
        name (str): the unknown name.
        names (iterable of str): the known ones.

    Returns:
        str: "did you mean 'SASRec'?", or all names if none is close.
    """
    return did_you_mean(near(name, names)) or "known are " + (", ".join(sorted(names)) or "none")


def did_you_mean(names):
    """The question that suggests names, empty without any."""
    return "did you mean " + " or ".join(f"'{name}'" for name in names) + "?" if names else ""

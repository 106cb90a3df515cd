"""Finds our yaml files of defaults: inside the package if installed, next to the package in a checkout."""

from pathlib import Path


def shipped_file(*parts):
    """Returns the path of one of our yaml files, existing or not, e.g. ``shipped_file("model", "UniRep.yaml")``.

    Raises:
        FileNotFoundError: the package was installed without its yaml files.
    """
    package = Path(__file__).parents[1]
    for properties in (package / "properties", package.parent / "properties"):
        if (properties / "overall.yaml").is_file():
            return properties.joinpath(*parts)
    raise FileNotFoundError(f"no properties/overall.yaml beside {package}: install recbole-unirep again")


def shipped_names(kind):
    """Returns the names that have one of our yaml files, e.g. all tokenizers.

    Args:
        kind (str): 'dataset', 'model', 'preset' or 'tokenizer'.

    Returns:
        list of str: the names in alphabetical order.
    """
    return sorted(path.stem for path in shipped_file(kind).glob("*.yaml"))

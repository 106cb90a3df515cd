"""Where our yaml files of defaults lie: beside the package when installed, in its parent folder in a checkout."""

from pathlib import Path


def shipped_file(*parts):
    """Path of one of our yaml files, which need not exist, e.g. ``shipped_file("model", "UniRep.yaml")``.

    Raises:
        FileNotFoundError: the package was installed without its yaml files.
    """
    package = Path(__file__).parents[1]
    for properties in (package / "properties", package.parent / "properties"):
        if (properties / "overall.yaml").is_file():
            return properties.joinpath(*parts)
    raise FileNotFoundError(f"no properties/overall.yaml beside {package}: install recbole-unirep again")


def shipped_names(kind):
    """Names that have a yaml of ours, e.g. every tokenizer's.

    Args:
        kind (str): 'dataset', 'model', 'preset' or 'tokenizer'.

    Returns:
        list of str: the names in alphabetical order.
    """
    return sorted(path.stem for path in shipped_file(kind).glob("*.yaml"))

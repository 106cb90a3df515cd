"""Finds and reads the yaml of a tokenizer, backbone or model of this or another package."""

import yaml

from recbole_unirep.settings.extensions import extension_names, extensions, find_extension
from recbole_unirep.settings.shipped import shipped_file, shipped_names

FOLDERS = {"tokenizer": "tokenizer", "backbone": "model", "model": "model"}  # in properties


def part_names(kind):
    """Names of all tokenizers, backbones or models that have a yaml, ours first (list of str).

    Args:
        kind (str): a key of FOLDERS.
    """
    return [*shipped_names(FOLDERS[kind]), *extension_names(kind)]


def part_file(kind, name):
    """Path of the yaml of a tokenizer, backbone or model; the file is missing if the name is unknown.

    Args:
        kind (str): a key of FOLDERS.
        name (str): name of the class.

    Raises:
        ValueError: several classes have that name.
        FileNotFoundError: the package of the class lacks its yaml.
    """
    own = shipped_file(FOLDERS[kind], f"{name}.yaml")
    extension = find_extension(kind, name, is_taken=own.is_file())
    if extension is None:
        return own
    file = extension.yaml_file
    if file is None or not file.is_file():
        raise FileNotFoundError(
            f"{extension} has no {file or extension.name + '.yaml'}: ship one beside module {extension.module} that "
            f"declares its keys (an empty one if it has none), or uninstall {extension.distribution}"
        )
    return file


def extension_files():
    """Existing yaml files of all extensions (list of Path)."""
    files = {extension.yaml_file for kind in FOLDERS for extension in extensions(kind)}
    return sorted(file for file in files if file is not None and file.is_file())


def read_keys(file, loader=yaml.SafeLoader):
    """Reads the keys of a yaml file.

    Args:
        file (Path): the file.
        loader (type): a loader of PyYAML.

    Raises:
        ValueError: the file is not valid yaml, or holds no keys.
        FileNotFoundError: the file is missing.
    """
    try:
        keys = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not valid yaml ({error}): repair it") from error
    if not isinstance(keys or {}, dict):
        raise ValueError(f"{file} holds no keys: write 'key: value' lines")
    return keys or {}

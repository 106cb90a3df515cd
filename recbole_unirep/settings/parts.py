"""The yaml of a tokenizer, a backbone or a model, one of ours or of another package: what declares its keys."""

import yaml

from recbole_unirep.settings.extensions import extension_names, extensions, find_extension
from recbole_unirep.settings.shipped import shipped_file, shipped_names

FOLDERS = {"tokenizer": "tokenizer", "backbone": "model", "model": "model"}  # under properties


def part_names(kind):
    """Names of all parts of a kind that have a yaml, ours first (list of str).

    Args:
        kind (str): a key of FOLDERS.
    """
    return [*shipped_names(FOLDERS[kind]), *extension_names(kind)]


def part_file(kind, name):
    """Path of the yaml of a part, which need not exist where nobody brings a part of that name.

    Args:
        kind (str): a key of FOLDERS.
        name (str): of the part.

    Raises:
        ValueError: the name belongs to several parts.
        FileNotFoundError: another package brings the part without its yaml.
    """
    own = shipped_file(FOLDERS[kind], f"{name}.yaml")
    extension = find_extension(kind, name, is_taken=own.is_file())
    if extension is None:
        return own
    file = extension.yaml_file
    if file is None or not file.is_file():
        raise FileNotFoundError(
            f"{extension} has no {file or extension.name + '.yaml'}: ship one beside module {extension.module} that "
            f"declares its keys (an empty one where it has none), or uninstall {extension.distribution}"
        )
    return file


def extension_files():
    """The yaml files of all parts of other packages, those that are there (list of Path)."""
    files = {extension.yaml_file for kind in FOLDERS for extension in extensions(kind)}
    return sorted(file for file in files if file is not None and file.is_file())


def read_keys(file, loader=yaml.SafeLoader):
    """Keys of a yaml file with their values.

    Args:
        file (Path): the file.
        loader (type): a loader of PyYAML.

    Raises:
        ValueError: the file is no yaml, or holds no keys.
        FileNotFoundError: there is no such file.
    """
    try:
        keys = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no yaml ({error}): repair it") from error
    if not isinstance(keys or {}, dict):
        raise ValueError(f"{file} holds no keys: write 'key: value' lines")
    return keys or {}

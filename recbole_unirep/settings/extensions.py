"""Extensions: tokenizers, backbones, models and text encoders of other packages, found by entry points.

A package names a class in its metadata, in a group of GROUPS. The class can then be used by that name like a class of
this package:

    [project.entry-points."recbole_unirep.tokenizers"]
    ItsName = "its_package.its_module:ItsName"

Entry point, class and yaml file have the same name. ``ItsName.yaml`` lies in the folder of the entry point's module. It
declares every key of the class with its default, and is a layer of the config like the files in properties. A text
encoder has no keys and no yaml. The names come from the metadata alone: a module is imported only when its class is
looked up by name.
"""

import functools
import importlib
import importlib.util
import re
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

GROUPS = {kind: f"recbole_unirep.{kind}s" for kind in ("tokenizer", "backbone", "model", "text_encoder")}


class Extension(NamedTuple):
    """A class of another package, not imported yet.

    Attributes:
        kind (str): a key of GROUPS.
        name (str): name of entry point, class and yaml file.
        module (str): dotted name of the module that holds the class.
        attribute (str): name of the class as the entry point gives it.
        distribution (str): name of the package.
        version (str): version of the package.
    """

    kind: str
    name: str
    module: str
    attribute: str
    distribution: str
    version: str

    def __str__(self):
        return f"{self.kind} '{self.name}' of {self.distribution} {self.version}"

    def load(self):
        """Imports the module and returns the class.

        Raises:
            ValueError: the import fails, or the module has no class of that name.
        """
        try:
            found = getattr(importlib.import_module(self.module), self.attribute)
        except Exception as error:  # a foreign module may raise anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"{self} can't be loaded ({self.module}: {reason}): repair or uninstall {self.distribution}"
            ) from error
        if not isinstance(found, type) or found.__name__ != self.name:
            raise ValueError(
                f"{self} is {self.module}:{self.attribute}, which is no class named {self.name}: give entry point, "
                f"class and yaml file the same name, or uninstall {self.distribution}"
            )
        return found

    @property
    def yaml_file(self):
        """Path of ``NAME.yaml`` in the folder of the module; None if the package is missing. Runs no code of it."""
        top, *rest = self.module.split(".")
        spec = importlib.util.find_spec(top)
        if spec is None:
            return None
        folders = spec.submodule_search_locations or [Path(spec.origin).parent]
        folder = Path(next(iter(folders)))
        for name in rest:
            folder = folder / name if (folder / name).is_dir() else folder
        return folder / f"{self.name}.yaml"


def extension_names(kind):
    """Names of all extensions of a kind, sorted (list of str)."""
    return sorted({extension.name for extension in extensions(kind)})


def find_extension(kind, name, is_taken=False):
    """Returns the extension of a name; None if there is none.

    Args:
        kind (str): a key of GROUPS.
        name (str): the name.
        is_taken (bool): whether a class of this package or of RecBole has that name too.

    Raises:
        ValueError: several classes have that name.
    """
    found = [extension for extension in extensions(kind) if extension.name == name]
    packages = " and ".join(extension.distribution for extension in found)
    if found and is_taken:
        raise ValueError(
            f"{kind} '{name}' exists in recbole-unirep or RecBole, and {packages} adds another of that name: uninstall "
            f"{packages}, or rename it there"
        )
    if len(found) > 1:
        raise ValueError(f"{kind} '{name}' exists in {packages}: uninstall all but one of them")
    return found[0] if found else None


@functools.cache
def extensions(kind):
    """All extensions of a kind that installed packages name in their metadata (tuple of Extension)."""
    found, packages = [], set()
    for distribution in distributions():  # in the order of sys.path: the first copy of a package counts
        entries = [entry for entry in distribution.entry_points if entry.group == GROUPS[kind]]
        if not entries:
            continue
        package = distribution.metadata["Name"]
        normalized = re.sub(r"[-_.]+", "-", package).lower()
        if normalized in packages:
            continue
        packages.add(normalized)
        for entry in entries:
            module, _, attribute = entry.value.partition("[")[0].replace(" ", "").partition(":")
            found.append(Extension(kind, entry.name, module, attribute, package, distribution.version))
    return tuple(found)

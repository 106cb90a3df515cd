"""Parts that other packages bring by entry points: tokenizers, backbones, models, text encoders.

A package names a class in its metadata, in a group of GROUPS, and the class is known by that name wherever one of ours
is:

    [project.entry-points."recbole_unirep.tokenizers"]
    ItsName = "its_package.its_module:ItsName"

Entry point, class and yaml file have one name. ``ItsName.yaml`` lies in the folder of the entry point's module. It
declares every key of the part with its default and is a layer like those under properties. A text encoder has no keys
and no yaml. Metadata alone says which names there are: a module is imported when its part is asked for by name, never
before.
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
    """A part of another package, not imported yet.

    Attributes:
        kind (str): a key of GROUPS.
        name (str): of entry point, class and yaml file.
        module (str): dotted name of the module that holds the class.
        attribute (str): name of the class as the entry point gives it.
        distribution (str): name of the package that brings it.
        version (str): of that package.
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
        """The class; its module is imported.

        Raises:
            ValueError: importing fails, or there is no class of that name.
        """
        try:
            found = getattr(importlib.import_module(self.module), self.attribute)
        except Exception as error:  # a module of somebody else may raise anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"{self} can't be loaded ({self.module}: {reason}): repair or uninstall {self.distribution}"
            ) from error
        if not isinstance(found, type) or found.__name__ != self.name:
            raise ValueError(
                f"{self} is {self.module}:{self.attribute}, which is no class named {self.name}: name entry point, "
                f"class and yaml file alike, or uninstall {self.distribution}"
            )
        return found

    @property
    def yaml_file(self):
        """Path of ``NAME.yaml`` in the folder of its module; None where its package is not there.

        No code of the package runs.
        """
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
    """Names of all extensions of a kind, in alphabetical order (list of str)."""
    return sorted({extension.name for extension in extensions(kind)})


def find_extension(kind, name, is_taken=False):
    """The extension of a name; None where there is none.

    Args:
        kind (str): a key of GROUPS.
        name (str): what was asked for.
        is_taken (bool): whether a part of ours or RecBole's has that name.

    Raises:
        ValueError: the name belongs to several parts.
    """
    found = [extension for extension in extensions(kind) if extension.name == name]
    packages = " and ".join(extension.distribution for extension in found)
    if found and is_taken:
        raise ValueError(
            f"{kind} '{name}' is a name of recbole-unirep or RecBole, and {packages} brings another {kind} of that "
            f"name: uninstall {packages}, or rename it there"
        )
    if len(found) > 1:
        raise ValueError(f"{kind} '{name}' is brought by {packages}: uninstall all but one of them")
    return found[0] if found else None


@functools.cache
def extensions(kind):
    """What the metadata of all installed packages name (tuple of Extension), arguments as `find_extension`."""
    found, packages = [], set()
    for distribution in distributions():  # in the order of sys.path, where the first of a name hides the others
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

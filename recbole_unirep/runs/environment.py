"""recbole_unirep.runs.environment: what a run's numbers depend on besides its config: versions, commit, machine."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from recbole_unirep import parallel

PACKAGES = ("recbole-unirep", "recbole", "torch", "numpy", "pandas", "scikit-learn", "sentence-transformers")


def environment(device):
    """Versions, commit and machine, for environment.json.

    Args:
        device (torch.device): where the model is.

    Returns:
        dict: plain values; the commit is None unless the package runs from a git checkout.
    """
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "commit": _commit(),
        "device": str(device),
        "cpu_count": os.cpu_count(),
        "processes": parallel.world_size(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def _commit():
    """Commit of the checkout the package runs from, with '+' if its files were changed; None without a checkout."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    parts = ("recbole_unirep", "dataset_prep", "properties")
    try:
        commit, status = (
            subprocess.run(["git", "-C", here, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", *parts))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if status else "")

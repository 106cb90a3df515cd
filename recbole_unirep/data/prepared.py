"""recbole_unirep.data.prepared: whether the files of a prepared dataset are those that `unirep prepare` wrote."""

from pathlib import Path

from dataset_prep.manifest import changed_files

READ = (".inter", ".item")


def check_prepared(config):
    """Compares the files that runs read with the dataset's manifest, where it has one.

    Args:
        config (Config): RecBole's or ours.

    Raises:
        ValueError: a file is missing, half copied or changed, or a command was stopped while it replaced them.
    """
    folder = Path(config["data_path"])
    for text in changed_files(folder, config["dataset"], READ):
        raise ValueError(f"{folder}: {text}")

"""What a dataset's folder tells where no yaml does: a folder NAME with NAME.inter in it is a dataset."""

from pathlib import Path

from recbole_unirep.known_keys import nearest, recbole_datasets

TEXT_COLUMNS = ("title", "name", "brand", "categories", "price")
BUNDLED = "ml-100k"


def interaction_file(dataset, settings):
    """The file that holds a dataset's interactions.

    Args:
        dataset (str): name of the dataset.
        settings (mapping): the layered keys; ``data_path`` and ``benchmark_filename`` are read.

    Returns:
        Path or None: None where RecBole brings the dataset itself, by download or in its wheel.

    Raises:
        ValueError: neither a folder nor a download has that name.
        FileNotFoundError: the folder lies there without its interactions.
    """
    folder = Path(settings["data_path"], dataset)
    if dataset == BUNDLED:
        return None
    if not folder.is_dir():
        if dataset in recbole_datasets():
            return None
        folders = {path.name for path in folder.parent.iterdir() if path.is_dir()} if folder.parent.is_dir() else set()
        raise ValueError(
            f"dataset '{dataset}' is unknown, there is no folder {folder} (--data_path) and no download of that name: "
            f"{nearest(dataset, recbole_datasets() | folders)}"
        )
    parts = settings["benchmark_filename"]
    file = folder / (f"{dataset}.{parts[0]}.inter" if parts else f"{dataset}.inter")
    if not file.is_file():
        raise FileNotFoundError(f"dataset '{dataset}' has no {file}: put the interactions there or remove the folder")
    return file


def columns_layer(dataset, file, settings, needs_time):
    """Keys for a dataset that has no yaml: its columns decide.

    Args:
        dataset (str): name of the dataset.
        file (Path or None): its interactions; None before the download.
        settings (mapping): the layered keys; the names of the fields are read.
        needs_time (bool): whether the run orders interactions by time.

    Returns:
        tuple: the keys (dict) and a line for the log (str).

    Raises:
        ValueError: a column that the run needs is not there.
    """
    user, item, time = (settings[f"{name}_FIELD"] for name in ("USER_ID", "ITEM_ID", "TIME"))
    if file is None:
        columns, text_fields = [user, item, time], None
    else:
        columns = _columns(file, settings)
        text_fields = settings["text_fields"] or _text_fields(file.parent / f"{dataset}.item", settings)
    for field, key in ((user, "USER_ID_FIELD"), (item, "ITEM_ID_FIELD"), (time, "TIME_FIELD")):
        if field not in columns and (field != time or needs_time):
            raise ValueError(
                f"{file} has no column '{field}', only {', '.join(columns)}: name yours with --{key}=COLUMN"
            )
    loaded = [field for field in (user, item, time) if field in columns]
    layer = {
        "load_col": {"inter": loaded},
        "user_inter_num_interval": "[1,inf)",  # no k-core; an item without interactions is in nobody's vocabulary
        "item_inter_num_interval": "[1,inf)",
        "text_fields": text_fields,
    }
    text = ", ".join(text_fields) if text_fields else "the usual columns" if file is None else "no column that we know"
    note = f"no yaml for dataset {dataset}: columns {', '.join(loaded)} are loaded, no k-core, item text from {text}"
    return layer, note


def _text_fields(file, settings):
    if not file.is_file():
        return None
    columns = _columns(file, settings)
    return [column for column in TEXT_COLUMNS if column in columns] or None


def _columns(file, settings):
    """Names in the first line of an atomic file, without their types."""
    with open(file, encoding="utf-8") as lines:
        header = lines.readline().rstrip("\r\n")
    return [column.split(":")[0] for column in header.split(settings["field_separator"])]

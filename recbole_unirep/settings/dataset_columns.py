"""Derives config keys from the columns of a dataset without a yaml: any folder NAME with NAME.inter is a dataset."""

from pathlib import Path

from recbole_unirep.files.item_columns import TEXT_COLUMNS, UNIQUE_COLUMNS
from recbole_unirep.settings.known_keys import recbole_datasets
from recbole_unirep.settings.nearest import nearest

FEATURE_KEYS = ("selected_features", "item_attribute")
BUNDLED = "ml-100k"


def interaction_file(dataset, settings):
    """Returns the file of a dataset's interactions.

    Args:
        dataset (str): name of the dataset.
        settings (mapping): layered keys; ``data_path`` and ``benchmark_filename`` are read.

    Returns:
        Path or None: None if RecBole provides the dataset, by download or in its wheel.

    Raises:
        ValueError: there is neither a folder nor a download of that name.
        FileNotFoundError: the folder exists, but its interactions are missing.
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
    if not file.is_file() and dataset in recbole_datasets():
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:3]) or "nothing"
        raise FileNotFoundError(
            f"dataset '{dataset}' has no {file}, its folder holds {found}, perhaps from an unfinished download: remove "
            f"the folder to download it again, or put the interactions there"
        )
    if not file.is_file():
        raise FileNotFoundError(f"dataset '{dataset}' has no {file}: put the interactions there or remove the folder")
    return file


def columns_layer(dataset, file, settings):
    """Derives the keys of a dataset without a yaml from its columns.

    Args:
        dataset (str): name of the dataset.
        file (Path or None): its interactions; None before the download.
        settings (mapping): layered keys; the names of the fields are read.

    Returns:
        tuple[dict, str]: the keys, and a line for the log.

    Raises:
        ValueError: the column of users or items is missing.
    """
    user, item, time = (settings[f"{name}_FIELD"] for name in ("USER_ID", "ITEM_ID", "TIME"))
    if file is None:
        columns, text_fields = [user, item, time], None
    else:
        columns = _columns(file, settings)
        text_fields = settings["text_fields"] or _text_fields(file.parent / f"{dataset}.item", settings)
    for field, key in ((user, "USER_ID_FIELD"), (item, "ITEM_ID_FIELD")):
        if field not in columns:
            raise ValueError(
                f"{file} has no column '{field}', only {', '.join(columns)}: name yours with --{key}=COLUMN"
            )
    loaded = [field for field in (user, item, time) if field in columns]
    layer = {
        "load_col": {"inter": loaded},
        "user_inter_num_interval": "[1,inf)",  # no k-core; items without interactions are dropped
        "item_inter_num_interval": "[1,inf)",
        "text_fields": text_fields,
    }
    text = ", ".join(text_fields) if text_fields else "the usual columns" if file is None else "no known column"
    note = f"no yaml for dataset {dataset}: columns {', '.join(loaded)} are loaded, no k-core, item text from {text}"
    return layer, note


def features_layer(dataset, file, settings, keys):
    """Derives the keys that load the item features a model reads.

    Args:
        dataset (str): name of the dataset.
        file (Path or None): its interactions, in the folder of the `.item` file; None before the download.
        settings (mapping): only the keys of the user over the keys of the dataset's yaml.
        keys (set of str): keys of FEATURE_KEYS that the model reads.

    Returns:
        dict: `load_col` of the items, and values for `keys`. Without named features, all token columns of the `.item`
        file are features.

    Raises:
        ValueError: a feature is not a column of the `.item` file, or the file has no features.
    """
    named = [settings[key] for key in sorted(keys) if settings[key] is not None]
    named = list(dict.fromkeys(name for value in named for name in ([value] if isinstance(value, str) else value)))
    items, item_id = file and file.parent / f"{dataset}.item", settings["ITEM_ID_FIELD"]
    if items is None:
        types = dict.fromkeys(named, "token")
    else:
        types = _column_types(items, settings) if items.is_file() else {}
    features = named or [
        name
        for name, kind in types.items()
        if kind in ("token", "token_seq") and name not in (item_id, *UNIQUE_COLUMNS)
    ]
    missing = [name for name in features if name not in types]
    if keys and (missing or not features):
        found = ", ".join(types) or "no columns"
        raise ValueError(
            f"{' and '.join(sorted(keys))}: {items} has no item features {', '.join(missing) or 'at all'}, found "
            f"{found}: name columns of this file, or use a model without item features"
        )
    if not features:
        return {}
    layer = {"load_col": {"item": [item_id, *features]}}
    values = {"selected_features": features, "item_attribute": features[0]}
    layer.update({key: values[key] for key in keys if settings[key] is None})
    return layer


def _text_fields(file, settings):
    if not file.is_file():
        return None
    columns = _columns(file, settings)
    return [column for column in TEXT_COLUMNS if column in columns] or None


def _columns(file, settings):
    """Reads the column names from the header of an atomic file, without their types."""
    return list(_column_types(file, settings))


def _column_types(file, settings):
    """Reads the column names and types from the header of an atomic file.

    Raises:
        ValueError: the file is not UTF-8 text, or a column has no type.
    """
    try:
        with open(file, encoding="utf-8") as lines:
            header = lines.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error}): save it as UTF-8") from error
    if header.startswith("\ufeff"):
        raise ValueError(f"{file} begins with a byte order mark, which RecBole reads as text: save it as UTF-8 without")
    types = {}
    for column in header.split(settings["field_separator"]):
        name, colon, kind = column.partition(":")
        if not colon and header:
            raise ValueError(
                f"{file} has {column!r} in its first line instead of 'name:type': name the columns there, such as "
                f"user_id:token, separated by {settings['field_separator']!r}"
            )
        types[name] = kind
    return types

"""What a dataset's folder tells where no yaml does: a folder NAME with NAME.inter in it is a dataset."""

from pathlib import Path

from recbole_unirep.files.item_columns import TEXT_COLUMNS, UNIQUE_COLUMNS
from recbole_unirep.settings.known_keys import nearest, recbole_datasets

FEATURE_KEYS = ("selected_features", "item_attribute")
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
    if not file.is_file() and dataset in recbole_datasets():
        left = ", ".join(sorted(path.name for path in folder.iterdir())[:3]) or "nothing"
        raise FileNotFoundError(
            f"dataset '{dataset}' has no {file}, its folder holds {left}, as an unfinished download leaves it: remove "
            f"the folder, and it is downloaded anew, or put the interactions there"
        )
    if not file.is_file():
        raise FileNotFoundError(f"dataset '{dataset}' has no {file}: put the interactions there or remove the folder")
    return file


def columns_layer(dataset, file, settings):
    """Keys for a dataset that has no yaml: its columns decide.

    Args:
        dataset (str): name of the dataset.
        file (Path or None): its interactions; None before the download.
        settings (mapping): the layered keys; the names of the fields are read.

    Returns:
        tuple: the keys (dict) and a line for the log (str).

    Raises:
        ValueError: there is no column of users or of items.
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
        "user_inter_num_interval": "[1,inf)",  # no k-core; an item without interactions is in nobody's vocabulary
        "item_inter_num_interval": "[1,inf)",
        "text_fields": text_fields,
    }
    text = ", ".join(text_fields) if text_fields else "the usual columns" if file is None else "no column that we know"
    note = f"no yaml for dataset {dataset}: columns {', '.join(loaded)} are loaded, no k-core, item text from {text}"
    return layer, note


def features_layer(dataset, file, settings, keys):
    """Keys that give a model its item features: the columns are loaded that it is told to read.

    Args:
        dataset (str): name of the dataset.
        file (Path or None): its interactions, the items lie beside; None before the download.
        settings (mapping): the keys of the user, then those of the dataset's yaml; nothing below them.
        keys (set of str): those of FEATURE_KEYS that the model reads.

    Returns:
        dict: `load_col` of the items, and `keys`; features that nobody names are all tokens of the `.item` file.

    Raises:
        ValueError: a feature is no column of the items, or the items have none.
    """
    asked = [settings[key] for key in sorted(keys) if settings[key] is not None]
    asked = list(dict.fromkeys(name for value in asked for name in ([value] if isinstance(value, str) else value)))
    items, item_id = file and file.parent / f"{dataset}.item", settings["ITEM_ID_FIELD"]
    if items is None:
        types = dict.fromkeys(asked, "token")
    else:
        types = _column_types(items, settings) if items.is_file() else {}
    features = asked or [
        name
        for name, kind in types.items()
        if kind in ("token", "token_seq") and name not in (item_id, *UNIQUE_COLUMNS)
    ]
    missing = [name for name in features if name not in types]
    if keys and (missing or not features):
        found = ", ".join(types) or "no columns"
        raise ValueError(
            f"{' and '.join(sorted(keys))} ask for item features {', '.join(missing)}: {items} has {found}: "
            f"name columns of it, or take a model without item features"
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
    """Names in the first line of an atomic file, without their types."""
    return list(_column_types(file, settings))


def _column_types(file, settings):
    """Names in the first line of an atomic file, with their types.

    Raises:
        ValueError: the file is no text, or a name has no type.
    """
    try:
        with open(file, encoding="utf-8") as lines:
            header = lines.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no UTF-8 text ({error}): save it so") from error
    if header.startswith("\ufeff"):
        raise ValueError(f"{file} begins with a byte order mark, part of a name to RecBole: save it as UTF-8 without")
    types = {}
    for column in header.split(settings["field_separator"]):
        name, colon, kind = column.partition(":")
        if not colon and header:
            raise ValueError(
                f"{file} has no column 'name:type' in its first line but {column!r}: write its columns there, such as "
                f"user_id:token, with {settings['field_separator']!r} between them"
            )
        types[name] = kind
    return types

"""recbole_unirep.data.item_file: reads categories, columns and titles of items from the raw `.item` file."""

import html
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset_prep.text import read_item_file, sequence_parts, value_text
from recbole_unirep.files.item_columns import TITLE_COLUMNS
from recbole_unirep.tokenizer.assigned import Items

USUAL_FIELDS = ("categories", "category", "class", "genres", "genre")
ROOT_SHARE = 0.95  # a name that at least this fraction of the items has is a root: it hardly distinguishes items
NONE = "none"


class ItemCategories(NamedTuple):
    """The category of each item of a dataset.

    Attributes:
        names (np.ndarray): category of item 1, 2, ... by RecBole's ids, 'none' if it has none, shape: [n_items - 1],
            str.
        field (str): name of the column.
        rule (str): which of an item's names is its category, in a few words for a caption.
    """

    names: np.ndarray
    field: str
    rule: str


def load_item_categories(config, dataset, field=None) -> ItemCategories | None:
    """Reads the categories of a dataset's items.

    Args:
        config (Config or mapping): `dataset`, `data_path`, `ITEM_ID_FIELD`, `field_separator` and `seq_separator` are
            read.
        dataset (Dataset): RecBole's; its items after filtering get categories.
        field (str, optional): name of the column; None takes the first of USUAL_FIELDS in the file.

    Returns:
        ItemCategories, optional: None if `field` is None and there is no usual column.

    Raises:
        FileNotFoundError: `field` is given and there is no `.item` file.
        ValueError: the file has no such column, or cannot be read.
    """
    file = Path(config["data_path"]) / f"{config['dataset']}.item"
    if not file.is_file() and field is None:
        return None
    if not file.is_file():
        raise FileNotFoundError(f"category_field={field} needs {file}, which does not exist: add the file")
    table, column_types = read_item_file(file, config["field_separator"])
    if field is None:
        field = next((name for name in USUAL_FIELDS if name in column_types), None)
        if field is None:
            return None
    item_id = config["ITEM_ID_FIELD"]
    for name, key in ((field, "category_field"), (item_id, "ITEM_ID_FIELD")):
        if name not in column_types:
            found = ", ".join(column_types)
            raise ValueError(f"{file} has no column '{name}', it has {found}: set {key} to one of them")
    is_list = column_types[field] == "token_seq"
    first_rows = table.drop_duplicates(item_id).set_index(item_id)[field]
    tokens = [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]
    cells = first_rows.reindex(tokens, fill_value="")
    lists = [_names(cell, config["seq_separator"] if is_list else None) for cell in cells]
    names, rule = telling_names(lists)
    return ItemCategories(np.array(names, dtype=str), field, rule)


def telling_names(lists) -> tuple:
    """Chooses the most informative of each item's category names.

    A root is a name that nearly all items have, such as 'Beauty'; it is chosen only if the item has no other name.
    If the roots come first in every list, the lists are paths, and the first name after the roots is chosen. Otherwise
    the order is lost (RecBole's conversion tools write sets), and the item's most common name is chosen: in the 5-core
    Amazon data (Beauty, Sports, Toys) that is the name after the root for 95.8 to 99.6 % of the items.

    Args:
        lists (list of list of str): names of each item.

    Returns:
        tuple[list of str, str]: name of each item, 'none' if it has none; and the rule, in words.
    """
    counts = Counter(name for names in lists for name in set(names))
    n_with_names = sum(map(bool, lists))
    roots = {name for name, count in counts.items() if count >= ROOT_SHARE * n_with_names and len(counts) > 1}
    rests = [[name for name in names if name not in roots] or names[-1:] for names in lists]
    if all(_begins_with(names, roots) for names in lists):
        rule = f"the first name of the list after {' and '.join(sorted(roots))}" if roots else "the first of the list"
        return [rest[0] if rest else NONE for rest in rests], rule
    common = [max(rest, key=lambda name: (counts[name], name), default=NONE) for rest in rests]
    return common, f"the item's most common name except {' and '.join(sorted(roots))}"


def _begins_with(names, roots):
    """True if all roots in a list come before its other names."""
    n_roots = len(roots.intersection(names))
    return set(names[:n_roots]) <= roots


def _names(cell, separator):
    """Splits a cell into names: of a quoted list, else between separators; without a separator the cell is one name."""
    parts = sequence_parts(cell)
    if separator is not None and parts == [cell]:
        parts = cell.split(separator)
    plain = (" ".join(html.unescape(part).split()) for part in parts)
    return [part for part in plain if part]


def load_items(config, dataset) -> Items:
    """Reads all columns of the `.item` file, rows in the order of RecBole's ids.

    Args:
        config (Config or mapping): `dataset`, `data_path`, `ITEM_ID_FIELD`, `field_separator` are read.
        dataset (Dataset): RecBole's; its items after filtering are read.

    Returns:
        Items: without padding; cells of columns of type token_seq are lists of str, others str, missing ones [] or "";
        no columns if the dataset has no `.item` file.

    Raises:
        ValueError: the file has no column of item tokens, or cannot be read.
    """
    tokens = [str(token) for token in dataset.field2id_token[dataset.iid_field][1:]]
    file = Path(config["data_path"]) / f"{config['dataset']}.item"
    if not file.is_file():
        return Items(tokens, {})
    table, column_types = read_item_file(file, config["field_separator"])
    item_id = config["ITEM_ID_FIELD"]
    if item_id not in column_types:
        raise ValueError(f"{file} has no column {item_id}, it has {', '.join(column_types)}: set ITEM_ID_FIELD")
    table = table.drop_duplicates(item_id).set_index(item_id).reindex(tokens, fill_value="")
    columns = {}
    for name in table.columns:
        if column_types[name] == "token_seq":
            parts = ([value_text(part, "token") for part in sequence_parts(cell)] for cell in table[name])
            columns[name] = [[part for part in found if part] for found in parts]
        else:
            columns[name] = [value_text(cell, "token") for cell in table[name]]
    return Items(tokens, columns)


def item_titles(config, item_tokens):
    """Reads the titles of items from the dataset's `.item` file.

    Args:
        config (Config or mapping): `dataset`, `data_path`, `ITEM_ID_FIELD`, `field_separator` are read.
        item_tokens (np.ndarray): token of each item id, row 0 is padding, shape: [n_items].

    Returns:
        np.ndarray: title of each item id, "" if it has none, shape: [n_items], dtype object.

    Raises:
        ValueError: the file cannot be read.
    """
    titles = np.full(len(item_tokens), "", dtype=object)
    file = Path(config["data_path"]) / f"{config['dataset']}.item"
    if not file.is_file():
        return titles
    table, column_types = read_item_file(file, config["field_separator"])
    column = next((name for name in TITLE_COLUMNS if name in column_types), None)
    if column is None or config["ITEM_ID_FIELD"] not in column_types:
        return titles
    first_rows = table.drop_duplicates(config["ITEM_ID_FIELD"])
    known = dict(zip(first_rows[config["ITEM_ID_FIELD"]], first_rows[column]))
    titles[1:] = [value_text(known.get(str(token), ""), column_types[column]) for token in item_tokens[1:]]
    return titles

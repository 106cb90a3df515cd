"""recbole_unirep.data.item_titles: what the items are called, for whoever reads a list of them."""

from pathlib import Path

import numpy as np

from dataset_prep.text import read_item_file, value_text

TITLE_COLUMNS = ("title", "movie_title", "name")  # the first that is there; RecBole's ml-100k has the second


def item_titles(config, item_tokens):
    """Titles out of the dataset's `.item` file.

    Args:
        config (Config): or any mapping; `dataset`, `data_path`, `ITEM_ID_FIELD`, `field_separator` are read.
        item_tokens (np.ndarray): token of each item id, row 0 pads, shape: [n_items].

    Returns:
        np.ndarray: of each item id, "" where it has none, shape: [n_items], dtype object.

    Raises:
        ValueError: the file can't be read.
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

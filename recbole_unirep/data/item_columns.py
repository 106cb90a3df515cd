"""item_columns: tokens and columns of a dataset's items, for tokenizers that read no vectors."""

from pathlib import Path

from dataset_prep.text import read_item_file, sequence_parts, value_text
from recbole_unirep.tokenizer.assigned import Items


def load_items(config, dataset) -> Items:
    """Reads the `.item` file as it stands, in RecBole's numbering.

    Args:
        config (Config): or any mapping; `dataset`, `data_path`, `ITEM_ID_FIELD`, `field_separator` are read.
        dataset (Dataset): RecBole's; its items after filtering are the ones that are given.

    Returns:
        Items: padding left out; columns of type token_seq as lists, others as text, missing ones as [] and ""; no
        columns where the dataset has no `.item` file.

    Raises:
        ValueError: the file has no column of item tokens, or can't be read.
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

"""text: builds one sentence per item from the columns of a raw `.item` file.

RecBole's Dataset can't read the file for this purpose: it splits `token_seq` values at spaces and replaces missing
numbers by the mean.

Reference:
    RecBole, "Atomic Files": one `name:type` per column in the first line, tab separated.
"""

import ast
import html
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from recbole_unirep.files.item_columns import TEXT_COLUMNS

logger = logging.getLogger()

# RecBole's conversion tools write a set as str(value)[1:-1], which turns the empty set, "set()", into this.
EMPTY_SET = "et("
QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
QUOTED_LIST = re.compile(rf"\s*(?:{QUOTED.pattern})(?:[\s,]+(?:{QUOTED.pattern}))*\s*,?\s*")


class ItemSentences(NamedTuple):
    """Sentences of a list of items.

    Attributes:
        sentences (list of str): one per item, "" for an item without text.
        template (str): form of a sentence, such as "title: ..; brand: ..".
    """

    sentences: list[str]
    template: str


def item_sentences(
    item_file: Path, fields: Sequence[str] | None, items: Sequence[str], item_id_field: str, separator: str
) -> ItemSentences:
    """Builds one sentence per item, such as "title: Hand Cream; brand: Avalon; categories: Beauty, Skin Care".

    Missing and blank values are left out. Of several rows of an item the first is used.

    Args:
        item_file (Path): raw `.item` file in RecBole's atomic format.
        fields (sequence of str, optional): columns of a sentence, in order; those that the file lacks are left out.
            None uses TEXT_COLUMNS.
        items (sequence of str): tokens of the items.
        item_id_field (str): column of the item tokens.
        separator (str): between the columns.

    Returns:
        ItemSentences: the sentences in the order of `items`, and their template.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file can't be read, or lacks the item column or all of the fields.
    """
    table, column_types = read_item_file(item_file, separator)
    used = used_fields(item_file, column_types, fields, item_id_field)
    absent = [field for field in fields or () if field not in column_types]
    if absent:
        logger.info(f"{item_file.name} has no column {', '.join(absent)}: item texts are built without it")

    rows = table[table[item_id_field].isin(set(items))]
    first_rows = rows.drop_duplicates(item_id_field)
    if len(first_rows) < len(rows):
        logger.info(
            f"{item_file.name} has {len(rows) - len(first_rows)} repeated rows of items: the first row of each is used"
        )

    parts = {field: [value_text(value, column_types[field]) for value in first_rows[field]] for field in used}
    filled = ", ".join(f"{field} {sum(map(bool, values))}" for field, values in parts.items())
    logger.info(f"{item_file.name}: {len(first_rows)} of {len(items)} items have a row; non-empty values: {filled}")
    sentences = dict(zip(first_rows[item_id_field], joined(parts)))
    template = "; ".join(f"{field}: .." for field in used)
    return ItemSentences([sentences.get(item, "") for item in items], template)


def used_fields(
    item_file: Path, column_types: Mapping[str, str], fields: Sequence[str] | None, item_id_field: str
) -> list[str]:
    """Columns of an `.item` file that form a sentence, in order; arguments and errors as in `item_sentences`."""
    if item_id_field not in column_types:
        raise ValueError(f"{item_file} has no column {item_id_field!r}, it has {list(column_types)}: set ITEM_ID_FIELD")
    wanted = TEXT_COLUMNS if fields is None else fields
    used = [field for field in wanted if field in column_types]
    if not used:
        raise ValueError(
            f"{item_file} has none of the columns {list(wanted)}, it has {list(column_types)}: name some in text_fields"
        )
    return used


def joined(parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Joins the words of each field into one sentence per item, "" for an item without text.

    Args:
        parts (mapping of str to sequence of str): field to plain words per item, in the order of a sentence.
    """
    rows = zip(*parts.values())
    return ["; ".join(f"{field}: {value}" for field, value in zip(parts, values) if value) for values in rows]


def by_length(sentences: Sequence[str]) -> list[str]:
    """Distinct sentences without the empty one, the shortest first."""
    return sorted(set(sentences) - {""}, key=lambda sentence: (len(sentence), sentence))


def read_item_file(item_file: Path, separator: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Reads an atomic file with every value as unchanged text.

    Args:
        item_file (Path): raw `.item` file.
        separator (str): between the columns; RecBole's own is a tab.

    Returns:
        tuple: the table, its column names without types, and {column: type}.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not such a table in UTF-8.
    """
    if not item_file.is_file():
        raise FileNotFoundError(
            f"{item_file} is missing, so there is no text to encode: provide vectors (--text_encoder=NAME for "
            f"{item_file.stem}.NAME.npy and .json), or use no text (--representation=id, or another model)"
        )
    try:
        table = pd.read_csv(
            item_file, sep=separator, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8"
        )
    except ValueError as error:  # pandas' parser errors and UnicodeDecodeError are ValueErrors
        reason = " ".join(str(error).split())
        raise ValueError(f"{item_file} can't be read as a table of columns ({reason}): repair that line") from error
    column_types = dict(column.rpartition(":")[::2] if ":" in column else (column, "token") for column in table)
    table.columns = list(column_types)
    return table.fillna(""), column_types  # a row with too few cells leaves NaN


def value_text(value: str, column_type: str) -> str:
    """Turns a raw value into plain words: joins lists by commas, resolves HTML entities, collapses white space.

    Args:
        value (str): as in the file.
        column_type (str): RecBole's type of the column, such as "token_seq".

    Returns:
        str: "" for a missing value.
    """
    parts = sequence_parts(value) if column_type == "token_seq" else [value]
    words = [" ".join(html.unescape(part).split()) for part in parts]
    return ", ".join(part for part in words if part)


def sequence_parts(value: str) -> list[str]:
    """Splits a quoted list; any other value is one part.

    Args:
        value (str): such as `'Beauty', "Women's"` (two parts) or `Animation Children's` (one part).

    Returns:
        list of str: the parts; the empty set has none.
    """
    if value.strip() == EMPTY_SET:
        return []
    parts = quoted_parts(value)
    return [value] if parts is None else parts


def quoted_parts(value: str) -> list[str] | None:
    """Splits a quoted list at its commas or spaces.

    Args:
        value (str): such as `'Beauty', "Women's"` or `'Beauty' 'Skin Care'`.

    Returns:
        list of str or None: None for any other text, such as one that merely begins with a quote.
    """
    if not QUOTED_LIST.fullmatch(value):
        return None
    try:
        return [ast.literal_eval(part) for part in QUOTED.findall(value)]
    except (SyntaxError, ValueError):  # an escape that Python does not know
        return None

"""raw_fields: finds the fields of raw records and converts their values to those of an atomic file.

Known field names are Amazon's of 2014 and 2018 (reviewerID, asin, overall, unixReviewTime; category or categories) and
of 2023 (user_id, parent_asin, rating, timestamp; store), and RecBole's own. The user names any others.

Reference:
    Julian McAuley et al. "Image-Based Recommendations on Styles and Substitutes." in SIGIR 2015 (the data of 2014).
    Jianmo Ni et al. "Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects." in
        EMNLP 2019 (2018). Yupeng Hou et al. "Bridging Language and Items for Retrieval and Recommendation."
        arXiv 2403.03952 (2023).
"""

import ast
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timezone
from typing import Any, NamedTuple

USER, ITEM, RATING, TIME = "user_id", "item_id", "rating", "timestamp"
REVIEW_FIELDS = {  # column -> its names in raw files; the first that a file has is used
    USER: ("user_id", "reviewerID"),
    ITEM: ("parent_asin", "asin", "item_id"),
    RATING: ("rating", "overall"),
    TIME: ("timestamp", "unixReviewTime"),
}
ITEM_FIELDS = {
    ITEM: ("parent_asin", "asin", "item_id"),
    "title": ("title",),
    "brand": ("brand", "store"),
    "categories": ("categories", "category"),
    "price": ("price",),
    "description": ("description",),
}
TYPES = {"categories": "token_seq", "price": "float"}  # item columns that are not tokens
COLUMN_TYPES = ("token", "token_seq", "float")
# pandas, and so RecBole, reads these as missing values; RecBole then drops an interaction without user or item.
READ_AS_MISSING = frozenset(
    ("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL")
    + ("NaN", "None", "n/a", "nan", "null")
)
PRICE = re.compile(r"\$?\s*(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?")
LARGEST_TIME = 2**63 - 1
START = datetime(1970, 1, 1, tzinfo=timezone.utc)


class ItemColumn(NamedTuple):
    """A column of the `.item` file.

    Attributes:
        name (str): as in the header.
        type (str): RecBole's type.
        fields (tuple of str): its names in raw records; the first that a record has is used.
    """

    name: str
    type: str
    fields: tuple


def review_fields(names: Sequence[str], asked: Mapping[str, str], file: Any, hint: str) -> dict[str, str]:
    """Finds the fields of user, item, rating and time.

    Args:
        names (sequence of str): fields of the file.
        asked (mapping): column to field as the user named them; empty to go by the usual names.
        file (Path): for the error.
        hint (str): another possible remedy, for the error.

    Returns:
        dict: column to field, without rating and timestamp if the file lacks them.

    Raises:
        ValueError: a field that the user named, or the field of users or items, is missing.
    """
    unknown = [column for column in asked if column not in REVIEW_FIELDS]
    if unknown:
        raise ValueError(f"columns name {', '.join(unknown)}: known are {', '.join(REVIEW_FIELDS)}")
    found = dict(asked) or {
        column: next(field for field in usual if field in names)
        for column, usual in REVIEW_FIELDS.items()
        if any(field in names for field in usual)
    }
    missing = [f"{column}={field}" for column, field in found.items() if field not in names]
    missing += [column for column in (USER, ITEM) if column not in found]
    if missing:
        raise ValueError(
            f"{file} has no {', '.join(missing)}, its fields are {', '.join(names) or 'none'}: name them with "
            f'--columns="user_id=FIELD item_id=FIELD rating=FIELD timestamp=FIELD"{hint}'
        )
    return found


def item_columns(asked: Mapping[str, str]) -> list[ItemColumn]:
    """Columns of the `.item` file.

    Args:
        asked (mapping): `name` or `name:type` to field as the user named them; empty for Amazon's.

    Returns:
        list of ItemColumn: the item column first.

    Raises:
        ValueError: a type is unknown, a column is repeated, or the item column is missing.
    """
    if not asked:
        return [ItemColumn(name, TYPES.get(name, "token"), fields) for name, fields in ITEM_FIELDS.items()]
    columns = []
    for column, field in asked.items():
        name, _, kind = column.partition(":")
        kind = kind or TYPES.get(name, "token")
        if kind not in COLUMN_TYPES or not name.isidentifier():
            raise ValueError(f"item_columns has '{column}': write NAME=FIELD or NAME:TYPE=FIELD, TYPE one of token, "
                             f"token_seq, float")  # fmt: skip
        columns.append(ItemColumn(name, kind, (field,)))
    items = [column for column in columns if column.name == ITEM]
    if len(items) != 1 or len({column.name for column in columns}) < len(columns):
        raise ValueError(f"item_columns must name each column once and {ITEM} among them: add {ITEM}=FIELD")
    return items + [column for column in columns if column.name != ITEM]


def token(value: Any, column: str) -> str:
    """The token of a user or item (str).

    Raises:
        ValueError: RecBole would not read the same token back.
    """
    if type(value) is int:
        return str(value)
    if type(value) is not str:
        raise ValueError(f"{column} is {shown(value)}")
    if not value.isprintable() and any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in value):
        raise ValueError(f"{column} is {shown(value)}, with control characters or bytes that are not UTF-8")
    if not value or value.isspace():
        raise ValueError(f"{column} is empty")
    if value in READ_AS_MISSING:
        raise ValueError(f"{column} is {shown(value)}, which RecBole reads as missing")
    return value


def rating(value: Any) -> float:
    """A rating as a finite number (float).

    Raises:
        ValueError: the value is not a finite number.
    """
    try:
        number = float(value) if type(value) is not bool else math.nan
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{RATING} is {shown(value)}, not a number")
    return number


def whole_time(value: Any) -> int:
    """A time as an integer: whole numbers keep their unit, dates become microseconds since 1970 (UTC).

    Raises:
        ValueError: the value is neither, or has a fraction, which an integer would lose.
    """
    if type(value) is int:
        number = value
    elif type(value) is str:
        number = _time_of_text(value.strip())
    elif type(value) is float and value.is_integer():
        number = int(value)
    elif isinstance(value, date):
        number = _microseconds(value)
    else:
        number = None
    if number is None or not -LARGEST_TIME <= number <= LARGEST_TIME:
        raise ValueError(f"{TIME} is {shown(value)}, neither a whole number nor a date")
    return number


def item_value(value: Any, kind: str) -> str | None:
    """A cell of the `.item` file: white space collapsed, lists as `'Skin Care', 'Face'`, numbers without currency.

    Args:
        value: as in the record.
        kind (str): RecBole's type of the column.

    Returns:
        str or None: None if the value is empty, or if it is not exactly one number in a float column.

    Raises:
        ValueError: no cell can hold a value of this type.
    """
    if kind == "float":
        return _price(value)
    if isinstance(value, str) and kind == "token_seq" and value.lstrip().startswith("["):
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = ast.literal_eval(value.strip())
    parts = list(dict.fromkeys(filter(None, _parts(value))))
    if kind == "token_seq" and isinstance(value, (list, tuple)):
        return ", ".join(map(repr, parts)) or None
    return " ".join(parts) or None


def shown(value: Any) -> str:
    """A value for a message, at most 40 characters."""
    text = ascii(value)
    return "missing" if value is None else text if len(text) <= 40 else f"{text[:37]}..."


def _time_of_text(text):
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
        return int(number) if number.is_integer() and abs(number) <= 2**53 else None
    except ValueError:
        pass
    try:
        return _microseconds(datetime.fromisoformat(text.replace("Z", "+00:00") if text.endswith("Z") else text))
    except ValueError:
        return None


def _microseconds(day):
    if not isinstance(day, datetime):
        day = datetime(day.year, day.month, day.day)
    since = (day if day.tzinfo else day.replace(tzinfo=timezone.utc)) - START
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _parts(value):
    """Texts of a value, nested lists flattened, white space collapsed (iterator of str)."""
    if value is None:
        return
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from _parts(part)
    elif isinstance(value, (str, int, float)) and type(value) is not bool:
        text = str(value).encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
        yield " ".join(text.split())
    else:
        raise ValueError(f"no column can hold a {type(value).__name__} ({shown(value)})")


def _price(value):
    if isinstance(value, str):
        match = PRICE.fullmatch(value.strip())
        value = float(match[0].lstrip("$").replace(",", "")) if match else None
    elif type(value) not in (int, float) or not math.isfinite(value):
        return None
    return None if value is None else repr(float(value))

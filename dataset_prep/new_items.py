"""new_items: reads new items of an encoded dataset from a file, and encodes their texts."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataset_prep.embedding import LEXICAL, Encoding, ItemTexts, encode, item_vectors, vector_places
from dataset_prep.text import by_length, joined, read_item_file, used_fields, value_text
from dataset_prep.vector_files import is_ours, names_beside, shortened

N_CHECKED = 64  # known items that are encoded again, to check that the encoder is still the same
TOLERANCE = 0.02  # of a vector's length: float16 and other batches change it by less


def read_new_items(source: str | Path | Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Reads rows of new items.

    Args:
        source (str, Path or sequence of mappings): a file, .csv or .tsv with a header or .jsonl, or the rows. A name
            may end in a type as in an `.item` file ("title:token").

    Returns:
        list of dict: column to text per row, to a list of texts for a JSON list.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file can't be read, or has no rows.
    """
    if not isinstance(source, (str, Path)):
        rows = [_texts(fields, f"row {number}") for number, fields in enumerate(source, 1)]
    else:
        path = Path(source)
        if path.suffix.lower() not in READERS:
            raise ValueError(f"{path} ends in '{path.suffix}', known are {', '.join(READERS)}: choose one of them")
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: name a file with one row per new item")
        try:
            rows = [_texts(fields, f"{path}, line {number}") for number, fields in READERS[path.suffix.lower()](path)]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8") from error
    if not rows:
        raise ValueError(f"{source or 'the list'} has no items: give one row per item")
    return rows


def new_sentences(texts: ItemTexts, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Builds the sentences of new items from the columns that those of the known items are built from.

    Args:
        texts (ItemTexts): the known items.
        rows (sequence of mappings): as from `read_new_items`.

    Raises:
        ValueError: a column is missing, or an item has no text.
        FileNotFoundError: the known items have no `.item` file.
    """
    item_file = texts.folder / f"{texts.dataset}.item"
    _, column_types = read_item_file(item_file, texts.separator)
    used = used_fields(item_file, column_types, texts.fields, texts.item_id_field)
    missing = [field for field in used if not any(field in row for row in rows)]
    if missing:
        raise ValueError(
            f"the new items have no column {', '.join(missing)}, an item's text is built from {', '.join(used)}: add "
            f"it (cells may be empty), or give their vectors (--vectors=NEW.npy)"
        )
    sentences = joined({field: [_words(row.get(field, ""), column_types[field]) for row in rows] for field in used})
    empty = [row[texts.item_id_field] for row, sentence in zip(rows, sentences) if not sentence]
    if empty:
        raise ValueError(
            f"{len(empty)} of {len(rows)} new items have no text in {', '.join(used)} ({shortened(empty)}): fill a "
            f"cell, or leave these items out"
        )
    return sentences


def new_vectors(texts: ItemTexts, encoding: Encoding, text_dir: str | None, sentences: Sequence[str]) -> np.ndarray:
    """Encodes new sentences with the encoder of the known items; some of those are encoded again as a check.

    Args:
        texts (ItemTexts): the known items and their texts.
        encoding (Encoding): how they were encoded.
        text_dir (str, optional): as in `embedding.item_vectors`.
        sentences (sequence of str): of the new items, none empty.

    Returns:
        np.ndarray: float32, shape: [len(sentences), text_dim].

    Raises:
        ValueError: the vectors are the user's own, or the encoder can't be loaded or has changed.
    """
    places = vector_places(texts, encoding, text_dir)
    for files in places:
        if files.exist() and not is_ours(files.read_record()):
            raise ValueError(
                f"the run's text vectors are your own, {files.matrix}: give vectors of the new items from the same "
                f"source (--vectors=NEW.npy; NEW.json next to it lists the items)"
            )
    known = item_vectors(texts, encoding, text_dir)
    known_sentences, _ = texts.sentences(texts.items)
    fit_on = None
    if encoding.encoder == LEXICAL:  # in the order of `item_vectors`, which affects the last dimensions
        fit_on = by_length(known_sentences)
        if texts.fit_items is not None:
            wanted = set(texts.fit_items)
            fit_on = sorted({one for item, one in zip(texts.items, known_sentences) if item in wanted} - {""})
    readable = [row for row, sentence in enumerate(known_sentences) if sentence and known[row].any()]
    checked = readable[:: max(1, len(readable) // N_CHECKED)][:N_CHECKED]
    beside = names_beside([files.matrix.parent for files in places], texts.dataset)
    vectors = encode([*sentences, *(known_sentences[row] for row in checked)], encoding, beside, fit_on)
    with np.errstate(over="ignore"):  # overflow is the error below
        vectors = vectors.astype(encoding.dtype).astype(np.float32)
    if not np.isfinite(vectors).all():
        raise ValueError(
            f"{encoding.encoder} gives values that overflow {encoding.dtype}: give vectors of the new items (--vectors)"
        )
    again, before = vectors[len(sentences) :], known[checked]
    if again.shape != before.shape or (_lengths(again - before) > TOLERANCE * _lengths(before)).any():
        raise ValueError(
            f"{encoding.encoder} now encodes the run's own items differently, so new vectors would not match theirs: "
            f"restore the encoder, the texts and the library versions, or give vectors of the new items "
            f"(--vectors=NEW.npy)"
        )
    return vectors[: len(sentences)]


def _lengths(vectors):
    return np.linalg.norm(vectors, axis=1)


def _words(value, column_type):
    """Plain words of a cell; a Python list is joined whatever the column's type."""
    if isinstance(value, list):
        return ", ".join(filter(None, (value_text(part, "token") for part in value)))
    return value_text(value, column_type)


def _texts(fields, where):
    """A row as texts, its column names without types (dict)."""
    if not isinstance(fields, Mapping):
        raise ValueError(f"{where} is a {type(fields).__name__}, not a mapping: give column names and values")
    return {str(name).partition(":")[0].strip(): _text(value, f"{where}, {name}") for name, value in fields.items()}


def _text(value, where):
    if isinstance(value, (list, tuple)):
        return [_text(part, where) for part in value]
    if value is None or value != value:  # noqa: PLR0124 - NaN is not itself
        return ""
    if isinstance(value, Mapping):
        raise ValueError(f"{where} holds an object: give a string, a number or a list of strings")
    return str(value)


def _csv(path: Path, separator: str = ",") -> Iterator[tuple[int, dict]]:
    """Yields the line number and cells of each row."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=separator, strict=True)
        try:
            header = next(rows, [])
            if len(set(header)) < len(header):
                raise ValueError(f"{path}: its first line repeats a column name ({', '.join(header)}): rename one")
            for cells in rows:
                if cells and len(cells) != len(header):
                    raise ValueError(
                        f"{path}, line {rows.line_num}: {len(cells)} cells, the header has {len(header)}: repair it "
                        f"(put a cell that contains '{separator}' in quotes)"
                    )
                if cells:
                    yield rows.line_num, dict(zip(header, cells))
        except csv.Error as error:
            raise ValueError(f"{path}, line {rows.line_num}: not CSV ({error}): repair it") from error


def _tsv(path):
    return _csv(path, "\t")


def _json_lines(path):
    with open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{path}, line {number}: not JSON ({error}): repair it") from error


READERS = {".csv": _csv, ".tsv": _tsv, ".jsonl": _json_lines}

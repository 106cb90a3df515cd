"""Random `.inter`, `.item` and raw JSON files are read as written, or cause an error of one line.

Hypothesis generates the files, with the same examples at every run.
"""

import csv
import io
import json
import logging
import random
import string

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataset_prep.atomic_files import is_missing, read_columns, read_rows
from dataset_prep.raw_files import RawFile
from dataset_prep.text import item_sentences, read_item_file
from recbole_unirep.commands.prepare import prepare as prepare_dataset
from recbole_unirep.commands.validate import validate as validate_dataset
from recbole_unirep.config import Config
from recbole_unirep.data.split import load_data

few = settings(
    max_examples=100, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
fewer = settings(few, max_examples=40)  # for tests that open a database

# Tokens have no separators, line breaks or quotes, and are not read as missing by RecBole.
signs = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"], exclude_characters='"\ufeff')
tokens = st.text(signs, min_size=1, max_size=8).filter(lambda token: not is_missing(token))
times = st.integers(-(2**62), 2**62)
INTER, ITEM = "user_id:token\titem_id:token\ttimestamp:float\n", "item_id:token\ttitle:token_seq\n"
SIGNS = [INTER, ITEM, "\t", "\n", "\r\n", "\r", '"', '""', ",", "u1", "i1", "u1\ti1\t5\n", "u1\ti2\t6\n"]
SIGNS += ["nan", "1e400", "-1", ":", ":token", "user_id", "\ufeff", "\x00", "\x1a", "NA", "'a', 'b'", "é", "\u2028"]
pieces = st.one_of(st.sampled_from(SIGNS), st.text(max_size=6))
ROWS = [f"u{user}\ti{item}\t{item}\n" for user in range(3) for item in range(6)]
TITLES = [f"i{item}\t'a {item}', \"b\"\n" for item in range(6)]


def spoiled(header, rows):
    """A valid file with up to three random insertions or deletions, or cut off at the end."""
    whole, places = header + "".join(rows), st.integers(0, len(header) + len("".join(rows)))
    change = st.tuples(places, st.integers(0, 3), pieces)

    def change_it(changes):
        text = whole
        for place, n_lost, put_in in changes:
            text = text[:place] + put_in + text[place + n_lost :]
        return text.encode("utf-8", "surrogatepass")

    return st.one_of(
        st.lists(change, min_size=1, max_size=3).map(change_it), places.map(lambda place: whole[:place].encode())
    )


soups = st.one_of(
    spoiled(INTER, ROWS),
    spoiled(ITEM, TITLES),
    st.lists(pieces, max_size=25).map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass")),
    st.binary(max_size=80),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of a dataset, whose files each example overwrites."""
    folder = tmp_path_factory.mktemp("data") / "d"
    folder.mkdir()
    return folder


def one_line(error):
    assert isinstance(error, (ValueError, FileNotFoundError)), repr(error)
    assert str(error).strip() and "\n" not in str(error).strip(), repr(error)


def load(folder, model="SASRec", **keys):
    logging.disable(logging.CRITICAL)
    try:
        return load_data(Config(model, "d", config_dict={"data_path": str(folder.parent), **keys}), one_row_a_user=True)
    finally:
        logging.disable(logging.NOTSET)


histories = st.lists(
    st.lists(st.tuples(tokens, times), min_size=4, max_size=6, unique_by=(lambda row: row[0], lambda row: row[1])),
    min_size=1, max_size=4,
)  # fmt: skip


@pytest.mark.slow
@few
@given(histories=histories, names=st.lists(tokens, min_size=4, max_size=4, unique=True), seed=st.integers(0, 99))
@example(histories=[[("1", 3), ("01", 2), ("1.0", 2**61), ("#", -5)]], names=["'", "\\\\", "0", "-1"], seed=0)
def test_interactions_are_read_as_they_were_written(folder, histories, names, seed):
    lines = [f"{user}\t{item}\t{time}\n" for user, rows in zip(names, histories) for item, time in rows]
    random.Random(seed).shuffle(lines)
    (folder / "d.inter").write_text(INTER + "".join(lines), encoding="utf-8", newline="")
    train = load(folder).train
    items, users = (train.field2id_token[field] for field in ("item_id", "user_id"))
    sequences, found = train.sequences, {}
    for user in range(1, len(users)):
        own = sequences.items[sequences.offsets[user] : sequences.offsets[user + 1]]
        found[str(users[user])] = [str(items[item]) for item in own]
    expected = {
        user: [item for item, _ in sorted(rows, key=lambda row: row[1])] for user, rows in zip(names, histories)
    }
    assert found == expected


@few
@given(content=soups)
@example(content=INTER.encode() + b"u1\ti1\t5\n" * 3 + b'"u1\ti2')
@example(content=INTER.encode() + b"u1\ti1\n")
@example(content=b"user_id:token\tuser_id:token\titem_id:token\n")
def test_any_interactions_are_read_or_reported(folder, content):
    (folder / "d.inter").write_bytes(content)
    try:
        data = load(folder)
    except Exception as error:
        one_line(error)
    else:
        assert len(data.test) > 0


@few
@given(content=soups)
def test_any_items_are_read_or_reported(folder, content):
    (folder / "d.inter").write_text(INTER + "".join(ROWS), encoding="utf-8")
    (folder / "d.item").write_bytes(content)
    try:
        sentences = item_sentences(folder / "d.item", None, ["i1", "i2"], "item_id", "\t").sentences
    except Exception as error:
        one_line(error)
    else:
        assert len(sentences) == 2
    try:
        data = load(folder, "SASRecF", load_col=None)
    except Exception as error:
        one_line(error)
    else:
        assert len(data.test) == 3
    finally:
        (folder / "d.item").unlink()


@fewer
@given(content=soups)
def test_validate_reports_its_findings_in_any_file(folder, content, capsys):
    (folder / "d.inter").write_bytes(content)
    (folder / "d.item").write_bytes(content)
    try:
        answer = validate_dataset(["d", f"--data_path={folder.parent}"])
    except Exception as error:
        one_line(error)
    else:
        assert answer in (True, False)
    finally:
        (folder / "d.item").unlink()
    capsys.readouterr()


cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\x00\r\ufeff"), max_size=12)


@few
@given(rows=st.lists(st.tuples(tokens, cells), min_size=1, max_size=6, unique_by=lambda row: row[0]))
def test_items_are_read_as_they_were_written(folder, rows):
    """Writes cells with separators, quotes and line breaks, quoted by the csv module."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows([["item_id:token", "title:token"], *rows])
    file = folder / "w.item"
    file.write_text(text.getvalue(), encoding="utf-8", newline="")
    table, types = read_item_file(file, "\t")
    assert types == {"item_id": "token", "title": "token"}
    assert list(zip(table["item_id"], table["title"])) == rows
    assert read_columns(file, "\t") == types
    assert [tuple(row.cells) for row in read_rows(file, "\t")] == rows


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=8), values, max_size=5)


@few
@given(records=st.lists(objects, max_size=8), is_ascii=st.booleans())
def test_raw_json_lines_are_read_as_they_were_written(folder, records, is_ascii):
    file = folder / "raw.jsonl"
    lines = [json.dumps(record, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass") for record in records]
    lines = [line for line in lines if is_ascii or _is_utf8(line)]
    file.write_bytes(b"\n".join(lines))
    found = [record.fields for record in RawFile(file).records()]
    assert found == [json.loads(line) for line in lines]


def _is_utf8(line):
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


good = [{"user_id": f"u{n % 3}", "item_id": f"i{n}", "timestamp": n} for n in range(6)]
fields = st.sampled_from(["user_id", "item_id", "timestamp", "rating", "title", "price", "categories", "x"])
text_signs = st.sampled_from([*string.printable, "{'", '{"', "\\ud800", "\\x", "é"])
lines = st.one_of(
    st.dictionaries(fields, values, max_size=5).map(lambda record: json.dumps(record).encode()),
    st.dictionaries(fields, values, max_size=5).map(lambda record: repr(record).encode("utf-8", "surrogatepass")),
    st.lists(text_signs, max_size=20).map("".join).map(str.encode),
    st.binary(max_size=30).map(lambda line: line.replace(b"\n", b" ")),
)


@pytest.mark.slow
@fewer
@given(raw=st.lists(lines, max_size=10), meta=st.lists(lines, max_size=6))
@example(raw=[b'{"user_id": "u1", "item_id": "i1", "timestamp": ' + b"9" * 5000 + b"}"], meta=[b"[" * 5000])
@example(
    raw=[b"{'user_id': -" + b"-" * 3000 + b"1}"],
    meta=[b'{"item_id": "i1", "title": ["a", ["b", {}]], "price": "$1-2"}'],
)
def test_any_raw_lines_become_a_dataset_or_are_rejected(folder, raw, meta, capsys):
    file, items = folder / "any.jsonl", folder / "meta.jsonl"
    file.write_bytes(b"\n".join([*(json.dumps(record).encode() for record in good), *raw]))
    items.write_bytes(b"\n".join([b'{"item_id": "i1", "title": "one"}', *meta]))
    try:
        made = prepare_dataset(
            ["--dataset=fuzzed", f"--data_path={folder}", f"--reviews={file}", f"--metadata={items}", "--core=1",
             "--max_broken=1", "--overwrite=True", "--show_progress=False",
             "--columns=user_id=user_id item_id=item_id timestamp=timestamp",
             "--item_columns=item_id=item_id title=title"]
        )  # fmt: skip
    except Exception as error:
        one_line(error)
        return
    finally:
        capsys.readouterr()
    counts = json.loads((made / "fuzzed.manifest.json").read_text(encoding="utf-8"))["counts"]
    rows = list(read_rows(made / "fuzzed.inter", "\t"))
    assert len(rows) == counts["interactions"] >= len(good) and not any(row.error for row in rows)
    assert {("u1", "i1", "1"), ("u0", "i3", "3")} <= {tuple(row.cells) for row in rows}
    assert validate_dataset(["fuzzed", f"--data_path={folder}"])
    items_of_file = [row.cells[0] for row in read_rows(made / "fuzzed.item", "\t")]
    assert sorted({row.cells[1] for row in rows}) == sorted(items_of_file)
    capsys.readouterr()

"""Validation finds what RecBole stops at, drops or misreads, with the number of rows and the first line."""

import json

import pytest

from recbole_unirep import cli
from recbole_unirep.commands.prepare import prepare as prepare_dataset

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
SOUND = HEADER + "".join(f"u{n % 3}\ti{n}\t{n}\n" for n in range(15))


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Writes files of the dataset `made`, by the end of their names, and validates it: exit code and output."""

    def call(*options, **files):
        folder = tmp_path / "data" / "made"
        folder.mkdir(parents=True, exist_ok=True)
        for end, text in files.items():
            (folder / f"made.{end}").write_bytes(text if isinstance(text, bytes) else text.encode())
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        monkeypatch.setattr("sys.argv", ["unirep", "validate", "made", f"--data_path={tmp_path / 'data'}", *options])
        code = cli.unirep()
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return code, "".join(capsys.readouterr())

    return call


def test_a_sound_dataset_has_exit_code_0_and_its_counts(check):
    code, out = check(inter=SOUND, item="item_id:token\ttitle:token\n" + "".join(f"i{n}\tx\n" for n in range(15)))
    assert code == 0
    assert "made.inter: 15 interactions, 3 users, 15 items; columns user_id:token" in out
    assert "error" not in out
    assert "warning" not in out


@pytest.mark.parametrize(
    ("inter", "message"),
    [
        (SOUND.replace("user_id:token", "user_id"), "column 'user_id' is not NAME:TYPE"),
        (SOUND.replace("timestamp:float", "timestamp:int"), "column 'timestamp:int' is not NAME:TYPE"),
        (SOUND.replace("timestamp:float", "timestamp:token"), "column timestamp has type token, RecBole sorts times"),
        (SOUND.replace("item_id:token", "item:token"), "no column item_id, only user_id:token, item:token"),
        (SOUND.replace("item_id:token", "user_id:token"), "a column name is repeated"),
        ("\ufeff" + SOUND, "the file starts with a byte order mark"),
        (HEADER, "not a single row can be read"),
        (HEADER.strip(), "it has no rows"),
        (SOUND + "u1\ti1\n", "fewer cells than the header's 3, RecBole fills them (line 17: 2)"),
        (SOUND + "u1\ti1\t1\t2\n", "more cells than the header's 3, RecBole stops (line 17: 4)"),
        (SOUND + "u1\tNA\t20\nu1\t\t20\n", "item_id is read as missing, RecBole drops the row (2 rows, first line 17)"),
        (SOUND + "u1\ti1\tnoon\n", "timestamp is not a number, RecBole stops (line 17: 'noon')"),
        (SOUND + "u1\ti1\t\n", "no timestamp, RecBole uses the mean instead (line 17)"),
        (SOUND + 'u1\t"i1\t20\n', "RecBole's reader stops at the row (line 17: "),
        (SOUND.encode() + b"u1\ti\xff\t20\n", "item_id is not UTF-8, RecBole stops (line 17: "),
    ],
)  # fmt: skip
def test_an_error_is_found(check, inter, message):
    code, out = check(inter=inter)
    assert code == 1
    assert f"error: made.inter: {message}" in out


@pytest.mark.parametrize(
    ("inter", "message"),
    [
        (HEADER.replace("\ttimestamp:float", "") + "u1\ti1\n", "no column timestamp: the order of the rows is used"),
        (
            SOUND + "u1\ti1\t1400000001\nu1\ti2\t3\n",
            "not sorted by timestamp, and stock RecBole sorts times",
        ),
        (SOUND + "u0\ti0\t20\n", "1 rows repeat a pair of user and item"),
        (SOUND + "u9\ti0\t20\n", "1 of 4 users have fewer than 4 interactions"),
        (SOUND + '"u\n0"\ti0\t20\n', "a quotation mark joins several lines (line 17: 2 lines)"),
    ],
)
def test_a_warning_is_found_and_the_exit_code_is_0(check, inter, message):
    code, out = check(inter=inter)
    assert code == 0
    assert f"warning: made.inter: {message}" in out


def test_unsorted_days_are_exact_in_float32_so_there_is_no_warning(check):
    days = HEADER + "".join(f"u{n % 3}\ti{n}\t{1_300_000_000 // 128 * 128 + 86_400 * (20 - n)}\n" for n in range(15))
    assert "not sorted" not in check(inter=days)[1]


def test_items_are_compared_with_the_interactions(check):
    item = "item_id:token\ttags:token_seq\n" + "".join(f"i{n}\t'Skin Care', 'Face'\n" for n in [*range(13), 77, 0])
    code, out = check(inter=SOUND, item=item)
    assert code == 1
    assert "error: made.item: 1 rows repeat an earlier item: keep one row per item" in out
    assert "warning: made.item: 2 items with interactions have no row here: stock RecBole drops" in out
    assert "warning: made.item: 1 items have no interactions" in out
    assert "note: made.item: tags holds quoted lists" in out


def test_columns_and_separator_are_named_by_the_user(check):
    inter = SOUND.replace("user_id", "who").replace("item_id", "what").replace("timestamp", "when").replace("\t", ",")
    names = ["--USER_ID_FIELD=who", "--ITEM_ID_FIELD=what", "--TIME_FIELD=when", "--field_separator=,"]
    assert check(*names, inter=inter)[0] == 0
    assert check(inter=inter)[0] == 1


def test_a_file_that_changed_since_it_was_prepared_is_named(check, tmp_path):
    (tmp_path / "raw.csv").write_text("user_id,item_id\n" + "u1,i1\n" * 3, encoding="utf-8")
    arguments = [
        f"--data_path={tmp_path / 'data'}",
        f"--reviews={tmp_path / 'raw.csv'}",
        "--duplicates=all",
        "--core=1",
    ]
    prepare_dataset(["--dataset=made", *arguments])
    assert check()[0] == 0
    code, out = check(inter="user_id:token\titem_id:token\nu1\ti1\n")
    assert code == 1
    assert "error: made.inter differs from made.manifest.json (sha256): copy or prepare the dataset again" in out
    assert json.loads((tmp_path / "data" / "made" / "made.manifest.json").read_text(encoding="utf-8"))["files"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "validate needs DATASET, the name of a dataset: write unirep validate DATASET"),
        (["gone"], "dataset/gone/gone.inter is missing: give --data_path=FOLDER"),
        (["gone", "--core=5"], "validate has no option --core: known are --data_path"),
        (["gone", "--field_separator=::"], "field_separator='::' is not one character"),
    ],
)
def test_bad_arguments_give_one_line(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr("sys.argv", ["unirep", "validate", *arguments])
    assert cli.unirep() == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1

"""Broken records are counted, logged and kept in a file; a bad option gives one line, and nothing is written."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from dataset_prep import prepare as pipeline
from dataset_prep import raw_files
from dataset_prep.item_store import ItemStore
from dataset_prep.review_store import ReviewStore
from dataset_prep.spilling import SpillingDatabase
from recbole_unirep import cli
from recbole_unirep.commands.prepare import prepare as prepare_dataset
from recbole_unirep.files.lock import locked

UNIREP = [sys.executable, "-c", "import sys; from recbole_unirep.cli import unirep; sys.exit(unirep())"]
GOOD = [json.dumps({"user_id": f"u{n % 4}", "item_id": f"i{n}", "timestamp": n}) for n in range(40)]


@pytest.fixture
def raw(tmp_path):
    """40 valid reviews, one per line."""
    path = tmp_path / "raw.jsonl"
    path.write_text("\n".join(GOOD) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def shell(monkeypatch, capsys):
    """Calls unirep and returns exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["unirep", *map(str, arguments)])
        code = cli.unirep()
        return (code, *capsys.readouterr())

    return call


def arguments_for(raw, *further):
    return ["prepare", "--dataset=made", f"--data_path={raw.parent / 'data'}", f"--reviews={raw}", "--core=1", *further]


def names_under(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


BROKEN = {
    b'{"user_id": "u1", "item_id': "neither JSON",
    b"u1 i1 5": "not JSON",
    b'{"user_id": "u1", "item_id": "i\xff", "timestamp": 1}': "not UTF-8",
    b'["u1", "i1", 1]': "a list, not an object",
    b'{"user_id": "u1", "timestamp": 1}': "item_id is missing",
    b'{"user_id": "", "item_id": "i1", "timestamp": 1}': "user_id is empty",
    b'{"user_id": "null", "item_id": "i1", "timestamp": 1}': "user_id is 'null', which RecBole reads as missing",
    b'{"user_id": "a\\tb", "item_id": "i1", "timestamp": 1}': "with control characters",
    b'{"user_id": "u1", "item_id": "i1", "timestamp": 1.5}': "timestamp is 1.5, neither a whole number",
    b'{"user_id": "u1", "item_id": "i1", "timestamp": 1e400}': "timestamp is inf",
    b"{'user_id': open('made-by-a-line', 'w').name, 'item_id': 'i1', 'timestamp': 1}": "nor a Python literal",
    b"{" * 100_000: "nor a Python literal",
}


def test_broken_lines_are_counted_logged_and_kept(raw, shell, tmp_path):
    lines = [line.encode() for line in GOOD]
    for place, line in enumerate(BROKEN):
        lines.insert(3 * place + 1, line)
    raw.write_bytes(b"\n".join(lines) + b"\n")
    code, out, error = shell(*arguments_for(raw, "--max_broken=0.3"))
    assert (code, error) == (0, "")
    folder = tmp_path / "data" / "made"
    rejected = [json.loads(line) for line in (folder / "made.rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["line"] for record in rejected] == [3 * place + 2 for place in range(len(BROKEN))]
    for record, (line, reason) in zip(rejected, BROKEN.items()):
        assert reason in record["reason"]
        assert record["text"] == line.decode("utf-8", "backslashreplace")
    assert out.count("raw.jsonl, line ") == 5  # the first five
    assert "raw.jsonl, line 2: neither JSON" in out
    assert "raw.jsonl: 52 records, 12 broken" in out
    assert len((folder / "made.inter").read_text(encoding="utf-8").splitlines()) == 1 + len(GOOD)
    assert not (tmp_path / "made-by-a-line").exists()
    manifest = json.loads((folder / "made.manifest.json").read_text(encoding="utf-8"))
    assert [source["broken"] for source in manifest["sources"]] == [12]


@pytest.mark.parametrize(("max_broken", "code"), [("0.03", 2), ("0.05", 0), ("0", 2), ("1", 0)])
def test_too_many_broken_lines_stop_the_command(raw, shell, tmp_path, max_broken, code):
    raw.write_text("\n".join([*GOOD[:38], "{", "{"]) + "\n", encoding="utf-8")  # 2 of 40
    found, _, error = shell(*arguments_for(raw, f"--max_broken={max_broken}"))
    assert found == code
    if code:
        assert error.startswith(f"unirep: {raw}: 2 of 40 records are broken, max_broken={max_broken} allows ")
        assert "the first: line 39: " in error
        assert error.count("\n") == 1
        assert names_under(tmp_path) == ["raw.jsonl"]


def test_a_file_of_another_format_is_given_up_early(raw, monkeypatch):
    monkeypatch.setattr(pipeline, "EARLY", 10)
    raw.write_text("\n".join([*GOOD[:4], *["no line of ours"] * 1_000]) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="6 of 10 records are broken"):
        prepare_dataset(arguments_for(raw)[1:])


def test_broken_records_are_counted_per_file(raw, shell, tmp_path):
    meta = tmp_path / "meta.jsonl"
    meta.write_text('{"item_id": "i1", "title": "one"}\n{"item_id": "i2", "title": {}}\n', encoding="utf-8")
    code, _, error = shell(*arguments_for(raw, f"--metadata={meta}"))
    assert code == 2
    assert f"{meta}: 1 of 2 records are broken" in error
    assert names_under(tmp_path) == ["meta.jsonl", "raw.jsonl"]
    assert shell(*arguments_for(raw, f"--metadata={meta}", "--max_broken=0.5"))[0] == 0


def test_csv_rows_of_the_wrong_length_are_kept_whole(tmp_path, shell):
    raw = tmp_path / "raw.csv"
    raw.write_bytes(b'user_id,item_id\nu1,i1\nu2\n"u3\nx",i\xff,9\nu4,i4\n')
    assert shell(*arguments_for(raw, "--max_broken=0.5"))[0] == 0
    folder = tmp_path / "data" / "made"
    assert (folder / "made.inter").read_text(encoding="utf-8").splitlines()[1:] == ["u1\ti1", "u4\ti4"]
    rejected = [json.loads(line) for line in (folder / "made.rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(record["line"], record["reason"]) for record in rejected] == [
        (3, "1 cells, 2 columns"), (5, "3 cells, 2 columns")
    ]  # fmt: skip
    assert rejected[1]["text"] == '"u3\nx",i\\xff,9'


def test_an_endless_line_does_not_fill_the_memory(raw, monkeypatch):
    monkeypatch.setattr(raw_files, "LONGEST_LINE", 200)
    raw.write_text("\n".join([GOOD[0], "x" * 5_000, GOOD[1]]), encoding="utf-8")
    records = list(raw_files.RawFile(raw).records())
    assert [record.number for record in records] == [1, 2, 3]
    assert records[1].fields == "longer than 200 bytes"
    assert len(records[1].raw) == 200


@pytest.mark.parametrize("damage", [lambda whole: whole[:-20], lambda whole: whole[:60] + b"\0\0\0\0" + whole[64:]])
def test_a_damaged_gzip_file_is_named(tmp_path, shell, damage):
    raw = tmp_path / "raw.jsonl.gz"
    raw.write_bytes(damage(gzip.compress("\n".join(GOOD).encode())))
    code, _, error = shell(*arguments_for(raw))
    assert code == 2
    assert error.startswith(f"unirep: {raw} is a truncated or damaged gzip file, line ")
    assert error.count("\n") == 1
    assert names_under(tmp_path) == ["raw.jsonl.gz"]


def test_a_damaged_parquet_file_is_named(tmp_path, shell):
    raw = tmp_path / "raw.parquet"
    raw.write_bytes(b"PAR1 and nothing else PAR1")
    code, _, error = shell(*arguments_for(raw))
    assert (code, error.count("\n")) == (2, 1)
    assert f"{raw} can't be read as Parquet" in error


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (["--core=0"], "core=0 is not a whole number of at least 1"),
        (["--user_core=five"], "user_core=five is not a whole number of at least 1"),
        (["--core=41"], "none of 40 interactions is left (user_core 41, item_core 41): lower the cores"),
        (["--duplicates=some"], "duplicates=some is unknown: known are all, first, last"),
        (["--max_broken=2"], "max_broken=2 is not a number from 0 to 1"),
        (["--max_broken=nan"], "max_broken=nan is not a number from 0 to 1"),
        (["--memory=much"], "memory=much is not an amount of memory: write e.g. --memory=2GB"),
        (["--dataset=../made"], "--dataset is given twice, as 'made' and '../made'"),
        (["--split=temporal"], "split=temporal needs --valid_from=TIME and --test_from=TIME"),
        (["--split=weekly"], "split=weekly is unknown: known are leave_one_out, temporal"),
        (["--valid_from=3"], "valid_from is not used with split=leave_one_out"),
        (["--split=temporal", "--valid_from=9", "--test_from=9"], "valid_from=9 is not before test_from=9"),
        (
            ["--split=temporal", "--valid_from=90", "--test_from=99"],
            "leaves no rows for validation",
        ),
        (["--columns=user_id=who"], "has no user_id=who, item_id, its fields are user_id, item_id, timestamp"),
        (["--columns=who=user_id"], "columns name who: known are user_id, item_id, rating, timestamp"),
        (["--columns=user_id"], 'columns="user_id" is not understood'),
        (["--columns=user_id='who"], "columns=user_id='who is not understood (No closing quotation)"),
        (["--format=xml"], "format=xml is unknown: known are csv, jsonl, parquet"),
        (["--separator=::"], "separator='::' is 2 characters long"),
        (["--metadata=gone.csv"], "gone.csv is not a file"),
        (["--metadata=gone*.csv"], "metadata=gone*.csv matches no file"),
        (["--overwrite=perhaps"], "overwrite=perhaps is neither True nor False"),
        (["--cores=5"], "prepare has no option --cores: did you mean --core"),
    ],
)
def test_a_bad_option_gives_one_line_and_writes_nothing(raw, shell, tmp_path, further, message):
    chosen = {argument.split("=")[0] for argument in further} - {"--dataset"}
    kept = [argument for argument in arguments_for(raw) if argument.split("=")[0] not in chosen]
    code, _, error = shell(*kept, *further)
    assert code == 2
    assert error.startswith("unirep: ")
    assert message in error
    assert error.count("\n") == 1
    assert names_under(tmp_path) == ["raw.jsonl"]


def test_missing_or_unusable_arguments_are_named(shell):
    assert shell("prepare", "--dataset=made")[2].startswith(
        "unirep: prepare needs --reviews: write e.g. unirep prepare "
    )
    assert "can't be a folder name" in shell("prepare", "--dataset=a/b", "--reviews=x.csv")[2]
    assert "is bundled with RecBole" in shell("prepare", "--dataset=ml-100k", "--reviews=x.csv")[2]
    assert "its format is not clear from its name" in shell("prepare", "--dataset=a", f"--reviews={__file__}")[2]


STAGES = [
    (ReviewStore, "append"), (ReviewStore, "number"), (ReviewStore, "keep_core"), (ReviewStore, "write"),
    (ItemStore, "append"), (ItemStore, "write"), (SpillingDatabase, "export"), (pipeline, "write_manifest"),
]  # fmt: skip


@pytest.mark.parametrize(("owner", "stage"), STAGES, ids=[f"{owner.__name__}.{stage}" for owner, stage in STAGES])
@pytest.mark.parametrize("overwrites", [False, True])
def test_an_interruption_changes_nothing_in_the_folder(raw, monkeypatch, tmp_path, owner, stage, overwrites):
    meta = tmp_path / "meta.jsonl"
    meta.write_text('{"item_id": "i1", "title": "one"}\n', encoding="utf-8")
    arguments = arguments_for(raw, f"--metadata={meta}", "--overwrite=True")[1:]
    if overwrites:
        prepare_dataset(arguments)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def stop(*arguments, **keys):
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, stage, stop)
    with pytest.raises(KeyboardInterrupt):
        prepare_dataset(arguments)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert (tmp_path / "data").exists() == overwrites


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to another process")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGKILL", -9)])
def test_a_signal_leaves_no_dataset_and_the_next_command_starts_over(raw, tmp_path, name, code):
    lines = (f'{{"user_id": "u{n % 9}", "item_id": "i{n}", "timestamp": {n}}}' for n in range(400_000))
    raw.write_text("\n".join(lines) + "\n", encoding="utf-8")
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # in a background job it is ignored
    process = subprocess.Popen([*UNIREP, *arguments_for(raw)], stdout=subprocess.PIPE, text=True, preexec_fn=heard)
    process.stdout.readline()  # it has begun to read
    while not (tmp_path / "data" / ".made.partial" / "rows.duckdb").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    process.communicate()
    assert process.returncode == code
    assert not (tmp_path / "data" / "made").exists()
    assert (tmp_path / "data").exists() == (name == "SIGKILL")
    raw.write_text("\n".join(GOOD), encoding="utf-8")
    prepare_dataset(arguments_for(raw)[1:])
    assert names_under(tmp_path / "data") == ["made", "made/made.inter", "made/made.manifest.json"]


def test_two_commands_do_not_prepare_one_dataset_at_once(raw, shell, tmp_path):
    folder = tmp_path / "data" / ".made.partial"
    with locked(folder):
        code, _, error = shell(*arguments_for(raw))
    assert (code, error.count("\n")) == (2, 1)
    assert "made is being prepared" in error
    assert os.listdir(folder) == ["lock"]
    assert shell(*arguments_for(raw))[0] == 0


def test_a_dataset_is_replaced_only_when_asked(raw, shell, tmp_path):
    folder = tmp_path / "data" / "made"
    meta = tmp_path / "meta.jsonl"
    meta.write_text('{"item_id": "i1", "title": "one"}\n', encoding="utf-8")
    assert shell(*arguments_for(raw, f"--metadata={meta}"))[0] == 0
    (folder / "made.mine.npy").write_bytes(b"vectors of the user")
    before = (folder / "made.inter").read_bytes()
    code, _, error = shell(*arguments_for(raw, "--core=2"))
    assert code == 2
    raw.write_text("\n".join(GOOD[:20]), encoding="utf-8")
    code, _, error = shell(*arguments_for(raw))
    assert (code, error.count("\n")) == (2, 1)
    assert "made.inter exists: choose another --dataset, or replace the dataset with --overwrite=True" in error
    assert (folder / "made.inter").read_bytes() == before
    assert shell(*arguments_for(raw, "--overwrite=True"))[0] == 0
    assert (folder / "made.inter").read_bytes() != before
    # the previous item file is removed with its interactions, the user's own files are not
    assert names_under(folder) == ["made.inter", "made.manifest.json", "made.mine.npy"]

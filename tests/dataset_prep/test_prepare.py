"""Raw files of every format give the same dataset: the same interactions, the same order, the same bytes."""

import csv
import gzip
import json
import random
from collections import Counter

import duckdb
import pytest

from dataset_prep import prepare as pipeline
from recbole_unirep.commands.prepare import prepare as prepare_dataset
from recbole_unirep.files.checksums import file_sha256

REVIEWS = [  # user, item, stars, time
    ("u2", "i1", 4.0, 1_400_000_300),
    ("u1", "i2", 5.0, 1_400_000_100),
    ("u1", "i1", 3.0, 1_400_000_100),
    ("u3", "i1", 1.0, 1_400_000_200),
    ("u2", "i2", 2.5, 1_400_000_100),
]
INTER = (
    "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "u1\ti2\t5.0\t1400000100\n"
    "u1\ti1\t3.0\t1400000100\n"
    "u2\ti2\t2.5\t1400000100\n"
    "u3\ti1\t1.0\t1400000200\n"
    "u2\ti1\t4.0\t1400000300\n"
)
OLD, NEW = ("reviewerID", "asin", "overall", "unixReviewTime"), ("user_id", "parent_asin", "rating", "timestamp")


def records(names):
    return [{**dict(zip(names, review)), "reviewText": 'It\'s "so"\n', "helpful": [0, 1]} for review in REVIEWS]


def packed(path, text):
    path.write_bytes(gzip.compress(text.encode()))


def write_2014(path):
    packed(path, "".join(f"{record!r}\n" for record in records(OLD)))


def write_2018(path):
    packed(path, "".join(f"{json.dumps(record)}\n" for record in records(OLD)))


def write_2023(path):
    lines = [json.dumps({**record, "asin": "a variant", "images": [{}]}) for record in records(NEW)]
    path.write_text("\ufeff" + "\r\n\n".join(lines), encoding="utf-8")


def write_csv(path):
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["title", *NEW])
        out.writerows(["two\nlines, one cell", *review] for review in REVIEWS)


def write_tsv_without_names(path):
    packed(path, "".join("\t".join(map(str, review)) + "\n" for review in REVIEWS))


def write_parquet(path):
    rows = ", ".join(f"('{user}', '{item}', {stars}, {time})" for user, item, stars, time in REVIEWS)
    duckdb.connect().execute(f"COPY (FROM (VALUES {rows}) t({', '.join(NEW)})) TO '{path}'")


FORMS = {
    "reviews.json.gz": (write_2014, []),
    "reviews_5.json.gz": (write_2018, []),
    "reviews.jsonl": (write_2023, []),
    "reviews.csv": (write_csv, []),
    "ratings.tsv.gz": (write_tsv_without_names, ["--header=user_id,item_id,rating,timestamp"]),
    "reviews.parquet": (write_parquet, []),
}


def prepared(tmp_path, *arguments, core=1, dataset="made"):
    """The texts of a prepared dataset's files, by the end of their names."""
    prepare_dataset([f"--dataset={dataset}", f"--data_path={tmp_path / 'data'}", f"--core={core}", *arguments])
    folder = tmp_path / "data" / dataset
    return {path.name[len(dataset) + 1 :]: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def write_reviews(path, reviews):
    """JSON lines of user, item, time."""
    names = ("user_id", "item_id", "timestamp")
    path.write_text("".join(json.dumps(dict(zip(names, review))) + "\n" for review in reviews), encoding="utf-8")


def rows_of(files):
    """User, item, time of a `.inter` file without ratings."""
    user_item_time = (line.split("\t") for line in files["inter"].splitlines()[1:])
    return [(user, item, int(time)) for user, item, time in user_item_time]


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_interactions(tmp_path, name):
    write, options = FORMS[name]
    write(tmp_path / name)
    files = prepared(tmp_path, f"--reviews={tmp_path / name}", *options)
    assert files["inter"] == INTER
    assert set(files) == {"inter", "manifest.json"}


def test_columns_are_named_by_the_user(tmp_path):
    (tmp_path / "log.csv").write_text("who;what;when\nu1;i1;2014-01-02\nu1;i2;2014-01-01T00:00:01\n", encoding="utf-8")
    options = ["--separator=;", "--columns=user_id=who item_id=what timestamp=when"]
    files = prepared(tmp_path, f"--reviews={tmp_path / 'log.csv'}", *options)
    assert rows_of(files) == [("u1", "i2", 1_388_534_401_000_000), ("u1", "i1", 1_388_620_800_000_000)]


def test_field_names_may_contain_spaces(tmp_path):
    (tmp_path / "log.csv").write_text("User ID,Item, no.\nu1,i1,x\n", encoding="utf-8")
    files = prepared(tmp_path, f"--reviews={tmp_path / 'log.csv'}", "--columns=user_id='User ID' item_id=Item")
    assert files["inter"] == "user_id:token\titem_id:token\nu1\ti1\n"


def test_without_a_header_line_the_error_asks_for_a_header(tmp_path):
    (tmp_path / "ratings.csv").write_text("u1,i1,5.0,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no user_id, item_id, its fields are u1, i1, 5.0, 1: .*--header=user_id,"):
        prepared(tmp_path, f"--reviews={tmp_path / 'ratings.csv'}")


def test_without_times_the_order_of_the_files_is_kept(tmp_path):
    for name, lines in (("b.csv", "u1,i3\n"), ("a.csv", "u1,i2\nu1,i1\n")):
        (tmp_path / name).write_text("user_id,item_id\n" + lines, encoding="utf-8")
    files = prepared(tmp_path, f'--reviews="{tmp_path / "b.csv"}" {tmp_path / "a.csv"}')
    assert files["inter"] == "user_id:token\titem_id:token\nu1\ti3\nu1\ti2\nu1\ti1\n"


def test_a_pattern_reads_its_files_in_order_of_their_names(tmp_path):
    for name in ("part-2", "part-1"):
        write_reviews(tmp_path / f"{name}.jsonl", [("u1", name, 5)])
    files = prepared(tmp_path, f"--reviews={tmp_path}/part-*.jsonl")
    assert [item for _, item, _ in rows_of(files)] == ["part-1", "part-2"]


def test_simultaneous_interactions_keep_the_order_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "REVIEWS_AT_ONCE", 7)
    draw = random.Random(0)
    reviews = [(f"u{draw.randrange(9)}", f"i{number}", draw.randrange(3)) for number in range(200)]
    write_reviews(tmp_path / "raw.jsonl", reviews)
    files = prepared(tmp_path, f"--reviews={tmp_path / 'raw.jsonl'}")
    assert rows_of(files) == sorted(reviews, key=lambda review: review[2])


def test_times_beyond_float64_are_written_to_the_last_digit(tmp_path):
    times = [2**62 + 1, 2**62, 2**53 + 1, -5]
    write_reviews(tmp_path / "raw.jsonl", [("u1", f"i{time}", time) for time in times])
    files = prepared(tmp_path, f"--reviews={tmp_path / 'raw.jsonl'}")
    assert [time for _, _, time in rows_of(files)] == sorted(times)


def core_by_hand(reviews, user_core, item_core):
    """Drops weak users and items one at a time."""
    while True:
        users, items = Counter(review[0] for review in reviews), Counter(review[1] for review in reviews)
        weak = [user for user in users if users[user] < user_core] + [item for item in items if items[item] < item_core]
        if not weak:
            return reviews
        reviews = [review for review in reviews if weak[0] not in review]


@pytest.mark.parametrize(("user_core", "item_core"), [(5, 5), (3, 6), (1, 4), (4, 1)])
def test_the_core_equals_that_of_a_slow_loop(tmp_path, user_core, item_core):
    draw = random.Random(user_core)
    pairs = {(f"u{int(draw.random() ** 2 * 70)}", f"i{int(draw.random() ** 3 * 60)}") for _ in range(700)}
    reviews = [(user, item, time) for time, (user, item) in enumerate(sorted(pairs))]
    write_reviews(tmp_path / "raw.jsonl", reviews)
    options = [f"--user_core={user_core}", f"--item_core={item_core}"]
    files = prepared(tmp_path, f"--reviews={tmp_path / 'raw.jsonl'}", *options)
    expected = core_by_hand(reviews, user_core, item_core)
    assert 0 < len(expected) < len(reviews)
    assert rows_of(files) == expected
    counts = json.loads(files["manifest.json"])["counts"]
    assert counts["interactions"] == len(expected)
    assert (counts["users"], counts["items"]) == tuple(len({row[place] for row in expected}) for place in (0, 1))


def test_a_chain_takes_one_round_per_link(tmp_path):
    reviews = [(f"u{link}", f"i{link + step}", link) for link in range(6) for step in (0, 1)]  # a path: no 2-core
    ring = [("v1", "j1", 9), ("v1", "j2", 9), ("v2", "j1", 9), ("v2", "j2", 9)]
    write_reviews(tmp_path / "raw.jsonl", reviews + ring)
    files = prepared(tmp_path, f"--reviews={tmp_path / 'raw.jsonl'}", core=2)
    assert rows_of(files) == ring
    assert json.loads(files["manifest.json"])["counts"]["core_rounds"] >= 3


@pytest.mark.parametrize(
    ("duplicates", "kept"),
    [
        ("first", [("u1", "i2", 1), ("u1", "i1", 2), ("u2", "i1", 2)]),
        ("last", [("u1", "i2", 1), ("u2", "i1", 2), ("u1", "i1", 9)]),
        ("all", [("u1", "i2", 1), ("u1", "i1", 2), ("u1", "i1", 2), ("u2", "i1", 2), ("u1", "i1", 9)]),
    ],
)
def test_duplicates_are_kept_as_asked(tmp_path, monkeypatch, duplicates, kept):
    monkeypatch.setattr("dataset_prep.review_store.PAIRS_AT_ONCE", 2)
    repeated = [("u1", "i1", 9), ("u1", "i1", 2), ("u1", "i1", 2), ("u2", "i1", 2), ("u1", "i2", 1)]
    write_reviews(tmp_path / "raw.jsonl", repeated)
    files = prepared(tmp_path, f"--reviews={tmp_path / 'raw.jsonl'}", f"--duplicates={duplicates}")
    assert rows_of(files) == kept
    assert json.loads(files["manifest.json"])["counts"]["duplicates_dropped"] == 5 - len(kept)


def test_simultaneous_duplicates_are_chosen_by_line(tmp_path):
    raw = tmp_path / "raw.csv"
    raw.write_text("user_id,item_id,rating,timestamp\nu1,i1,1,5\nu1,i1,2,5\nu1,i1,3,5\n", encoding="utf-8")
    for which, stars in (("first", "1.0"), ("last", "3.0")):
        files = prepared(tmp_path, f"--reviews={raw}", f"--duplicates={which}", dataset=which)
        assert files["inter"].splitlines()[1:] == [f"u1\ti1\t{stars}\t5"]


def test_duplicates_do_not_count_for_the_core(tmp_path):
    write_reviews(tmp_path / "raw.jsonl", [("u1", "i1", 1)] * 3 + [("u2", "i2", 1), ("u2", "i3", 1), ("u3", "i2", 1)])
    options = ["--user_core=2", "--item_core=1"]
    files = prepared(tmp_path, f"--reviews={tmp_path / 'raw.jsonl'}", *options)
    assert [user for user, _, _ in rows_of(files)] == ["u2", "u2"]


def test_the_same_input_gives_the_same_bytes(tmp_path, monkeypatch):
    draw = random.Random(1)
    reviews = [(f"u{draw.randrange(40)}", f"i{draw.randrange(30)}", draw.randrange(50)) for _ in range(2_000)]
    write_reviews(tmp_path / "raw.jsonl", reviews)
    items = [{"item_id": f"i{number}", "title": f"thing {number}"} for number in (3, 1, 2, 1)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items)) + "\n{broken\n", encoding="utf-8")
    raw = [f"--reviews={tmp_path / 'raw.jsonl'}", f"--metadata={tmp_path / 'items.jsonl'}", "--max_broken=0.2"]
    whole = prepared(tmp_path / "one", *raw)
    assert set(whole) == {"inter", "item", "manifest.json", "rejected.jsonl"}
    monkeypatch.setattr(pipeline, "REVIEWS_AT_ONCE", 90)
    monkeypatch.setattr(pipeline, "ITEMS_AT_ONCE", 2)
    assert prepared(tmp_path / "two", *raw, "--memory=100MB") == whole


def test_the_manifest_records_sources_options_and_files(tmp_path):
    write_2018(tmp_path / "raw.json.gz")
    manifest = json.loads(prepared(tmp_path, f"--reviews={tmp_path / 'raw.json.gz'}")["manifest.json"])
    [source] = manifest["sources"]
    assert (source["file"], source["records"], source["broken"]) == ("raw.json.gz", 5, 0)
    assert source["sha256"] == file_sha256(tmp_path / "raw.json.gz")
    assert manifest["files"] == {"made.inter": file_sha256(tmp_path / "data" / "made" / "made.inter")}
    assert manifest["options"]["duplicates"] == "first"
    assert (manifest["counts"]["first_time"], manifest["counts"]["last_time"]) == (1_400_000_100, 1_400_000_300)

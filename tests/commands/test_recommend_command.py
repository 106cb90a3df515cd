"""`unirep recommend` in a shell: complete files or none; user mistakes are one line and exit code 2."""

import csv
import json
import sys

import pytest
from pyarrow import parquet

from recbole_unirep import cli
from recbole_unirep.quick_start import run_recbole
from recbole_unirep.serving import output
from recbole_unirep.serving.recommender import Recommender

SMALL = {
    "hidden_size": 16,
    "inner_size": 16,
    "embedding_size": 16,
    "MAX_ITEM_LIST_LENGTH": 6,
    "show_progress": False,
    "epochs": 1,
    "protocol": "full_unseen",
    "use_gpu": False,
}
UNIREP = {
    "n_levels": 3,
    "codebook_size": 4,
    "code_dim": 8,
    "encoder_sizes": [8],
    "text_encoder": "lexical",
    "lexical_dim": 8,
}


@pytest.fixture
def run(tiny, tmp_path):
    """Trains a model for one epoch; returns the run's folder."""

    def train(model="SASRec", **keys):
        folder = tmp_path / f"run-{model}"
        run_recbole(model, "tiny", config_dict={"data_path": str(tiny.parent), "run_dir": str(folder), **SMALL, **keys})
        return folder

    return train


@pytest.fixture
def shell(monkeypatch, capsys):
    """Calls `unirep recommend`; returns exit code, output and error."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["unirep", "recommend", *map(str, arguments)])
        capsys.readouterr()
        code = cli.unirep()
        return code, *capsys.readouterr()

    return call


def lines_of(file):
    """Rows of a file of recommendations: user, rank, item, title, score."""
    if file.suffix == ".parquet":
        return [tuple(row.values()) for row in parquet.read_table(file).to_pylist()]
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".jsonl":
        return [tuple(json.loads(line).values()) for line in text.splitlines()]
    rows = list(csv.reader(text.splitlines()))
    assert rows[0] == ["user", "rank", "item", "title", "score"]
    return [(user or None, int(rank), item, title, float(score)) for user, rank, item, title, score in rows[1:]]


def test_items_in_items_titles_and_scores_out(shell, run):
    folder = run()
    code, out, error = shell(folder, "--items", "i1,i2,i3", "--k=4")
    assert (code, error) == (0, "")
    (row,) = Recommender.load(folder).recommend(items=[["i1", "i2", "i3"]], k=4)
    lines = out.splitlines()
    assert lines[0].split() == ["rank", "item", "title", "score"]
    shown = [line.split() for line in lines[2:]]
    assert [(words[1], " ".join(words[2:-1])) for words in shown] == list(zip(row.items, row.titles))
    assert [float(words[-1]) for words in shown] == pytest.approx(row.scores, abs=5e-5)
    assert shell(folder, "--items=i1,i2,i3", "--k", "4") == (0, out, "")


def test_users_of_a_file(shell, run, tmp_path):
    folder, users = run(), tmp_path / "users.txt"
    users.write_text("u5\n\nu3\n", encoding="utf-8")
    code, out, _ = shell(folder, "--users", users, "--k=2")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["u5", "u5", "u3", "u3"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_all_users_go_to_a_file(shell, run, tmp_path, ending):
    folder, file = run(), tmp_path / f"recs.{ending}"
    code, out, error = shell(folder, "--all-users", "--out", file, "--k=3")
    assert (code, out, error) == (0, f"{file}: recommendations for 60 histories\n", "")
    expected = [
        (row.user, rank, *line)
        for row in Recommender.load(folder).stream(k=3)
        for rank, line in enumerate(zip(row.items, row.titles, row.scores), start=1)
    ]
    found = lines_of(file)
    assert [line[:4] for line in found] == [line[:4] for line in expected]
    assert [line[4] for line in found] == pytest.approx([line[4] for line in expected], rel=1e-7)
    assert len(found) == 180


def test_histories_without_user_have_none_in_the_file(shell, run, tmp_path):
    folder = run()
    for ending in ("csv", "jsonl", "parquet"):
        file = tmp_path / f"recs.{ending}"
        assert shell(folder, "--items=i1", f"--out={file}", "--k=1")[0] == 0
        assert lines_of(file)[0][0] is None


def test_candidates_of_a_file_and_earlier_items(shell, run, tmp_path):
    folder, candidates = run(), tmp_path / "candidates.txt"
    candidates.write_text("i1\ni2\ni3\ni4\n", encoding="utf-8")
    code, out, _ = shell(folder, "--items=i1", "--candidates", candidates, "--k=4")
    assert code == 0 and sorted(line.split()[1] for line in out.splitlines()[2:]) == ["i2", "i3", "i4"]
    code, out, _ = shell(folder, "--items=i1", "--candidates", candidates, "--k=4", "--keep-earlier")
    assert code == 0 and sorted(line.split()[1] for line in out.splitlines()[2:]) == ["i1", "i2", "i3", "i4"]


def test_hnsw_states_its_recall(shell, run, tmp_path):
    code, out, _ = shell(run(), "--all-users", f"--out={tmp_path / 'recs.csv'}", "--k=5", "--index=hnsw")
    assert code == 0
    assert out.startswith("hnsw: recall@5 ") and "against exact ranking, mean of 60 histories\n" in out


def test_a_stopped_command_leaves_no_file_and_keeps_the_old_one(shell, run, tmp_path, monkeypatch):
    folder, file = run(), tmp_path / "recs.csv"
    file.write_text("before", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    for error, code in ((KeyboardInterrupt(), 130), (OSError("no space left"), 2)):
        written = []

        def lines(recommendation, written=written, error=error):
            written.append(recommendation)
            if len(written) > 30:
                raise error
            return []

        monkeypatch.setattr(output, "lines_of", lines)
        assert shell(folder, "--all-users", f"--out={file}")[0] == code
        assert len(written) == 31
        assert sorted(tmp_path.iterdir()) == before
        assert file.read_text(encoding="utf-8") == "before"


BAD = {
    "--items=i1,i1000,x8": "2 of 3 items are not among the run's 118, the first is 'i1000': did you mean 'i100'?",
    "--items=i1,[PAD]": "1 of 2 items are not among the run's 118, the first is '[PAD]': a known one is",
    "--items=": "--items is empty: write --items=A,B,C",
    "--items=i1,,i2": "--items=i1,,i2 has an empty place: write item tokens between commas",
    "--users=UNKNOWN": "2 of 3 users are not among the run's 60, the first is 'u600': did you mean 'u",
    "--users=gone.txt": "gone.txt is missing: name a file of users, one token per line",
    "--users=EMPTY": "is empty: give users, one token per line",
    "--items=i1 --candidates=UNKNOWN": "candidates are not among the run's 118",
    "--items=i1 --k=119": "k=119 is more than the 118 items of the run: lower k",
    "--items=i1 --k=0": "k=0 is not a whole number of at least 1: give one",
    "--items=i1 --k=ten": "k=ten is not a whole number of at least 1: give one",
    "--items=i1 --out=recs.xlsx": "out=recs.xlsx ends in '.xlsx', known are .csv, .jsonl, .parquet: choose one of them",
    "--items=i1 --out=gone/recs.csv": "out=gone/recs.csv: there is no folder gone: create it, or choose another",
    "--items=i1 --index=annoy": "index=annoy is unknown: known are exact, faiss, hnsw",
    "--items=i1 --users=EMPTY": "--users FILE, --all-users, found --items and --users: give one",
    "--k=3": "recommend needs one of --items A,B,C, --users FILE, --all-users, found none: give one",
    "--all-users": "recommend writes --all-users to a file: add --out FILE.csv, .jsonl or .parquet",
    "--itmes=i1": "recommend has no option --itmes: did you mean --items?",
    "--hlep": "recommend has no option --hlep: did you mean --help?",
    "--items=i1 --keep-earlier=no": "--keep-earlier takes no value, 'no' is given: leave it out",
    "--items=i1 --items=i2": "--items is given twice, as 'i1' and 'i2': give it once",
}


def test_bad_input_has_one_line_and_writes_nothing(shell, run, tmp_path):
    folder = run()
    (tmp_path / "EMPTY").write_text("\n \n", encoding="utf-8")
    (tmp_path / "UNKNOWN").write_text("u1\nu600\nx\n", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in BAD.items():
        code, out, error = shell(folder, *arguments.split())
        assert (code, out, error.count("\n")) == (2, "", 1), (arguments, out, error)
        assert error.startswith("unirep: ") and message in error, (arguments, error)
        assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_without_a_checkpoint_is_named(shell, run, tmp_path):
    folder = run()
    (folder / "model.pt").unlink()
    code, _, error = shell(folder, "--items=i1")
    assert code == 2 and f"{folder} has no model.pt, so it cannot recommend" in error
    code, _, error = shell(tmp_path / "gone", "--items=i1")
    assert code == 2 and "gone holds no run: no config.yaml in it" in error
    code, _, error = shell("--items=i1")
    assert code == 2 and "recommend needs RUN, the folder of a finished run: write unirep recommend RUN" in error


@pytest.mark.parametrize(
    ("model", "keys", "option", "message"),
    [
        ("Caser", {}, "--items=i1", "Caser needs a user and these histories have none: give known users"),
        ("BPR", {}, "--items=i1", "BPR needs a user and these histories have none: give known users"),
        ("Caser", {}, "--index=faiss", "index=faiss needs a model that scores by the product of a state and an item"),
        ("BPR", {}, "--index=hnsw", "index=hnsw needs a model that scores by the product of a state and an item table"),
        ("TIGER", UNIREP, "--index=faiss", "index=faiss needs a model that scores by the product of"),
        ("TIGER", UNIREP, "--k=50", "k=50 is more than num_beams=30 finds: raise num_beams, or set exact_ranking"),
        (
            "UniRep",
            {**UNIREP, "popularity_bias": 0.2, "history_similarity": 0.0},
            "--index=faiss",
            "index=faiss holds only item vectors, but UniRep of this run adds repeat_bias, transition_bias, ",
        ),
    ],
)
def test_an_unsupported_option_of_a_model_is_a_one_line_error(shell, run, tmp_path, model, keys, option, message):
    folder, file = run(model, **keys), tmp_path / "recs.csv"
    whom = [] if option.startswith("--items") else ["--items=i1"]
    code, out, error = shell(folder, *whom, option, f"--out={file}")
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert error.startswith(f"unirep: {message}")
    assert not list(tmp_path.glob("recs*"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"items": [["i1"], []]}, "history 2 is empty: SASRec needs at least one item"),
        ({"items": []}, "no history or user is given: give at least one"),
        ({"items": ["i1", "i2"]}, "items must be lists of item tokens: give one list per history"),
        ({"items": [["i1"]], "users": ["u1", "u2"]}, "1 histories and 2 users are given: give one user each"),
        ({"items": [["i1"]], "candidates": []}, "k=10 is more than the 0 candidates given: lower k"),
        ({"items": [["i1"]], "k": 2.5}, "k=2.5 is not a number of items: give a whole number above 0"),
    ],
)
def test_errors_of_the_python_function(run, asked, message):
    with pytest.raises(ValueError, match=message):
        Recommender.load(run()).recommend(**asked)


def test_parquet_without_pyarrow_says_what_to_install(shell, run, tmp_path, monkeypatch):
    folder = run()
    monkeypatch.delitem(sys.modules, "recbole_unirep.serving.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, error = shell(folder, "--items=i1", f"--out={tmp_path / 'recs.parquet'}")
    assert code == 2 and error.startswith("unirep: a .parquet file needs pyarrow")
    assert "pip install 'recbole-unirep[serve]'" in error and error.count("\n") == 1
    assert shell(folder, "--items=i1", f"--out={tmp_path / 'recs.csv'}")[0] == 0

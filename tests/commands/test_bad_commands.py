"""A unirep subcommand that can't run prints one line with the remedy and writes nothing."""

import shlex

import numpy as np
import pytest

from recbole_unirep import cli

LEXICAL = "--dataset=tiny {data} --text_encoder=lexical --lexical_dim=8"
CASES = [
    ("foo", "command 'foo' is unknown: known are add-items, compare, embed, encode-items"),
    ("--foo=1", "command '--foo=1' is unknown"),
    ("embed", "no dataset is given: add --dataset=NAME"),
    ("embed extra words", "argument 'extra' is not understood: write --key=value"),
    ("embed --dataset=tiny", "dataset 'tiny' is unknown, there is no folder dataset/tiny (--data_path)"),
    ("embed --dataset=tiny {data} --text_encoder=", "text_encoder= names no encoder"),
    ("embed --dataset=tiny {data} --text_encoder=lexical --foo=1", "unknown key 'foo'"),
    ("embed --dataset=tiny {data} --text_encoder=lexical --lexical_dim=0", "lexical_dim=0 is too small"),
    ("compare", "compare needs --dataset: write e.g. --dataset=ml-100k, or name folders of finished runs"),
    ("compare --dataset=tiny {data}", "compare needs --models: write e.g. --models=UniRep,SASRec"),
    ("compare --dataset=tiny {data} --models=Foo", "model 'Foo' is unknown"),
    ("compare --dataset=tiny {data} --models=SASRec --seeds=x", "seeds=x is not understood"),
    ("compare --dataset=tiny {data} --models=SASRec --seeds=0", "seeds=0: give a number of seeds, at least 1"),
    ("compare --dataset=tiny {data} --models=SASRec --protocol=foo", "protocol=foo is not known"),
    ("compare --dataset=tiny {data} --models=SASRec --metrics=foo", "metrics=foo was requested, SASRec on tiny"),
    ("compare --dataset=tiny {data} --models=SASRec,SASRec", "name each once, separated by commas"),
    ("compare --dataset=tiny {data} --models=SASRec --ours=GRU4Rec", "GRU4Rec is not among models=SASRec"),
    ("compare --dataset=tiny {data} --models=SASRec --GRU4Rec.seed=1", "GRU4Rec is not among models=SASRec"),
    ("compare gone other", "gone holds no run: no config.yaml in it"),
    ("study", "study needs STUDY.yaml, the YAML file of a study: write unirep study STUDY.yaml"),
    ("study gone.yaml", "study gone.yaml does not exist: name a YAML file"),
    ("study broken.yaml", "study broken.yaml is not valid YAML"),
    ("study list.yaml", "study list.yaml holds no keys: write rows, dataset and seeds"),
    ("study no_rows.yaml", "it has no rows: write 'label: {model: NAME, ...}' lines under rows"),
    ("study bad_row.yaml", "row A is 3: write at least model: NAME"),
    ("study bad_key.yaml", "it has a key rowz: known are title, text, dataset"),
    ("study bad_metric.yaml {data}", "metrics=foo@10 was requested, A on tiny, seed 1 will have hit@1"),
    ("study good.yaml {data} --rows=B", "--rows names B: the study's rows are A"),
    ("study good.yaml {data} --foo=1", "unknown key 'foo'"),
    ("tune", "tune needs --dataset: write e.g. unirep tune --models=UniRep,SASRec --dataset=ml-100k"),
    ("tune --dataset=tiny {data}", "tune needs either --model or --models"),
    ("tune --models=SASRec", "tune needs --dataset"),
    ("tune --models=SASRec --dataset=tiny {data} --trials=0", "trials=0 is not a whole number of at least 1: give one"),
    ("tune --models=SASRec --dataset=tiny {data} --space=gone.yaml", "space gone.yaml is not a file"),
    ("tune --models=SASRec --dataset=tiny {data} --space=broken.yaml --trials=1", "broken.yaml is not valid YAML"),
    ("tokenize", "no dataset is given"),
    (f"tokenize {LEXICAL} --tokenizer=Foo", "tokenizer=Foo is unknown: known are BalancedRQKMeans"),
    (f"tokenize {LEXICAL} --codebook_size=999", "codebook_size=999 is more than the 117 items"),
    (
        f"tokenize {LEXICAL} --codebook_size=4 --collisions=foo",
        "collisions=foo is unknown: known are append, balanced, leave",
    ),
    (f"tokenize {LEXICAL} --codebook_size=4 --out=empty", "empty exists: remove it, or choose another --out"),
    (
        f"tokenize {LEXICAL} --codebook_size=4 --collaborative=gone",
        "collaborative=gone is for tokenizer=Fused or LETTER",
    ),
    (f"tokenize {LEXICAL} --n_levels=x", "n_levels=x is not a number"),
    ("tokenize --vectors=gone.npy", "gone.npy is missing: give vectors [n_items, dimensions] saved by numpy.save"),
    ("tokenize --vectors=alone.npy", "alone.json is missing, but alone.npy exists: provide both files"),
    ("encode-items", "encode-items needs BUNDLE, the folder of a bundle: write unirep encode-items BUNDLE"),
    (
        "encode-items gone --vectors=a.npy",
        "gone is not a bundle, bundle.json is missing: make one with unirep tokenize",
    ),
    ("add-items", "add-items needs RUN, the folder of a finished run: write unirep add-items RUN NEW_ITEMS"),
    ("add-items empty new.csv", "empty holds no run: no config.yaml in it"),
    ("inspect", "inspect needs BUNDLE|RUN, the folder of a bundle or of a finished run: write unirep inspect"),
    ("inspect empty", "empty holds no run: no config.yaml in it"),
    ("inspect empty --min_usage=x", "min_usage=x is not a number from 0 to 1: give one"),
    ("inspect empty --foo=1", "inspect has no option --foo: known are --data_path, --item"),
    ("export", "export needs FOLDER, the folder of a finished run, or of a bundle"),
    ("export empty", "empty holds no run: no config.yaml in it"),
    ("serve", "serve needs RUN, the folder of a finished run or of an export: write unirep serve RUN"),
    ("serve empty --port=0", "empty holds no run: no config.yaml in it"),
    ("figures", "figures needs RUN, the folder of a finished run: write unirep figures RUN"),
    ("figures gone", "gone holds no run: no config.yaml in it"),
    ("figures empty --out=", "--out is empty: write --out=FOLDER"),
    ("figures empty --out", "--out has no value: write --out=VALUE"),
    ("figures ''", "RUN is empty: name the folder of a finished run"),
    ("rank-weights", "rank-weights needs RUN, the folder of a finished run"),
    ("rank-weights gone --history_similarity=0,1", "gone holds no run: no config.yaml in it"),
    ("rank-weights empty", "rank-weights needs weights to try: write e.g. --history_similarity=0,1.5,3"),
]
FILES = {
    "broken.yaml": "a: [1, 2\nb: }",
    "list.yaml": "- a\n- b\n",
    "no_rows.yaml": "dataset: tiny\n",
    "bad_row.yaml": "dataset: tiny\nrows:\n  A: 3\n",
    "bad_key.yaml": "dataset: tiny\nrowz:\n  A: {model: SASRec}\n",
    "good.yaml": "dataset: tiny\nseeds: [1]\nrows:\n  A: {model: SASRec}\n",
    "bad_metric.yaml": "dataset: tiny\nseeds: [1]\nrows:\n  A: {model: SASRec}\ntables: {T: {metrics: [foo@10]}}\n",
}


@pytest.fixture
def folder(tiny, tmp_path):
    """Working directory: files that are not studies, vectors without item tokens, an empty folder."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    np.save(tmp_path / "alone.npy", np.ones((3, 4), dtype=np.float32))
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(("given", "message"), CASES, ids=[given for given, _ in CASES])
def test_an_impossible_command_is_a_one_line_error(tiny, folder, monkeypatch, capsys, given, message):
    before = sorted(folder.rglob("*"))
    monkeypatch.setattr("sys.argv", ["shell", *shlex.split(given.format(data=f"--data_path={tiny.parent}"))])
    assert cli.unirep() == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("unirep: ")] == lines[-1:]
    assert message in lines[-1]
    left = {path.name for path in folder.rglob("*") if path not in before}
    assert left <= {"tiny.lexical.npy", "tiny.lexical.json"}, left  # text vectors that the next command finds

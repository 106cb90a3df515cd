"""Figures of a run: files written from its folder, with the numbers of its model."""

import json
from pathlib import Path

import numpy as np
import pytest

from recbole_unirep import cli
from recbole_unirep.analysis.codebook import level_counts
from recbole_unirep.quick_start import load_data_and_model, run_recbole
from recbole_unirep.study.run_arrays import read_learning_curve, read_run

pytestmark = pytest.mark.slow  # runs are trained and drawn

AGAIN = Path("again")
OF_CODES = {"codebook_usage", "codes_by_category", "codebook_maps", "item_maps_by_code"}
SMALL = {
    "n_levels": 3,
    "codebook_size": 8,
    "code_dim": 8,
    "encoder_sizes": [12],
    "users_per_batch": 16,
    "text_encoder": "lexical",
    "lexical_dim": 16,
    "show_progress": False,
    "epochs": 2,
}


def trained(tiny, model="UniRep", **keys):
    own = SMALL if model == "UniRep" else {"show_progress": False, "epochs": 1}
    run_recbole(model, "tiny", config_dict={"data_path": str(tiny.parent), "run_dir": "run", **own, **keys})
    return Path("run")


def figures(monkeypatch, capsys, *arguments):
    """Calls `unirep figures`; returns exit code, standard output and standard error."""
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", ["unirep", "figures", *map(str, arguments)])
    return (cli.unirep(), *capsys.readouterr())


def test_the_command_draws_the_same_figures_each_time(tiny, monkeypatch, capsys):
    run = trained(tiny)
    code, out, error = figures(monkeypatch, capsys, run)
    assert (code, error) == (0, "")
    names = {*OF_CODES, "learning_curve", "item_maps_by_category"}
    files = {f"{name}.{suffix}" for name in names for suffix in ("png", "svg", "json")}
    assert {path.name for path in (run / "figures").iterdir()} == files
    assert set(out.split()) == {str(run / "figures" / name) for name in files}
    numbers = {name: json.loads((run / "figures" / f"{name}.json").read_text()) for name in names}

    _, model, data = load_data_and_model(run)
    codes = model.item_embedding.codes().numpy()
    counts = np.stack(level_counts(codes, 8))
    assert numbers["codebook_usage"]["items_by_code"] == counts.tolist()
    kinds = numbers["codes_by_category"]
    assert sorted(kinds["categories"]) == ["brush", "lipstick", "none", "perfume", "shampoo", "soap"]
    fullest = np.sort(counts, axis=1)[:, ::-1][:, :3]
    assert np.array_equal(np.sum(kinds["items_by_level_code_category"], axis=-1), fullest)
    maps = numbers["item_maps_by_code"]
    tokens = data.train.field2id_token["item_id"][1:].tolist()
    assert maps["items"] == tokens
    assert maps["first_level_code"] == codes[:, 0].tolist()
    assert {name: np.shape(points) for name, points in maps["points"].items()} == {
        "semantic embedding": (len(tokens), 2),
        "ID embedding": (len(tokens), 2),
    }
    assert all("UniRep on tiny, seed 2020" in of_figure["caption"] for of_figure in numbers.values())

    assert figures(monkeypatch, capsys, run, "--out=again", f"--data_path={tiny.parent}")[0] == 0
    first, again = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (run / "figures", AGAIN))
    assert first == again


@pytest.mark.parametrize(
    ("model", "keys", "parts"),
    [
        ("SASRec", {}, ["item embedding"]),
        ("UniRep", {"representation": "text_id"}, ["text embedding, not quantized", "ID embedding"]),
        ("UniRep", {"representation": "id"}, ["ID embedding"]),
        ("Pop", {}, []),
    ],
)
def test_a_model_without_codes_has_the_other_figures(tiny, monkeypatch, capsys, model, keys, parts):
    run = trained(tiny, model, **keys)
    arrays = read_run(run)
    assert arrays.codebooks is None
    assert arrays.name == f"{model}{''.join(f' ({value})' for value in keys.values())} on tiny, seed 2020"
    assert list(arrays.vectors) == parts
    assert all(len(vectors) == len(arrays.items) for vectors in arrays.vectors.values())
    assert figures(monkeypatch, capsys, run)[0] == 0
    drawn = {path.stem for path in (run / "figures").glob("*.png")}
    assert drawn == {"learning_curve", *(["item_maps_by_category"] if parts else [])}


def test_pieces_of_codes_have_no_codebooks_to_draw(tiny, monkeypatch, capsys):
    run = trained(tiny, tokenizer="RQKMeans", code_embedding_size=8, code_pieces="ngram")
    assert read_run(run).codebooks is None
    assert figures(monkeypatch, capsys, run)[0] == 0
    assert {path.stem for path in (run / "figures").glob("*.png")} == {"learning_curve", "item_maps_by_category"}


def test_frozen_codes_are_drawn_if_all_levels_have_one_size(tiny, monkeypatch, capsys):
    run = trained(tiny, tokenizer="RQKMeans", code_embedding_size=8)
    arrays = read_run(run)
    assert [level.shape for level in arrays.codebooks.vectors] == [(8, 8)] * 3
    assert figures(monkeypatch, capsys, run)[0] == 0
    assert {path.stem for path in (run / "figures").glob("*.png")} > OF_CODES


@pytest.mark.parametrize(
    ("keys", "sizes"),
    [
        ({"tokenizer": "HierarchicalKMeans"}, [8, 8, 8]),  # an ID ends where a cluster holds a single item
        ({"tokenizer": "CategoricalIDs", "id_columns": ["categories"]}, [1, 5]),
    ],
)
def test_ids_with_levels_of_different_sizes_are_drawn(tiny, monkeypatch, capsys, keys, sizes):
    run = trained(tiny, code_embedding_size=8, **keys)
    arrays = read_run(run)
    assert arrays.codebooks.sizes[: len(sizes)] == sizes and (arrays.codebooks.codes < 0).any()
    assert figures(monkeypatch, capsys, run)[0] == 0
    assert {path.stem for path in (run / "figures").glob("*.png")} > OF_CODES
    numbers = json.loads((run / "figures" / "codebook_usage.json").read_text())
    counts = level_counts(arrays.codebooks.codes, arrays.codebooks.sizes)
    assert numbers["items_by_code"] == [level.tolist() for level in counts]
    maps = json.loads((run / "figures" / "codebook_maps.json").read_text())
    assert len(maps["points"]) == sum(size >= 3 for size in arrays.codebooks.sizes)


def test_only_the_first_of_many_levels_are_drawn(tiny, monkeypatch, capsys):
    run = trained(tiny, n_levels=7, codebook_size=4)
    assert figures(monkeypatch, capsys, run)[0] == 0
    maps = json.loads((run / "figures" / "codebook_maps.json").read_text())
    assert len(maps["points"]) == 4 and "the first 4 of 7 levels" in maps["caption"]
    assert len(json.loads((run / "figures" / "codebook_usage.json").read_text())["items_by_code"]) == 7


def test_a_learning_curve_has_the_validated_epochs(tmp_path):
    lines = ['{"epoch": 0, "train_loss": 1}', '{"epoch": 1, "valid_score": 0.1}', '{"epoch": 3, "valid_score": 0.3}']
    file = tmp_path / "metrics.jsonl"
    file.write_text("\n".join([*lines, '{"epoch": 5, "valid_score": 0.3}', '{"epoch": 7, "va']), encoding="utf-8")
    assert read_learning_curve(tmp_path, "MRR") == ("MRR", [1, 3, 5], [0.1, 0.3, 0.3], 3)
    assert read_learning_curve(tmp_path, "LogLoss", bigger_is_better=False).chosen == 1
    file.write_text(lines[0] + "\n", encoding="utf-8")
    assert read_learning_curve(tmp_path, "MRR") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "figures needs RUN, the folder of a finished run: write unirep figures RUN"),
        (["--out=x"], "figures needs RUN, the folder of a finished run: write unirep figures RUN"),
        (["gone"], "gone holds no run"),
        (["gone", "--to=x"], "figures has no option --to: known are --out, --data_path, --category_field"),
        (["gone", "--out="], "--out is empty"),
        (["gone", "out"], "argument 'out' is not understood"),
        (["gone", "--out=file"], "out=file is a file: name a folder"),
    ],
)
def test_bad_input_is_one_line(monkeypatch, capsys, arguments, message):
    Path("file").write_text("")
    code, out, error = figures(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert error.startswith(f"unirep: {message}")
    assert error.count("\n") == 1


def test_a_missing_column_is_a_one_line_error_and_writes_nothing(tiny, monkeypatch, capsys):
    run = trained(tiny)
    code, _, error = figures(monkeypatch, capsys, run, "--category_field=kind")
    assert code == 2
    assert "no column 'kind', it has item_id, title, categories, price: set category_field" in error
    assert not (run / "figures").exists()

"""Figures show the given numbers, read back from the drawn figure."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from recbole_unirep.analysis import plots
from recbole_unirep.analysis.categories import CategoryCounts

CHECKOUT = Path(__file__).resolve().parents[2]
COUNTS = CategoryCounts(
    categories=["soap", "brush"],
    codes=np.array([[4, 1], [0, 2]]),
    counts=np.array([[[6, 2], [1, 3]], [[4, 4], [2, 0]]]),
    totals=np.array([15, 5]),
)
POINTS = np.arange(12.0).reshape(6, 2)
TITLE = "t-SNE of items, coloured by category (3,000 of 12,101 items)\nSASRec on amazon-beauty, seed 2020"
CURVES = {"UniRep": ([0, 2, 4], [0.1, 0.3, 0.2], 2), "SASRec": ([0, 1], [0.2, 0.1], 0)}


def legend_texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def points_of(collection):
    return np.asarray(collection.get_offsets()).tolist()


def test_bars_are_the_counts_and_ticks_have_the_shares_of_all_items():
    figure = plots.codes_by_category(COUNTS, ["level 1 (cosine)", "level 2 (cosine)"], "Title")
    assert figure.get_suptitle() == "Title"
    first, second = figure.axes
    assert [[bar.get_width() for bar in bars] for bars in first.containers] == [[6, 2], [1, 3]]
    assert [[bar.get_width() for bar in bars] for bars in second.containers] == [[4, 4], [2, 0]]
    assert [line.get_xdata().tolist() for line in first.lines] == [[6, 2], [3, 1]]  # 3/4 and 1/4 of 8 and 4 items
    assert [label.get_text() for label in first.get_yticklabels()] == ["soap (15)", "brush (5)"]
    assert legend_texts(first.get_legend()) == ["code 4 (8 items)", "code 1 (4 items)", "as in all items"]
    assert first.get_title() == "level 1 (cosine)"
    assert first.get_xlabel() == "items with the code"


def test_item_maps_draw_each_item_once_in_its_colour():
    groups = np.array([0, 1, 0, 2, 2, 2])  # the third group has no name
    panels = [("semantic embedding", POINTS), ("ID embedding", POINTS[::-1])]
    figure = plots.item_maps(panels, groups, ["code 7", "code 3"], legend="first-level code", title="Title")
    assert [axes.get_title() for axes in figure.axes] == ["semantic embedding", "ID embedding"]
    others, first, second = figure.axes[0].collections
    assert points_of(others) == POINTS[3:].tolist()
    assert points_of(first) == POINTS[[0, 2]].tolist()
    assert points_of(second) == POINTS[[1]].tolist()
    assert [to_hex(part.get_facecolor()[0]).upper() for part in (others, first)] == [plots.GREY, plots.COLOURS[0]]
    (legend,) = figure.legends
    assert legend_texts(legend) == ["code 7 (2)", "code 3 (1)", "others (3)"]
    assert legend.get_title().get_text() == "first-level code (items shown)"


def test_codebook_maps_draw_dead_codes_as_rings_and_colour_other_codes_by_number_of_items():
    figure = plots.codebook_maps([("level 1", POINTS)], np.array([[0, 5, 1, 0, 9, 2]]), "Title")
    dead, used = figure.axes[0].collections
    assert points_of(dead) == POINTS[[0, 3]].tolist()
    assert len(dead.get_facecolor()) == 0
    assert points_of(used) == POINTS[[4, 1, 5, 2]].tolist()  # the fullest is drawn first
    assert used.get_array().tolist() == [9, 5, 2, 1]
    assert (np.diff(used.get_sizes()) < 0).all()
    assert figure.axes[0].get_title() == "level 1\n4 codes used, 2 dead (rings)"
    assert "items with the code" in figure.axes[1].get_ylabel()


def test_codebook_usage_sorts_the_codes_of_each_level():
    figure = plots.codebook_usage(np.array([[1, 0, 5, 2], [2, 2, 2, 2]]), ["level 1", "level 2"], "Title")
    first, second, even = figure.axes[0].lines
    assert first.get_ydata().tolist() == [5, 2, 1, 0]
    assert first.get_xdata().tolist() == [1, 2, 3, 4]
    assert second.get_ydata().tolist() == [2, 2, 2, 2]
    assert even.get_ydata() == [2, 2]
    assert legend_texts(figure.legends[0]) == ["level 1", "level 2", "even use (2.0 items)"]


def test_quality_has_means_and_sample_deviations_over_seeds():
    quality = {"HIT@10": [[0.5, 0.7], [0.8, 0.8]], "MRR": [[0.2, 0.4], [0.5, 0.7]]}
    figure = plots.quality_by_id_dimension([0, 8], quality, "Title")
    hit, mrr = figure.axes
    line, _, (bars,) = hit.containers[0]
    assert line.get_xdata().tolist() == [0, 8]
    assert line.get_ydata().tolist() == pytest.approx([0.6, 0.8])
    (low, high), (same, same_too) = (segment[:, 1] for segment in bars.get_segments())
    assert (low, high) == pytest.approx((0.6 - 0.02**0.5, 0.6 + 0.02**0.5))  # variance 2 * 0.1 ** 2 / (2 - 1)
    assert same == same_too
    assert [axes.get_title() for axes in (hit, mrr)] == ["HIT@10", "MRR"]
    assert hit.get_ylabel() == "test metric, 2 seeds, mean ± sd"


def test_quality_of_one_seed_has_no_bars():
    figure = plots.quality_by_id_dimension([0, 8], {"MRR": [[0.2], [0.3]]}, "Title")
    assert figure.axes[0].containers[0][2] == ()
    assert figure.axes[0].get_ylabel() == "test metric, 1 seed"


def test_learning_curves_mark_the_chosen_epoch():
    figure = plots.learning_curves(CURVES, "NDCG@10", "Title")
    line, dot, other, _ = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[0, 0.1], [2, 0.3], [4, 0.2]]
    assert dot.get_xydata().tolist() == [[2, 0.3]]
    assert other.get_color() != line.get_color()
    assert legend_texts(figure.legends[0]) == ["UniRep", "SASRec"]
    assert figure.axes[0].get_ylabel() == "validation NDCG@10"


MANY = {f"a run of a longer name, seed {seed}": ([0, 1], [0.1, seed], 1) for seed in range(27)}


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.item_maps([("a", POINTS)], np.arange(6), list("abcdef"), legend="a rather long one", title=TITLE),
        lambda: plots.item_maps([("a", POINTS)] * 2, np.arange(6), list("abcde"), legend="code", title=TITLE),
        lambda: plots.codebook_usage(np.ones((4, 9)), ["a label of some length"] * 4, TITLE),
        lambda: plots.learning_curves(CURVES, "MRR", TITLE),
        lambda: plots.learning_curves(MANY, "MRR", TITLE),
    ],
)
def test_title_legend_and_panels_do_not_cover_each_other(draw):
    canvas = FigureCanvasAgg(draw())
    canvas.draw()
    figure, renderer = canvas.figure, canvas.get_renderer()
    title, legend = (part.get_window_extent(renderer) for part in (figure._suptitle, figure.legends[0]))
    panels = [axes.get_tightbbox(renderer) for axes in figure.axes]
    assert not title.overlaps(legend)
    assert not any(panel.overlaps(other) for panel in panels for other in (title, legend))
    assert all(figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in (title, legend, *panels))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.item_maps([("a", POINTS)], [0], ["x"], legend="", title=""), "'a' has 6 points for 1 groups"),
        (lambda: plots.item_maps([], [], ["x"] * 10, legend="", title=""), "10 groups were requested: name at most 9"),
        (lambda: plots.quality_by_id_dimension([0, 8], {"MRR": [[0.1], []]}, ""), r"MRR has values of \[1, 0\] seeds"),
        (lambda: plots.learning_curves({}, "MRR", ""), "0 learning curves were requested"),
        (lambda: plots.codes_by_category(COUNTS._replace(counts=np.ones((1, 6, 2))), [], ""), "6 codes per level"),
    ],
)
def test_unusable_arguments_are_errors(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_equal_numbers_give_equal_bytes_under_any_user_settings(tmp_path, suffix):
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    plots.save(plots.learning_curves(CURVES, "MRR", "Title"), first)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "grid.color": "blue", "savefig.dpi": 30}):
        plots.save(plots.learning_curves(CURVES, "MRR", "Title"), second)
    assert first.read_bytes() == second.read_bytes()


def test_missing_matplotlib_gives_one_clear_line():
    code = "import sys; sys.modules['matplotlib'] = None; import recbole_unirep.analysis.plots"
    answer = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert answer.returncode == 1
    last = answer.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: figures need matplotlib (")
    assert last.endswith("install it with pip install 'recbole-unirep[figures]'")

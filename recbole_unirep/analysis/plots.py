"""Draws the paper's figures: arrays in, a matplotlib Figure out; reads no files and opens no window.

Sizes are fixed. Colours are Paul Tol's colour-blind safe 'muted' scheme, and groups of points also differ in shape. The
same arrays give the same bytes.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, Figures 1 and 4 to 15.

Shapes: M points, L levels, K codebook_size, C categories. Levels are counted from 1, codes from 0.
"""

import functools

import numpy as np

try:
    import matplotlib
    from matplotlib import figure as matplotlib_figure
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator
except ModuleNotFoundError as error:
    raise ImportError(
        f"figures need matplotlib ({error}): install it with pip install 'recbole-unirep[figures]'"
    ) from error

COLOURS = ("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#AA4499", "#999933")
BAR_COLOURS = ("#88CCEE", "#CC6677", "#DDCC77", "#44AA99", "#999933")  # light enough for a black tick to be visible
MARKERS = ("o", "^", "s")
LINES = ("-", "--", ":")
GREY = "#C8C8C8"
DARK_GREY = "#555555"
N_GROUPS = len(COLOURS)  # maximum number of groups of points with distinct colours
STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 12,
    "font.size": 9,
    "grid.color": "#E6E6E6",
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "recbole-unirep",
}


def _styled(draw):
    """Draws with matplotlib's default settings and STYLE, whatever the user's settings are."""

    @functools.wraps(draw)
    def styled(*args, **kwargs):
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": matplotlib.rcParams["backend"], **STYLE}):
            return draw(*args, **kwargs)

    return styled


class Figure(matplotlib_figure.Figure):
    """matplotlib's Figure, saved with the same settings as drawn, because matplotlib makes ticks on saving."""

    savefig = _styled(matplotlib_figure.Figure.savefig)


@_styled
def codes_by_category(counts, levels, title: str):
    """Draws bars of items by category in the fullest codes of each level (Figures 4 to 6).

    A tick on each bar marks where the bar would end if the code's items had the same distribution of categories as all
    items.

    Args:
        counts (CategoryCounts): from `analysis.categories.fullest_codes_by_category`; at most five codes per level.
        levels (list of str): titles of the levels.
        title (str): title of the figure.

    Returns:
        matplotlib.figure.Figure: one panel per level.

    Raises:
        ValueError: more codes than colours.
    """
    n_levels, n_codes, n_categories = counts.counts.shape
    _check(n_codes <= len(BAR_COLOURS), f"{n_codes} codes per level were requested", f"show at most {len(BAR_COLOURS)}")
    figure = Figure(figsize=(11, 1.6 + 0.16 * n_codes * n_categories))
    panels = figure.subplots(1, n_levels, sharey=True, squeeze=False)[0]
    places, height = np.arange(n_categories), 0.8 / n_codes
    for level, (name, axes) in enumerate(zip(levels, panels)):
        for number in range(n_codes):
            if counts.codes[level, number] < 0:  # the level has fewer codes
                continue
            bars = counts.counts[level, number]
            middles = places + (number - (n_codes - 1) / 2) * height
            label = f"code {counts.codes[level, number]} ({bars.sum():,} items)"
            axes.barh(middles, bars, height, color=BAR_COLOURS[number], edgecolor="white", linewidth=0.5, label=label)
            expected = bars.sum() * counts.totals / counts.totals.sum()
            (ticks,) = axes.plot(expected, middles, "|", color="black", markersize=8)
        ticks.set_label("as in all items")
        axes.set(title=name, xlabel="items with the code")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(axis="y", visible=False)
        axes.legend(handles=[*axes.containers, ticks], loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8)
    panels[0].set(ylabel="category (items)", yticks=places)
    panels[0].set_yticklabels([f"{name} ({n:,})" for name, n in zip(counts.categories, counts.totals)])
    panels[0].invert_yaxis()
    figure.suptitle(title)
    return figure


@_styled
def item_maps(panels, groups, names, *, legend: str, title: str):
    """Draws maps of items coloured by group (Figures 1 and 8 to 15), with one shared legend.

    Args:
        panels (list of tuple[str, ndarray]): title of a panel and coordinates of its items, float, shape: [M, 2].
        groups (ndarray): each item's group, integers; items of groups >= len(names) are grey, shape: [M].
        names (list of str): names of the coloured groups, at most nine.
        legend (str): title of the legend.
        title (str): title of the figure.

    Returns:
        matplotlib.figure.Figure: the panels side by side.

    Raises:
        ValueError: more groups than colours, or the numbers of points and groups differ.
    """
    groups = np.asarray(groups)
    _check(len(names) <= N_GROUPS, f"{len(names)} groups were requested", f"name at most {N_GROUPS}")
    for name, points in panels:
        found = f"'{name}' has {len(points)} points for {len(groups)} groups"
        _check(len(points) == len(groups), found, "give one group per point")
    figure = Figure(figsize=(1.8 + 4.6 * len(panels), 4.9))
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    rest = np.flatnonzero(groups >= len(names))
    size, flat = 11 if 2 * len(rest) > len(groups) else 7, {"linewidths": 0, "rasterized": True}
    for (name, points), axes in zip(panels, all_axes):
        if len(rest):
            axes.scatter(*points[rest].T, s=3, color=GREY, label=f"others ({len(rest):,})", **flat)
        for number, group in enumerate(names):
            rows = np.flatnonzero(groups == number)
            style = {"color": COLOURS[number], "marker": MARKERS[number % len(MARKERS)], **flat}
            axes.scatter(*points[rows].T, s=size, label=f"{group} ({len(rows):,})", **style)
        _no_scale(axes, name)
    entries = list(zip(*all_axes[0].get_legend_handles_labels()))
    entries = entries[1:] + entries[:1] if len(rest) else entries  # drawn first, last in the legend
    place = {"loc": "outside right center", "alignment": "left"}
    figure.legend(*zip(*entries), title=f"{legend} (items shown)", markerscale=2, **place)
    figure.suptitle(title)
    return figure


@_styled
def codebook_maps(panels, counts, title: str):
    """Draws maps of each level's codebook vectors, larger and darker for codes with more items (Figures 8 to 15).

    Args:
        panels (list of tuple[str, ndarray]): title of a level and coordinates of its vectors, float, shape: [K, 2].
        counts (sequence of ndarray): number of items per code of a level, integers, shape: [K].
        title (str): title of the figure.

    Returns:
        matplotlib.figure.Figure: one panel per level; dead codes are hollow grey rings.
    """
    most, largest = max(np.max(level) for level in counts), max(map(len, counts))
    figure = Figure(figsize=(1.4 + 3.6 * len(panels), 4.3))
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    scale, shrink = LogNorm(1, max(most, 10)), min(1, 256 / largest) ** 0.5
    for (name, points), n_items, axes in zip(panels, counts, all_axes):
        dead, used = np.flatnonzero(n_items == 0), np.flatnonzero(n_items > 0)
        used = used[np.argsort(-n_items[used], kind="stable")]  # large ones first, so that they do not hide small ones
        area = (12 + 60 * np.sqrt(n_items[used] / most)) * shrink
        edged = {"linewidths": 0.5, "rasterized": True}
        axes.scatter(*points[dead].T, s=10 * shrink, facecolors="none", edgecolors="#999999", **edged)
        edged.update(norm=scale, cmap="cividis_r", edgecolors="white")
        drawn = axes.scatter(*points[used].T, s=area, c=n_items[used], **edged)
        _no_scale(axes, f"{name}\n{len(used)} codes used, {len(dead)} dead (rings)")
    bar = figure.colorbar(drawn, ax=list(all_axes), label="items with the code (log scale)", shrink=0.8)
    bar.ax.yaxis.set_major_formatter("{x:,.0f}")
    figure.suptitle(title)
    return figure


@_styled
def codebook_usage(counts, labels, title: str):
    """Draws the number of items per code, fullest code first, one line per level.

    If all levels have equally many codes and items, a dashed line shows even use.

    Args:
        counts (sequence of ndarray): number of items per code of a level, integers, shape: [K].
        labels (list of str): label of each level.
        title (str): title of the figure.

    Returns:
        matplotlib.figure.Figure: the axis of items is linear below 1, to show 0, and logarithmic above.
    """
    n_codes = max(map(len, counts))
    figure = Figure(figsize=(8, 4.5))
    axes = figure.subplots()
    for number, (n_items, label) in enumerate(zip(counts, labels)):
        axes.plot(np.arange(1, len(n_items) + 1), np.sort(n_items)[::-1], label=label, **_line(number))
    if len({(len(n_items), np.sum(n_items)) for n_items in counts}) == 1:
        even = np.sum(counts[0]) / n_codes
        axes.axhline(even, color=DARK_GREY, linestyle=(0, (6, 3)), linewidth=1, label=f"even use ({even:.1f} items)")
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlabel="rank of the code within its level", ylabel="items with the code", xlim=(0, n_codes + 1))
    axes.set_ylim(0, max(np.max(level) for level in counts) * 1.3)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside lower center", ncols=2)
    figure.suptitle(title)
    return figure


@_styled
def quality_by_id_dimension(dimensions, quality, title: str):
    """Plots metrics against the dimension of the ID embedding (Figure 7), one panel per metric.

    Args:
        dimensions (list of int): sizes of the ID embedding, shape: [n].
        quality (dict[str, list]): per metric a list per dimension, each with one value per seed, at least one.
        title (str): title of the figure.

    Returns:
        matplotlib.figure.Figure: means, with error bars of one sample standard deviation if there are several seeds.

    Raises:
        ValueError: a metric lacks a list for a dimension, or has an empty one.
    """
    figure = Figure(figsize=(0.4 + 3.5 * len(quality), 3.6))
    all_axes = figure.subplots(1, len(quality), squeeze=False)[0]
    for (metric, by_dimension), axes in zip(quality.items(), all_axes):
        found = [len(seeds) for seeds in by_dimension]
        is_full = len(found) == len(dimensions) and all(found)
        _check(is_full, f"{metric} has values of {found} seeds for dimensions {list(dimensions)}", "give one for each")
        means = [np.mean(seeds) for seeds in by_dimension]
        deviations = [np.std(seeds, ddof=1) if len(seeds) > 1 else np.nan for seeds in by_dimension]
        bars = deviations if max(found) > 1 else None
        axes.errorbar(dimensions, means, yerr=bars, color=COLOURS[0], marker="o", capsize=3)
        axes.set(title=metric, xlabel="dimension of the ID embedding", xticks=dimensions)
        axes.margins(x=0.08, y=0.15)
    n_seeds = sorted({len(seeds) for by_dimension in quality.values() for seeds in by_dimension})
    seeds = " or ".join(map(str, n_seeds)) + (" seed" if n_seeds == [1] else " seeds")
    all_axes[0].set_ylabel(f"test metric, {seeds}" + (", mean ± sd" if n_seeds[-1] > 1 else ""))
    figure.suptitle(title)
    return figure


@_styled
def learning_curves(curves, metric: str, title: str):
    """Plots the validation metric of runs against the epoch; a dot marks the epoch of the chosen checkpoint.

    Args:
        curves (dict[str, tuple]): run name -> (epochs counted from 0, shape: [n]; values, shape: [n]; chosen epoch).
        metric (str): name of the metric.
        title (str): title of the figure.

    Returns:
        matplotlib.figure.Figure: one line per run.

    Raises:
        ValueError: no runs, or more runs than distinct line styles.
    """
    n_most = len(COLOURS) * len(LINES)
    _check(0 < len(curves) <= n_most, f"{len(curves)} learning curves were requested", f"give 1 to {n_most} of them")
    figure = Figure(figsize=(8 if len(curves) == 1 else 10, max(4.5, 1.2 + 0.21 * len(curves))))
    axes = figure.subplots()
    for number, (name, (epochs, values, chosen)) in enumerate(curves.items()):
        (line,) = axes.plot(epochs, values, label=name, **_line(number))
        value = values[list(epochs).index(chosen)]
        axes.plot(chosen, value, "o", color=line.get_color(), markersize=5)
    axes.set(xlabel="epoch", ylabel=f"validation {metric}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(curves) > 1:
        figure.legend(loc="outside right center")
    figure.suptitle(title)
    return figure


def save(figure, path) -> None:
    """Writes a figure as PNG (150 dpi) or SVG, by the path's suffix, without a date: the bytes are reproducible."""
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _line(number):
    return {"color": COLOURS[number % N_GROUPS], "linestyle": LINES[number // N_GROUPS % len(LINES)], "linewidth": 1.6}


def _no_scale(axes, title):
    """Labels the axes of t-SNE, without ticks, as they have no unit."""
    axes.set(title=title, xlabel="t-SNE 1", ylabel="t-SNE 2", xticks=[], yticks=[])
    axes.grid(visible=False)


def _check(is_right, found, remedy):
    if not is_right:
        raise ValueError(f"{found}: {remedy}")

"""The paper's figures: arrays in, a matplotlib Figure out. Nothing is read here, nothing shown on a screen.

Sizes are fixed, colours are Paul Tol's 'muted' scheme, which the colour blind can tell apart, and groups of points
differ in shape too. The same arrays give the same bytes.

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
BAR_COLOURS = ("#88CCEE", "#CC6677", "#DDCC77", "#44AA99", "#999933")  # those on which a black tick is seen
MARKERS = ("o", "^", "s")
LINES = ("-", "--", ":")
GREY = "#C8C8C8"
DARK_GREY = "#555555"
N_GROUPS = len(COLOURS)  # groups of points that can be told apart
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
    """Matplotlib's own settings with STYLE over them, whatever the user's are."""

    @functools.wraps(draw)
    def styled(*args, **kwargs):
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": matplotlib.rcParams["backend"], **STYLE}):
            return draw(*args, **kwargs)

    return styled


class Figure(matplotlib_figure.Figure):
    """matplotlib's, but saved under the settings that it was drawn with: ticks are made when it is saved."""

    savefig = _styled(matplotlib_figure.Figure.savefig)


@_styled
def codes_by_category(counts, levels, title: str):
    """Bars of items by category in the fullest codes of each level (Figures 4 to 6).

    A tick on each bar stands where it would end if the code's items had the categories of all items.

    Args:
        counts (CategoryCounts): of `analysis.categories.fullest_codes_by_category`; at most five codes a level.
        levels (list of str): titles of the levels.
        title (str): of the figure.

    Returns:
        matplotlib.figure.Figure: a panel a level.

    Raises:
        ValueError: more codes than colours.
    """
    n_levels, n_codes, n_categories = counts.counts.shape
    _check(n_codes <= len(BAR_COLOURS), f"{n_codes} codes a level are asked for", f"show at most {len(BAR_COLOURS)}")
    figure = Figure(figsize=(11, 1.6 + 0.16 * n_codes * n_categories))
    panels = figure.subplots(1, n_levels, sharey=True, squeeze=False)[0]
    places, height = np.arange(n_categories), 0.8 / n_codes
    for level, (name, axes) in enumerate(zip(levels, panels)):
        for number in range(n_codes):
            if counts.codes[level, number] < 0:  # a level of fewer codes
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
    """Maps of items coloured by group (Figures 1 and 8 to 15), one legend for all.

    Args:
        panels (list of tuple[str, ndarray]): title of a panel and where its items lie, float, shape: [M, 2].
        groups (ndarray): each item's group, integers; from len(names) on the item is grey, shape: [M].
        names (list of str): of the coloured groups, at most nine.
        legend (str): what a colour means.
        title (str): of the figure.

    Returns:
        matplotlib.figure.Figure: the panels side by side.

    Raises:
        ValueError: more groups than colours, or points and groups of different numbers of items.
    """
    groups = np.asarray(groups)
    _check(len(names) <= N_GROUPS, f"{len(names)} groups are asked for", f"name at most {N_GROUPS}")
    for name, points in panels:
        found = f"'{name}' has {len(points)} points for {len(groups)} groups"
        _check(len(points) == len(groups), found, "give as many")
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
    entries = entries[1:] + entries[:1] if len(rest) else entries  # the others are drawn first, told last
    place = {"loc": "outside right center", "alignment": "left"}
    figure.legend(*zip(*entries), title=f"{legend} (items shown)", markerscale=2, **place)
    figure.suptitle(title)
    return figure


@_styled
def codebook_maps(panels, counts, title: str):
    """Maps of each level's codebook vectors, the larger and darker the more items have the code (Figures 8 to 15).

    Args:
        panels (list of tuple[str, ndarray]): title of a level and where its vectors lie, float, shape: [K, 2].
        counts (sequence of ndarray): items that have each code of a level, integers, shape: [K].
        title (str): of the figure.

    Returns:
        matplotlib.figure.Figure: a panel a level; a dead code is a hollow grey ring.
    """
    most, largest = max(np.max(level) for level in counts), max(map(len, counts))
    figure = Figure(figsize=(1.4 + 3.6 * len(panels), 4.3))
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    scale, shrink = LogNorm(1, max(most, 10)), min(1, 256 / largest) ** 0.5
    for (name, points), n_items, axes in zip(panels, counts, all_axes):
        dead, used = np.flatnonzero(n_items == 0), np.flatnonzero(n_items > 0)
        used = used[np.argsort(-n_items[used], kind="stable")]  # large ones first, so that none hides another
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
    """Items of each code, fullest code first, a line a level; a dashed line is even use of levels that are alike.

    Args:
        counts (sequence of ndarray): items that have each code of a level, integers, shape: [K].
        labels (list of str): of each level.
        title (str): of the figure.

    Returns:
        matplotlib.figure.Figure: the axis of items is linear below 1 and logarithmic above, so that 0 is there.
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
    """Metrics against the dimension of the ID embedding (Figure 7), a panel a metric.

    Args:
        dimensions (list of int): of the ID embedding, shape: [n].
        quality (dict[str, list]): values of each metric by dimension, a list of one value a seed; [n] lists of any
            length but 0.
        title (str): of the figure.

    Returns:
        matplotlib.figure.Figure: means; bars of one sample standard deviation where there are several seeds.

    Raises:
        ValueError: a metric has not as many lists as there are dimensions, or an empty one.
    """
    figure = Figure(figsize=(0.4 + 3.5 * len(quality), 3.6))
    all_axes = figure.subplots(1, len(quality), squeeze=False)[0]
    for (metric, by_dimension), axes in zip(quality.items(), all_axes):
        found = [len(seeds) for seeds in by_dimension]
        is_full = len(found) == len(dimensions) and all(found)
        _check(is_full, f"{metric} has values of {found} seeds for dimensions {list(dimensions)}", "give all of them")
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
    """Validation metric of runs against the epoch; a dot is the epoch whose checkpoint was chosen.

    Args:
        curves (dict[str, tuple]): name of a run to its epochs (counted from 0), its values, shape: [n] each, and the
            chosen one of the epochs.
        metric (str): what the values are.
        title (str): of the figure.

    Returns:
        matplotlib.figure.Figure: a line a run.

    Raises:
        ValueError: more runs than lines that can be told apart.
    """
    n_most = len(COLOURS) * len(LINES)
    _check(0 < len(curves) <= n_most, f"{len(curves)} learning curves are asked for", f"give 1 to {n_most} of them")
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
    """Writes a figure, PNG at 150 dots an inch or SVG by the path's suffix; without a date, so that bytes repeat."""
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _line(number):
    return {"color": COLOURS[number % N_GROUPS], "linestyle": LINES[number // N_GROUPS % len(LINES)], "linewidth": 1.6}


def _no_scale(axes, title):
    """t-SNE's axes have no unit: names, no ticks."""
    axes.set(title=title, xlabel="t-SNE 1", ylabel="t-SNE 2", xticks=[], yticks=[])
    axes.grid(visible=False)


def _check(is_right, found, remedy):
    if not is_right:
        raise ValueError(f"{found}: {remedy}")

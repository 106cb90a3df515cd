"""Draws the paper's figures for one finished run and writes them with captions and numbers.

Reference:
    Guanyu Lin, Zhigang Hua, Tao Feng, Shuang Yang, Bo Long, Jiaxuan You.
    "Unified Semantic and ID Representation Learning for Deep Recommenders", arXiv:2502.16474, Figures 1, 4 to 6 and
    8 to 15.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_unirep.analysis import plots
from recbole_unirep.analysis.categories import (
    category_purity,
    common_categories,
    fullest_codes_by_category,
)
from recbole_unirep.analysis.codebook import codebook_usage, level_counts, perplexity
from recbole_unirep.analysis.projection import PERPLEXITY, sample_rows, tsne
from recbole_unirep.files.whole import write_json
from recbole_unirep.study.run_arrays import RunArrays, read_run

N_CODES = 3  # fullest codes of a level, as in the paper
N_PANELS, N_LINES = 4, 6  # only the first so many levels are drawn
N_CATEGORIES = 8
N_POINTS = 3000  # items on a map; more would hide each other
TSNE = f"perplexity {PERPLEXITY}"


class RunFigure(NamedTuple):
    """A figure with its caption and numbers.

    Attributes:
        name (str): file name without suffix.
        figure (matplotlib.figure.Figure): the drawing.
        caption (str): what the figure shows, how it was made, and the matching figure of the paper.
        numbers (dict): the plotted numbers as plain values.
    """

    name: str
    figure: Any
    caption: str
    numbers: dict


def write_run_figures(run, out=None, data_path=None, category_field=None) -> Iterator[Path]:
    """Draws a run's figures into a folder: NAME.png, NAME.svg and NAME.json, which holds caption and numbers.

    Args:
        run (str or Path): folder of a run, with its checkpoint.
        out (str or Path or None): the folder, created if missing; None means RUN/figures.
        data_path (str or None): current folder of the datasets; None uses the one of the run.
        category_field (str or None): column of the `.item` file; None finds a common name.

    Yields:
        Path: each file after it is written.

    Raises:
        FileNotFoundError: the run or its checkpoint is missing.
        ValueError: the run can't be read, the column does not exist, or there is nothing to draw.
    """
    folder = Path(run) / "figures" if out is None else Path(out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"out={folder} is a file: name a folder")
    arrays, n_figures = read_run(run, data_path, category_field), 0
    for drawn in run_figures(arrays):
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in ("png", "svg"):
            path = folder / f"{drawn.name}.{suffix}"
            plots.save(drawn.figure, path)
            yield path
        path = folder / f"{drawn.name}.json"
        write_json(path, {"run": arrays.name, "caption": drawn.caption, **drawn.numbers})
        yield path
        n_figures += 1
    if not n_figures:
        raise ValueError(f"{run}: {arrays.name} has neither item vectors, codes nor validated epochs: nothing to draw")


def run_figures(arrays: RunArrays) -> Iterator[RunFigure]:
    """Draws the figures that a run has data for: some need codes, some need categories.

    Args:
        arrays (RunArrays): as `run_arrays.read_run` returns them.

    Yields:
        RunFigure: one figure at a time; t-SNE takes some seconds per map.
    """
    if arrays.curve is not None:
        yield _learning_curve(arrays)
    if arrays.codebooks is not None:
        yield _codebook_usage(arrays)
        if arrays.categories is not None:
            yield _codes_by_category(arrays)
        yield from _codebook_maps(arrays)
    yield from _item_maps(arrays)


def _learning_curve(arrays):
    curve = arrays.curve
    figure = plots.learning_curves(
        {arrays.name: (curve.epochs, curve.values, curve.chosen)}, curve.metric, _title("Learning curve", arrays)
    )
    caption = (
        f"Validation {curve.metric} of {arrays.name} after each epoch (counted from 0). The dot is epoch "
        f"{curve.chosen}, whose checkpoint was kept."
    )
    return RunFigure("learning_curve", figure, caption, curve._asdict())


def _codebook_usage(arrays):
    codes, sizes = arrays.codebooks.codes, arrays.codebooks.sizes
    usages, perplexities = codebook_usage(codes, sizes), perplexity(codes, sizes)
    counts = [counts.numpy() for counts in level_counts(codes, sizes)]
    labels = [
        f"{name}: {usage:.1%} used, perplexity {entropy:.0f}"
        for name, usage, entropy in zip(_level_names(arrays.codebooks), usages, perplexities)
    ]
    figure = plots.codebook_usage(counts[:N_LINES], labels[:N_LINES], _title("Codebook usage by level", arrays))
    caption = (
        f"Items that have each of the {_sizes(sizes)} codes of a level, fullest code first{_first(N_LINES, sizes)}; "
        f"{len(codes):,} items of {arrays.name}. A code without items is dead; perplexity is the number of equally "
        f"full codes that would be as varied."
    )
    numbers = {
        "items_by_code": [level.tolist() for level in counts],
        "codebook_usage": usages,
        "perplexity": perplexities,
    }
    return RunFigure("codebook_usage", figure, caption, numbers)


def _codes_by_category(arrays):
    sizes, categories = arrays.codebooks.sizes, arrays.categories
    codes = arrays.codebooks.codes[:, :N_PANELS]
    counts = fullest_codes_by_category(
        codes,
        categories.names,
        codebook_size=sizes[:N_PANELS],
        n_codes=N_CODES,
        n_categories=N_CATEGORIES,
    )
    purity = category_purity(codes, categories.names)
    shuffled = category_purity(codes, np.random.default_rng(arrays.seed).permutation(categories.names))
    title = _title(f"Items by category in the {N_CODES} fullest codes of each level", arrays)
    figure = plots.codes_by_category(counts, _level_names(arrays.codebooks), title)
    shares = "; ".join(
        f"level {level} {share:.0%} ({chance:.0%})" for level, (share, chance) in enumerate(zip(purity, shuffled), 1)
    )
    caption = (
        f"Items by category in the {N_CODES} codes of each level{_first(N_PANELS, sizes)} that most items of "
        f"{arrays.name} have; black ticks: "
        f"where the bars would end if a code's items were spread over the categories as all items are. An item's "
        f"category is {categories.rule} in column {categories.field}. Share of items, over all codes, that belong to "
        f"the most common category of their code, and the same with categories shuffled among the items: {shares}. As "
        f"the paper's Figures 4 to 6."
    )
    numbers = {
        "categories": counts.categories,
        "items_by_category": counts.totals.tolist(),
        "fullest_codes": counts.codes.tolist(),
        "items_by_level_code_category": counts.counts.tolist(),
        "category_purity": purity,
        "category_purity_shuffled": shuffled,
        "category_field": categories.field,
        "category_rule": categories.rule,
    }
    return RunFigure("codes_by_category", figure, caption, numbers)


def _codebook_maps(arrays):
    codes, vectors, metrics = arrays.codebooks
    sizes, all_names = arrays.codebooks.sizes, _level_names(arrays.codebooks)
    shown = [level for level in range(len(sizes)) if sizes[level] >= 3][:N_PANELS]  # a map needs more vectors
    if not shown:
        return
    counts = [level_counts(codes, sizes)[level].numpy() for level in shown]
    points = [tsne(vectors[level], seed=arrays.seed, metric=metrics[level]) for level in shown]
    names = [all_names[level] for level in shown]
    figure = plots.codebook_maps(list(zip(names, points)), counts, _title("Codebook vectors of each level", arrays))
    caption = (
        f"t-SNE ({TSNE}, seed {arrays.seed}) of the {_sizes(sizes)} vectors of each level's codebook"
        f"{_first(N_PANELS, sizes)} of {arrays.name}, by the distance that the level uses. Area and colour grow with "
        f"the items that have the code; rings are dead codes. As the semantic tokens of the paper's Figures 8 to 15; a "
        f"degenerate codebook has few large points."
    )
    by_code = [level.tolist() for level in counts]
    numbers = {"levels": names, "items_by_code": by_code, "points": [_rounded(level) for level in points]}
    yield RunFigure("codebook_maps", figure, caption, numbers)


def _item_maps(arrays):
    """Maps of the item vectors by first-level code and by category; t-SNE is done once."""
    colourings = []
    if arrays.codebooks is not None:
        codes, papers = arrays.codebooks.codes[:, 0], "Figures 1 and 8 to 15"
        colourings.append(("item_maps_by_code", "first-level code", codes, "code {}", papers))
    if arrays.categories is not None:
        colourings.append(("item_maps_by_category", "category", arrays.categories.names, "{}", "Figure 1"))
    if not arrays.vectors or not colourings:
        return
    rows = sample_rows(len(arrays.items), N_POINTS, arrays.seed)
    points = {name: tsne(part[rows], seed=arrays.seed, metric="euclidean") for name, part in arrays.vectors.items()}
    shown = f"{len(rows):,} of {len(arrays.items):,} items"
    how = f"t-SNE ({TSNE}, seed {arrays.seed}) of the {' and of the '.join(points)} of {shown}"
    if len(rows) < len(arrays.items):
        how += ", drawn at random"
    for stem, legend, of_items, form, papers in colourings:
        values, groups = common_categories(of_items, plots.N_GROUPS)
        names = [form.format(value) for value in values[: plots.N_GROUPS]]  # without that of the others
        title = _title(f"t-SNE of items, coloured by {legend} ({shown})", arrays)
        figure = plots.item_maps(list(points.items()), groups[rows], names, legend=legend, title=title)
        rest = " there are" if groups.max() < len(names) else " that most items have; the other items are grey"
        shapes = f"the {len(names)} values of {legend}{rest}"
        caption = f"{how}, {arrays.name}. Colour and shape: {shapes}. As the paper's {papers}."
        numbers = {
            "items": arrays.items[rows].tolist(),
            legend.replace("-", "_").replace(" ", "_"): of_items[rows].tolist(),
            "coloured": names,
            "points": {name: _rounded(part) for name, part in points.items()},
        }
        yield RunFigure(stem, figure, caption, numbers)


def _level_names(codebooks):
    return [f"level {level} ({metric})" for level, metric in enumerate(codebooks.level_metrics, start=1)]


def _sizes(sizes):
    """Codebook sizes in words."""
    return str(sizes[0]) if len(set(sizes)) == 1 else " / ".join(map(str, sizes))


def _first(n_shown, sizes):
    """Remark of a caption if not every level is drawn, else an empty text."""
    return f" (the first {n_shown} of {len(sizes)} levels)" if len(sizes) > n_shown else ""


def _title(what, arrays):
    return f"{what}\n{arrays.name}"


def _rounded(points):
    return np.round(points.astype(np.float64), 2).tolist()

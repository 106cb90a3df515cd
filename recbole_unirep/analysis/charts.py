"""Interactive charts of semantic IDs; the only module that imports plotly.

Shapes: N items, L levels, K codebook_size, C categories.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.io import to_html
from plotly.subplots import make_subplots

COLUMNS = 4
COLOURS = ("#0b57a4", "#d1495b", "#2e8b57", "#e09f3e", "#6a4c93", "#17a2b8", "#8d6e63", "#c2185b", "#7f9c00")
OTHERS = "#b8bec7"
FONT = {"family": "system-ui, sans-serif", "size": 13}


def code_histograms(counts: Sequence[np.ndarray]) -> go.Figure:
    """Draws the number of items per code, fullest code first, one panel per level.

    Args:
        counts (sequence of ndarray): number of items per code, shape: [K] for each level.
    """
    n_rows = -(-len(counts) // COLUMNS)
    titles = [f"level {level}" for level in range(1, len(counts) + 1)]
    figure = make_subplots(n_rows, min(COLUMNS, len(counts)), subplot_titles=titles, vertical_spacing=0.3 / n_rows)
    for place, of_level in enumerate(counts):
        order = np.argsort(-of_level, kind="stable")
        bars = go.Bar(
            x=np.arange(1, len(order) + 1),
            y=of_level[order],
            customdata=order,
            hovertemplate="code %{customdata}: %{y} items<extra></extra>",
            marker={"color": COLOURS[0], "line": {"width": 0}},
        )
        figure.add_trace(bars, place // COLUMNS + 1, place % COLUMNS + 1)
    figure.update_xaxes(title_text="code, fullest first")
    figure.update_yaxes(title_text="items", rangemode="tozero")
    return _laid_out(figure, height=260 * n_rows + 60)


def category_heat_map(shares: np.ndarray, codes: Sequence[int], categories: Sequence[str], level: int) -> go.Figure:
    """Draws the distribution of categories among the items of the fullest codes of a level.

    Args:
        shares (ndarray): fraction of each category in a code's items, shape: [codes, C].
        codes (sequence of int): the codes, fullest first.
        categories (sequence of str): names, length C.
        level (int): counted from 1.
    """
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=[_shortened(name) for name in categories],
            y=[f"code {code}" for code in codes],
            customdata=np.broadcast_to(np.array(categories, dtype=object), shares.shape),
            hovertemplate="%{y}, %{customdata}: %{z:.0%} of its items<extra></extra>",
            colorscale="Blues",
            zmin=0,
            zmax=1,
            colorbar={"title": "share of the<br>code's items", "tickformat": ".0%"},
        )
    )
    figure.update_yaxes(autorange="reversed", title_text=f"fullest codes of level {level}", tickmode="linear")
    figure.update_xaxes(tickangle=-35, tickmode="linear")
    return _laid_out(figure, height=120 + 24 * len(codes) + 90)


def item_map(points: np.ndarray, groups: Sequence[str], hover: Sequence[str]) -> go.Figure:
    """Draws items in two dimensions, coloured by group; hovering over an item shows its text.

    Args:
        points (ndarray): coordinates, shape: [N, 2].
        groups (sequence of str): the len(COLOURS) largest groups get a colour each, all others share one; shape: [N].
        hover (sequence of str): text per item, shape: [N].
    """
    names, counts = np.unique(np.array(groups, dtype=str), return_counts=True)
    fullest = [str(name) for name in names[np.argsort(-counts, kind="stable")][: len(COLOURS)]]
    figure = go.Figure()
    parts = [("other codes", OTHERS, ~np.isin(groups, fullest))]
    parts += [(name, colour, np.array(groups) == name) for name, colour in zip(fullest, COLOURS)]
    for name, colour, is_part in parts:
        if not is_part.any():
            continue
        figure.add_trace(
            go.Scatter(
                x=points[is_part, 0],
                y=points[is_part, 1],
                mode="markers",
                name=name,
                marker={"size": 5, "color": colour, "opacity": 0.75 if colour != OTHERS else 0.45},
                text=[text for text, keep in zip(hover, is_part) if keep],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="t-SNE 1", zeroline=False)
    figure.update_yaxes(title_text="t-SNE 2", zeroline=False)
    figure.update_layout(legend={"itemsizing": "constant"})
    return _laid_out(figure, height=620)


def chart_html(figure: go.Figure, name: str, with_library: bool) -> str:
    """Returns a chart as HTML; the first chart of a page includes plotly.js, so that the page needs no network."""
    return to_html(
        figure,
        full_html=False,
        include_plotlyjs="inline" if with_library else False,
        div_id=name,
        config={"displaylogo": False, "responsive": True},
    )


def _laid_out(figure, height):
    figure.update_layout(
        template="plotly_white",
        height=height,
        showlegend=len(figure.data) > 1 and figure.data[0].type == "scatter",
        font=FONT,
        margin={"l": 70, "r": 20, "t": 50, "b": 60},
        bargap=0,
    )
    return figure


def _shortened(name):
    return name if len(name) <= 24 else name[:23] + "…"

"""recbole_unirep.study.comparison_tables: a comparison for the terminal, as CSV, Markdown and LaTeX."""

import csv
import io
import re

from recbole.evaluator.register import metrics_dict
from tabulate import tabulate

from recbole_unirep.files.whole import write_text
from recbole_unirep.reports.document import Cell, Table
from recbole_unirep.reports.markdown_page import markdown_table

COSTS = ("item table", "parameters", "seconds", "memory")
LATEX_SPECIAL = re.compile(r"([#$%&_{}])")
BOLD, UNDERLINE, PLAIN = "\x1b[1m", "\x1b[4m", "\x1b[0m"
NOTE = (
    "Mean ± standard deviation over seeds; the best of a column is bold, the second underlined. Gains are over the "
    "baseline whose validation score is best; p by resampling users and seeds together, corrected by Holm for all "
    "cells of the table; n/a with fewer than 3 seeds on a side, then with the 95 % interval of the difference over "
    "users alone. Item table: numbers learned for each item or code; seconds: median of a run; memory: most of a "
    "process."
)


def comparison_table(comparisons, title=""):
    """One table of all protocols.

    Args:
        comparisons (list of Comparison): comparisons with the same labels and metrics.
        title (str): title of the table.

    Returns:
        Table: best cells are bold, second ones underlined.
    """
    metrics = comparisons[0].metrics
    rows = []
    for comparison in comparisons:
        marks = {metric: _marks(metric, comparison.rows) for metric in metrics}
        for row in comparison.rows:
            values = [_marked(row, metric, marks[metric]) for metric in metrics]
            rows.append([comparison.protocol, row.label, str(len(row.seeds)), *values, *_costs(row)])
        for gain in comparison.gains:
            rows += _gain_rows(comparison.protocol, gain, metrics)
    return Table(title, ["protocol", "model", "seeds", *metrics, *COSTS], rows, NOTE)


def terminal(table, colours):
    """Formats a table as lines of text.

    Args:
        table (Table): as `comparison_table` returns it.
        colours (bool): True marks cells by bold and underline, False by a trailing * and _.
    """
    marks = (BOLD, UNDERLINE, PLAIN) if colours else ("", "", "")
    rows = [[_terminal_cell(cell, *marks) for cell in row] for row in table.rows]
    return tabulate(rows, headers=table.headers, disable_numparse=True)


def latex(table):
    r"""Formats a table as a LaTeX tabular, which needs \usepackage{booktabs}."""
    columns = "ll" + "r" * (len(table.headers) - 2)
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", _latex_row(table.headers), "\\midrule"]
    before = table.rows[0][0] if table.rows else ""
    for row in table.rows:
        if row[0] != before:
            lines.append("\\midrule")
        before = row[0]
        lines.append(_latex_row(row))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def write_comparison(folder, comparisons, table):
    """Writes comparison.csv, gains.csv, comparison.md and comparison.tex.

    Args:
        folder (Path): an existing folder.
        comparisons (list of Comparison): comparisons with the same labels and metrics.
        table (Table): as `comparison_table` returns it for them.
    """
    write_text(folder / "comparison.csv", _values(comparisons))
    write_text(folder / "gains.csv", _gains(comparisons))
    write_text(folder / "comparison.md", markdown_table(table) + "\n")
    write_text(folder / "comparison.tex", latex(table))


def _marks(metric, rows):
    """(best, second) of the values as shown, None if there is none."""
    shown = {_shown(row.means[metric]) for row in rows}
    smaller = getattr(metrics_dict.get(metric.partition("@")[0]), "smaller", False)
    order = sorted(shown, key=float, reverse=not smaller)
    return (*order, None, None)[:2] if len(rows) > 1 else (None, None)


def _shown(value):
    return f"{value:.4f}"


def _marked(row, metric, marks):
    text, deviation = _shown(row.means[metric]), row.deviations[metric]
    best, second = (text == mark for mark in marks)
    return Cell(text if deviation is None else f"{text} ± {deviation:.4f}", bold=best, underline=second)


def _costs(row):
    item_table = "" if row.item_table_parameters is None else f"{row.item_table_parameters:,}"
    return item_table, f"{row.trainable_parameters:,}", f"{row.seconds:,.0f}", f"{row.peak_memory_bytes / 2**30:.2f} GB"


def _gain_rows(protocol, gain, metrics):
    percents = [gain.percent[metric] for metric in metrics]
    name, costs = f"{gain.label} over {gain.baseline}", [""] * len(COSTS)
    yield [protocol, f"{name}, %", "", *("n/a" if value is None else f"{value:+.2f}" for value in percents), *costs]
    yield [protocol, f"{name}, p", "", *(_p_value(gain, metric) for metric in metrics), *costs]


def _p_value(gain, metric):
    found = gain.differences.get(metric)
    if found is None:
        return "n/a"
    p_value = gain.p_values[metric]
    return f"n/a [{found.low:+.4f}, {found.high:+.4f}]" if p_value is None else f"{p_value:.4f}"


def _terminal_cell(cell, bold, underline, plain):
    if not isinstance(cell, Cell) or not (cell.bold or cell.underline):
        return cell.text if isinstance(cell, Cell) else cell
    if not plain:
        return cell.text + (" *" if cell.bold else " _")
    return f"{bold if cell.bold else underline}{cell.text}{plain}"


def _latex_row(row):
    return " & ".join(map(_latex_cell, row)) + " \\\\"


def _latex_cell(cell):
    text = LATEX_SPECIAL.sub(r"\\\1", cell.text if isinstance(cell, Cell) else cell).replace("±", "$\\pm$")
    if isinstance(cell, Cell) and cell.bold:
        return f"\\textbf{{{text}}}"
    return f"\\underline{{{text}}}" if isinstance(cell, Cell) and cell.underline else text


def _values(comparisons):
    """CSV rows, one per protocol and label."""
    rows = []
    for comparison in comparisons:
        for row in comparison.rows:
            facts = {**row._asdict(), "protocol": comparison.protocol, "seeds": " ".join(map(str, row.seeds))}
            means, deviations = facts.pop("means"), facts.pop("deviations")
            facts |= {metric: means[metric] for metric in comparison.metrics}
            rows.append({**facts, **{f"{metric} sd": deviations[metric] for metric in comparison.metrics}})
    return _csv(rows)


def _gains(comparisons):
    """CSV rows, one per protocol, label of ours and metric."""
    rows = []
    for comparison in comparisons:
        for gain in comparison.gains:
            for metric in comparison.metrics:
                found = gain.differences.get(metric)
                rows.append(
                    {
                        "protocol": comparison.protocol,
                        "ours": gain.label,
                        "baseline": gain.baseline,
                        "metric": metric,
                        "percent": gain.percent[metric],
                        "difference": found and found.mean,
                        "low": found and found.low,
                        "high": found and found.high,
                        "p_value_holm": gain.p_values.get(metric),
                    }
                )
    return _csv(rows)


def _csv(rows):
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()

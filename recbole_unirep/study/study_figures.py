"""recbole_unirep.study.study_figures: draws the figures of a study."""

import json

from recbole_unirep.reports.document import Picture, Section
from recbole_unirep.runs.folder import BEST, METRICS
from recbole_unirep.study.figure_specs import BY_ID_DIMENSION, LEARNING_CURVES, id_dimension


def study_figures(asked):
    """Draws the figures of a study as sections of its report.

    A figure of one run is drawn from its checkpoint once and stored in the run's folder as PNG, SVG and JSON. A report
    can therefore be written on a machine without the checkpoints.

    Args:
        asked (Study): the study; its cells may be unfinished.

    Returns:
        list[Section]: one per figure; a sentence replaces a figure that can't be drawn yet.
    """
    sections = []
    for number, (title, found) in enumerate(asked.figures.items(), 1):
        draw = DRAWN_OF_ROWS.get(found["kind"], _of_a_run)
        parts = [found["text"]] if found["text"] else []
        sections.append(Section(title, [*parts, draw(asked, found, f"figure-{number}-{found['kind']}")]))
    return sections


def _by_id_dimension(asked, found, name):
    from recbole_unirep.analysis import plots

    cells = [cell for cell in asked.cells if cell.row in found["rows"] and cell.dataset == found["dataset"]]
    results = [(int(id_dimension(cell)), cell.result()) for cell in cells]
    if any(result is None for _, result in results):
        return f"Not drawn: {sum(result is None for _, result in results)} of its {len(cells)} cells are empty."
    dimensions = sorted({dimension for dimension, _ in results})
    quality = {
        metric: [
            [result["test_result"][found["protocol"]][metric] for at, result in results if at == dimension]
            for dimension in dimensions
        ]
        for metric in found["metrics"]
    }
    title = f"Test metrics by dimension of the ID embedding\n{found['dataset']}, {found['protocol']}"
    figure = plots.quality_by_id_dimension(dimensions, quality, title)
    caption = f"{found['dataset']}, protocol {found['protocol']}, test. As the paper's Figure 7."
    return Picture(name, figure, caption)


def _learning_curves(asked, found, name):
    from recbole_unirep.analysis import plots
    from recbole_unirep.study.run_arrays import read_learning_curve

    first = {}  # first seed of each row
    for cell in asked.cells:
        if cell.row in found["rows"] and cell.dataset == found["dataset"]:
            first.setdefault(cell.row, cell)
    results = {row: cell.result() for row, cell in first.items()}
    curves = {
        row: read_learning_curve(first[row].folder, result["valid_metric"], result["valid_score_bigger"])
        for row, result in results.items()
        if result is not None and (first[row].folder / METRICS).is_file()  # models without training have no epochs
    }
    curves, empty = {row: curve for row, curve in curves.items() if curve}, [row for row in first if not results[row]]
    missing = f" Empty: {', '.join(empty)}." if empty else ""
    metrics = {curve.metric for curve in curves.values()}
    if len(metrics) != 1:
        return f"Not drawn: {'its rows were chosen by ' + ', '.join(sorted(metrics)) if metrics else 'no row is run'}."
    lines = {row: (curve.epochs, curve.values, curve.chosen) for row, curve in curves.items()}
    figure = plots.learning_curves(lines, metrics.pop(), f"Learning curves\n{found['dataset']}, validation")
    caption = (
        f"{found['dataset']}, validation after each epoch (counted from 0), the first seed of each row; the dot is the "
        f"epoch whose checkpoint was kept.{missing}"
    )
    return Picture(name, figure, caption)


def _of_a_run(asked, found, name):
    place = (found["row"], found["dataset"], found["seed"])
    cell = next(cell for cell in asked.cells if (cell.row, cell.dataset, cell.seed) == place)
    drawn = cell.folder / "figures" / f"{found['kind']}.json"
    if cell.result() is None:
        return f"Not drawn: {cell.name} is empty."
    if not drawn.is_file():
        if not (cell.folder / BEST).is_file():
            return f"Not drawn: the checkpoint of {cell.name} is not in {cell.folder}."
        from recbole_unirep.study.run_figures import write_run_figures

        for _ in write_run_figures(cell.folder, data_path=cell.keys.get("data_path")):
            pass
        if not drawn.is_file():
            return f"Not drawn: {cell.name} has no {found['kind']}."
    caption = json.loads(drawn.read_text(encoding="utf-8"))["caption"]
    return Picture(name, drawn.with_suffix(".png"), caption)


DRAWN_OF_ROWS = {BY_ID_DIMENSION: _by_id_dimension, LEARNING_CURVES: _learning_curves}

"""recbole_unirep.study.study_file: reads a study file: a grid of runs with its tables and figures, in YAML.

title: Amazon Beauty, main results
dataset: amazon-beauty            # or datasets: [amazon-beauty, amazon-toys-games]
seeds: [2020, 2021, 2022]         # or a number of seeds, from 2020 on; a row can have other seeds
settings: {text_encoder: minilm}  # of every cell
rows:
  UniRep: {model: UniRep, preset: paper}
  SASRec CE: {model: SASRec, loss_type: CE}
ours: [UniRep]
tables:
  Overall: {protocol: [uni99, full], metrics: [hit@10, ndcg@10, mrr], rows: [UniRep, SASRec CE]}
  Codebooks: {kind: codebooks, rows: [UniRep]}
figures:
  Quality against ID dimension: {kind: quality_by_id_dimension, rows: [..], metrics: [ndcg@10]}
  Learning curves: {kind: learning_curves, rows: [UniRep, SASRec CE]}
  Items by category: {kind: codes_by_category, row: UniRep, seed: 2020}
"""

from pathlib import Path
from typing import NamedTuple

import yaml

from recbole_unirep.model import METHODS
from recbole_unirep.study.cells import Cell, parse_seeds
from recbole_unirep.study.defaults import METRICS, PROTOCOLS
from recbole_unirep.study.figure_specs import read_figure

KEYS = {
    "study": ("title", "text", "dataset", "datasets", "seeds", "settings", "rows", "ours", "tables", "figures"),
    "table": ("kind", "rows", "datasets", "protocol", "metrics", "baseline", "published", "published_source", "text"),
}
TABLE_KINDS = ("quality", "codebooks")
SLICES = [f"{protocol} {part}" for protocol in PROTOCOLS for part in ("warm", "cold")]  # need split: cold_items
ROW_ONLY = ("seeds", "datasets")  # keys of a row that describe the grid, not the model
FIXED = {
    "run_dir": "each cell has its own folder",
    "resume": "the same command continues",
    "seed": "use seeds",
    "dataset": "use datasets",
}


class TableSpec(NamedTuple):
    """A table of a study.

    Attributes:
        title (str): title of the table.
        kind (str): a name in TABLE_KINDS.
        rows (list of str): labels of the rows, in order.
        datasets (list of str): one table per dataset.
        protocols (list of str): protocols to show.
        metrics (list of str): metrics to show.
        baseline (str or None): label of the baseline; None chooses it by validation.
        published (dict[str, dict[str, dict[str, float]]]): values of a paper by dataset, row and metric.
        published_source (str): source of these values.
        text (str): remark about the table.
    """

    title: str
    kind: str
    rows: list
    datasets: list
    protocols: list
    metrics: list
    baseline: str
    published: dict
    published_source: str
    text: str


class Study(NamedTuple):
    """A study file, checked.

    Attributes:
        title (str): title of its report.
        text (str): first paragraph of its report.
        cells (list of Cell): whole grid in running order; the first seed of every row runs before any second seed.
        ours (list of str): labels of our models.
        tables (list of TableSpec): tables, in order.
        figures (dict[str, dict]): descriptions of the figures by title.
        datasets (list of str): datasets of the grid.
    """

    title: str
    text: str
    cells: list
    ours: list
    tables: list
    figures: dict
    datasets: list

    def metrics_of(self, row):
        """Metrics that quality tables show for a row."""
        shown = [table.metrics for table in self.tables if table.kind == "quality" and row in table.rows]
        return [metric for metrics in shown for metric in metrics]

    def protocols_of(self, row):
        """Protocols under which quality tables show a row (set)."""
        shown = [table.protocols for table in self.tables if table.kind == "quality" and row in table.rows]
        return {protocol for protocols in shown for protocol in protocols}


def read_study(file, out, settings):
    """Reads a study file.

    Args:
        file (str or Path): YAML file.
        out (Path): folder of the study; the folder of a cell is DATASET/ROW/seed-SEED in it.
        settings (dict[str, str]): settings of every cell; they override the settings in the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a part of the file is not understood.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"study {file} does not exist: name a YAML file")
    try:
        asked = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"study {file} is not valid YAML: {error}") from error
    if not isinstance(asked, dict):
        raise ValueError(f"study {file} holds no keys: write rows, dataset and seeds")
    return _study(_Reader(file), asked, out, settings)


class _Reader:
    """Checks parts of a study file; errors name the file."""

    def __init__(self, file):
        self.file = file

    def wrong(self, message):
        return ValueError(f"study {self.file}: {message}")

    def known(self, part, found, known):
        if not isinstance(found, dict):
            raise self.wrong(f"{part} is {found!r}: write 'key: value' lines")
        for key in found:
            if key not in known:
                raise self.wrong(f"{part} has a key {key}: known are {', '.join(known)}")

    def names(self, part, found, known, default):
        if found is None and default is not None:
            return default
        found = [found] if isinstance(found, str) else found
        if not isinstance(found, list) or not found or len(set(map(str, found))) < len(found):
            raise self.wrong(f"{part} is {found!r}: list each name once")
        for name in found:
            if known is not None and name not in known:
                raise self.wrong(f"{part} names {name}: known are {', '.join(map(str, known))}")
        return list(map(str, found))

    def seeds(self, part, found):
        try:
            return parse_seeds(found)
        except ValueError as error:
            raise self.wrong(f"{part}: {error}") from error


def _study(reader, asked, out, settings):
    reader.known("it", asked, KEYS["study"])
    rows = asked.get("rows")
    if not isinstance(rows, dict) or not rows:
        raise reader.wrong("it has no rows: write 'label: {model: NAME, ...}' lines under rows")
    if ("dataset" in asked) == ("datasets" in asked):
        raise reader.wrong("give dataset or datasets")
    datasets = reader.names("datasets", asked.get("datasets", asked.get("dataset")), None, None)
    common = asked.get("settings", {})
    if not isinstance(common, dict):
        raise reader.wrong(f"settings is {common!r}: write 'key: value' lines")
    seeds = reader.seeds("seeds", asked.get("seeds", 1))
    cells = []
    for label, keys in rows.items():
        cells += _cells(reader, str(label), keys, {"protocol": PROTOCOLS, **common}, datasets, seeds, out, settings)
    of_a_row = {}
    for cell in cells:
        of_a_row.setdefault((cell.row, cell.dataset), []).append(cell.seed)
    cells.sort(key=lambda cell: of_a_row[cell.row, cell.dataset].index(cell.seed))  # all first seeds before any second
    labels = [str(label) for label in rows]
    models = {cell.row: cell.keys["model"] for cell in cells}
    ours = reader.names("ours", asked.get("ours"), labels, [label for label in labels if models[label] in METHODS])
    tables = asked.get("tables", {"Results": {}})
    if not isinstance(tables, dict):
        raise reader.wrong(f"tables is {tables!r}: write 'title: {{...}}' lines")
    tables = [_table(reader, str(title), table or {}, labels, datasets) for title, table in tables.items()]
    for table in tables:
        _check_slices(reader, table, cells)
    figures = {
        str(title): read_figure(reader, title, found, labels, datasets, cells)
        for title, found in (asked.get("figures") or {}).items()
    }
    title = str(asked.get("title") or reader.file.stem)
    return Study(title, str(asked.get("text") or ""), cells, ours, tables, figures, datasets)


def _cells(reader, label, keys, common, datasets, seeds, out, settings):
    """Cells of one row."""
    if not isinstance(keys, dict) or not keys.get("model"):
        raise reader.wrong(f"row {label} is {keys!r}: write at least model: NAME")
    if not label.strip(". ") or set(label) & set("/\\,"):  # the label names a folder and can be given in --rows=A,B
        raise reader.wrong(f"row '{label}' can't name a folder: take letters, digits, blanks, _ - . =")
    for key, reason in FIXED.items():
        if key in keys or key in common or key in settings:
            raise reader.wrong(f"row {label} sets {key}, which a row can't set: {reason}")
    seeds = reader.seeds(f"row {label}", keys["seeds"]) if "seeds" in keys else seeds
    own_datasets = reader.names(f"datasets of row {label}", keys.get("datasets"), datasets, datasets)
    own = {key: value for key, value in keys.items() if key not in ROW_ONLY}
    folder = label.replace(" ", "_")
    return [
        Cell(
            label,
            dataset,
            seed,
            {**common, **own, **settings, "dataset": dataset, "seed": seed},
            out / dataset / folder / f"seed-{seed}",
        )
        for dataset in own_datasets
        for seed in seeds
    ]


def _table(reader, title, asked, labels, datasets):
    reader.known(f"table {title}", asked, KEYS["table"])
    kind = asked.get("kind", "quality")
    if kind not in TABLE_KINDS:
        raise reader.wrong(f"table {title} has kind {kind}: choose one of {', '.join(TABLE_KINDS)}")
    unused = [key for key in ("protocol", "metrics") if key in asked and kind == "codebooks"]
    if unused:
        raise reader.wrong(f"table {title} of kind codebooks has no {' and no '.join(unused)}: leave the key out")
    baseline = asked.get("baseline")
    if baseline is not None:
        (baseline,) = reader.names(f"baseline of table {title}", [baseline], labels, None)
    return TableSpec(
        title,
        kind,
        reader.names(f"rows of table {title}", asked.get("rows"), labels, labels),
        reader.names(f"datasets of table {title}", asked.get("datasets"), datasets, datasets),
        reader.names(f"protocol of table {title}", asked.get("protocol"), PROTOCOLS + SLICES, PROTOCOLS),
        reader.names(f"metrics of table {title}", asked.get("metrics"), None, METRICS),
        baseline,
        asked.get("published") or {},
        str(asked.get("published_source") or ""),
        str(asked.get("text") or ""),
    )


def _check_slices(reader, table, cells):
    """Raises ValueError if a table shows warm and cold targets of rows without split: cold_items."""
    shown = [protocol for protocol in table.protocols if protocol in SLICES]
    without = [cell.row for cell in cells if cell.row in table.rows and cell.keys.get("split") != "cold_items"]
    if shown and without:
        raise reader.wrong(f"table {table.title} shows {shown[0]} of {without[0]}: give that row split: cold_items")

"""recbole_unirep.study.figure_specs: reads the figures of a study file."""

from recbole_unirep.modules.representation import REPRESENTATIONS
from recbole_unirep.study.defaults import METRICS, PROTOCOLS

RUN_FIGURES = (
    "learning_curve",
    "codebook_usage",
    "codes_by_category",
    "codebook_maps",
    "item_maps_by_code",
    "item_maps_by_category",
)
BY_ID_DIMENSION, ID_DIMENSION = "quality_by_id_dimension", "id_embedding_size"
LEARNING_CURVES = "learning_curves"
OF_ROWS = (BY_ID_DIMENSION, LEARNING_CURVES)
FIGURE_KEYS = {
    BY_ID_DIMENSION: ("kind", "rows", "protocol", "metrics", "dataset", "text"),
    LEARNING_CURVES: ("kind", "rows", "dataset", "text"),
    **dict.fromkeys(RUN_FIGURES, ("kind", "row", "seed", "dataset", "text")),
}


def id_dimension(cell):
    """Dimensions of a cell's ID embedding.

    Returns:
        int or None: 0 if its representation has no ID; None if its keys do not set it. Without semantic embeddings the
            size is code_dim.
    """
    representation = REPRESENTATIONS.get(cell.keys.get("representation"))
    if representation and not representation.has_id:
        return 0
    return None if representation and not representation.has_semantic else cell.keys.get(ID_DIMENSION)


def read_figure(reader, title, asked, labels, datasets, cells):
    """Checks a figure's description and fills in defaults.

    Args:
        reader (Reader): reader of the study file.
        title (str): title of the figure.
        asked (object): its description in the file.
        labels (list of str): rows of the study.
        datasets (list of str): datasets of the study.
        cells (list of Cell): cells of the study.

    Returns:
        dict: kind, dataset, text, and the keys of the kind.

    Raises:
        ValueError: the description has a mistake.
    """
    kind = asked.get("kind") if isinstance(asked, dict) else None
    if kind not in FIGURE_KEYS:
        raise reader.wrong(f"figure {title} is {asked!r}: give kind, one of {', '.join(FIGURE_KEYS)}")
    reader.known(f"figure {title}", asked, FIGURE_KEYS[kind])
    found = {"dataset": datasets[0], "text": "", **asked}
    reader.names(f"dataset of figure {title}", found["dataset"], datasets, None)
    if kind in OF_ROWS:
        found["rows"] = reader.names(f"rows of figure {title}", found.get("rows"), labels, labels)
    if kind == LEARNING_CURVES:
        return found
    if kind == BY_ID_DIMENSION:
        found = {"protocol": "uni99", **found}
        found["metrics"] = reader.names(f"metrics of figure {title}", found.get("metrics"), None, METRICS)
        reader.names(f"protocol of figure {title}", found["protocol"], PROTOCOLS, None)
        for cell in cells:
            if cell.row in found["rows"] and id_dimension(cell) is None:
                raise reader.wrong(f"figure {title}: row {cell.row} sets no {ID_DIMENSION}")
        return found
    row = reader.names(f"row of figure {title}", found.get("row"), labels, labels[:1])[0]
    seeds = [cell.seed for cell in cells if (cell.row, cell.dataset) == (row, found["dataset"])]
    if found.get("seed", seeds[0] if seeds else None) not in seeds:
        raise reader.wrong(f"figure {title}: {row} on {found['dataset']} has seeds {seeds}, not {found.get('seed')}")
    return {"seed": seeds[0], **found, "row": row}

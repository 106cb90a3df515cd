"""recbole_unirep.commands.add_items: `unirep add-items` adds new items to a finished run, without training."""

from pathlib import Path

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import argument, key_option, option, run_argument, run_data_path
from recbole_unirep.commands.types import OneOf, Place, Switch, Text


@command(
    "add-items", example="unirep add-items runs/ml-100k-UniRep-20261124-024401 new_items.csv --id_fallback=nearest"
)
@run_argument
@argument("new_items", "NEW_ITEMS", "a file of new items, .csv, .tsv or .jsonl, one row each", type=Place("FILE"))
@option(
    "--id_fallback",
    OneOf("mean", "zero", "nearest"),
    "ID embedding of the new items: the mean of the trained ones, zeros, or that of the item with the nearest text.",
    shown="the run's cold_id_embedding",
)
@option(
    "--vectors",
    Text('"A.npy B.npy"'),
    "Text vectors of the new items, one file per encoder of the run, each with a NAME.json that lists the items.",
    shown="the texts are encoded",
)
@run_data_path
@key_option("--use_gpu", Switch(), "Use a GPU if there is one.", shown="the run's")
@key_option("--gpu_id", Text("N"), "Which GPU.", shown="the run's")
@key_option("--text_device", Text("NAME"), "Device of the sentence encoder.", shown="the run's")
@key_option("--text_batch_size", Text("N"), "Sentences per batch of the encoder.", shown="the run's")
def add_items(run, new_items, id_fallback, vectors, data_path, keys):
    """Add new items to a finished UniRep, VQRec or TextKNN, without training.

    The run recommends them from then on. The file needs the dataset's item column and the columns of the run's item
    text. The run's encoder gives the items text vectors, and its frozen tokenizer gives them codes.
    """
    from recbole_unirep.runs.folder import ADDED
    from recbole_unirep.runs.log import RunLog
    from recbole_unirep.serving.add_items import add_items as add_to_run

    with RunLog(speaks=False):
        added = add_to_run(run, new_items, vectors and vectors.split(), id_fallback, data_path, **keys)
    batch, embedded = added.batches[-1], added.embedded
    parts = [f"text vectors {batch['vectors']} ({embedded.text.shape[1]} dimensions)"]
    if embedded.codes is not None:
        parts.append(f"{embedded.codes.shape[1]} codes")
    if batch["id_fallback"] is not None:
        parts.append(f"ID fallback {batch['id_fallback']}")
    print(f"{Path(run) / ADDED}: {batch['n_items']} items added, {len(added.items)} in all; {', '.join(parts)}")

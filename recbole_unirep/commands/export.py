"""recbole_unirep.commands.export: `unirep export` writes a run as plain files, or a bundle as training data."""

from pathlib import Path

import click

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import DATASET, argument, key_option, option
from recbole_unirep.commands.types import OneOf, Place, Switch, Text, Whole


@command("export", takes_keys=True, example="unirep export runs/ml-100k-UniRep-20261124-024401 --out=export")
@argument(
    "folder", "FOLDER", "the folder of a finished run, or of a bundle for --format=instructions", type=Place("FOLDER")
)
@option("--format", OneOf("run", "instructions"), "What to export.", default="run")
@option("--out", Place("FOLDER"), "Folder to write.", shown="FOLDER/export, FOLDER/instructions")
@option("--overwrite", Switch(), "Replace an existing export.", default="False")
@option(
    "--data_path", Place("FOLDER"), "Current folder of the datasets.", shown="the folder that the run used, or dataset/"
)
@key_option("--dataset", Text("NAME"), f"For instructions: {DATASET}", shown="none")
@option("--max_history", Whole(1), "For instructions: maximum items per history.", shown="10")
@key_option("--seed", Text("N"), "For instructions: seed that draws the wording of each line.")
def export(folder, format, out, overwrite, data_path, max_history, keys):
    """Export a finished run as safetensors, ONNX and JSON, or a bundle as training data.

    An exported run works without its data and without RecBole; checksums protect its files. --format=instructions
    writes prompts and responses for tuning a language model to write semantic IDs; it takes config keys of data and
    split.
    """
    from recbole_unirep.runs.log import RunLog

    if format == "instructions":
        from recbole_unirep.serving.instructions import export_instructions

        keys = keys if data_path is None else {**keys, "data_path": data_path}
        out = Path(out or Path(folder) / "instructions")
        counts = export_instructions(folder, out, 10 if max_history is None else max_history, overwrite, keys)
        for split, tasks in counts.items():
            print(f"{out}/{split}.jsonl: " + ", ".join(f"{count} {task}" for task, count in tasks.items()))
        return
    given = [*keys, *([] if max_history is None else ["max_history"])]
    command = click.get_current_context().command
    if given and given[0] in command.options:
        raise ValueError(f"--{given[0]} is for --format=instructions: leave it out, or add that")
    if given:
        raise command.no_such_option(given[0])
    from recbole_unirep.serving.export import export_run

    with RunLog(speaks=False):
        out = Path(out or Path(folder) / "export")
        manifest = export_run(folder, out, data_path, overwrite)
    size = sum(file["bytes"] for file in manifest["files"].values())
    print(f"{out}: {manifest['model']} on {manifest['dataset']}, {manifest['n_items']} items, {size / 1e6:.1f} MB")
    print(manifest["scores"], flush=True)

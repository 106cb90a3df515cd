"""recbole_unirep.commands.compare: `unirep compare` shows several models in one table."""

from pathlib import Path

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import DATASET, argument, data_path_key, option
from recbole_unirep.commands.types import Names, Place, Text
from recbole_unirep.study.defaults import METRICS, PROTOCOLS

NOT_IN_CELLS = {
    "run_dir": "each run has its own folder under --out",
    "resume": "the same command continues",
    "seed": "use --seeds=3 or --seeds=2020,2021,2022",
    "model": "use --models=UniRep,SASRec",
}


@command(
    "compare", takes_keys=True, example="unirep compare --dataset=ml-100k --models=UniRep,SASRec --SASRec.epochs=50"
)
@argument("runs", "RUN", "folders of finished runs, instead of --models", nargs=-1, type=Place("FOLDER"))
@option("--models", Names("A,B"), "Models to train.", shown="none")
@option("--dataset", Text("NAME"), DATASET, shown="none")
@option("--seeds", Text("N|A,B"), "Number of seeds, counted from 2020, or a list of seeds.", shown="3")
@option("--protocol", Names("A,B"), "Protocols, one table each.", shown=f"{','.join(PROTOCOLS)}; for RUN, its own")
@option("--metrics", Names("A,B"), "Metrics shown.", default=",".join(METRICS))
@option(
    "--ours", Names("A,B"), "Models whose gains over the best other model are shown.", shown="those of this package"
)
@option("--out", Place("FOLDER"), "Folder of runs and tables.", shown="runs/compare-DATASET; for RUN, none")
@data_path_key
def compare(runs, models, dataset, seeds, protocol, metrics, ours, out, keys):
    """Compare models in one table, with significance tests: trained here, or finished runs.

    Trains each of --models with every seed; the same command continues after an interruption. Config keys apply to
    every model, --MODEL.KEY=VALUE to one. The tables are printed and written as CSV, Markdown and LaTeX.
    """
    if runs:
        grid = {"models": models, "dataset": dataset, "seeds": seeds}
        unusable = [*keys, *(name for name, value in grid.items() if value is not None)]
        if unusable:
            raise ValueError(f"--{unusable[0]} is for training, but finished runs were given: leave it out")
        from recbole_unirep.study.compare_models import compare_finished

        return compare_finished(runs, protocol, metrics, ours, None if out is None else Path(out))
    for key, reason in NOT_IN_CELLS.items():
        if key in keys:
            raise ValueError(f"compare takes no --{key}: {reason}")
    for name, value, example in (("dataset", dataset, "ml-100k"), ("models", models, "UniRep,SASRec")):
        if value is None:
            raise ValueError(f"compare needs --{name}: write e.g. --{name}={example}, or name folders of finished runs")

    from recbole_unirep.study.cells import parse_seeds
    from recbole_unirep.study.compare_models import compare_models

    seeds, out = parse_seeds(seeds or "3"), Path(out or f"runs/compare-{dataset}")
    return compare_models(models, dataset, seeds, protocol or PROTOCOLS, metrics, ours, out, keys)

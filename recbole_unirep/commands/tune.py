"""recbole_unirep.commands.tune: `unirep tune` searches settings on validation."""

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import DATASET, data_path_key, option
from recbole_unirep.commands.types import Names, Place, Text, Whole
from recbole_unirep.settings.shipped import shipped_names

NOT_IN_TRIALS = {
    "protocol": "trials are judged only on validation",
    "run_dir": "each trial has its own folder under --out",
    "resume": "the same command continues",
    "nproc": "trials run in one process",
}


@command("tune", takes_keys=True, example="unirep tune --models=UniRep,SASRec --dataset=ml-100k --trials=30")
@option("--models", Names("A,B"), "Models to tune.", shown="none")
@option("--model", Names("NAME"), "Model to tune, if there is only one.", shown="none")
@option("--dataset", Text("NAME"), DATASET, is_needed=True)
@option("--trials", Whole(1), "Trials of each model.", default="20")
@option(
    "--space",
    Text("NAME|FILE", lambda: shipped_names("space")),
    "Search space: a YAML file, or a name in properties/space.",
    default="default",
)
@option("--prune_after", Whole(0), "Epochs before a trial below the median can be stopped.", default="5")
@option("--out", Place("FOLDER"), "Folder of the trials.", shown="runs/tune-DATASET")
@data_path_key
def tune(models, model, dataset, trials, space, prune_after, out, keys):
    """Search settings on validation, with the same number of trials for each model.

    The models take turns. The same command continues, also within an interrupted trial. The best
    settings of a model are in FOLDER/MODEL/best.yaml, for run_recbole --config_files. Config keys apply to every trial.
    """
    for key, reason in NOT_IN_TRIALS.items():
        if key in keys:
            raise ValueError(f"tune takes no --{key}: {reason}")
    if (model is None) == (models is None):
        raise ValueError("tune needs either --model or --models: write e.g. --models=UniRep,SASRec")

    from recbole_unirep.study.tuning import tune_models

    return tune_models(models or model, dataset, space, trials, prune_after, out, keys)

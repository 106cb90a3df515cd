"""recbole_unirep.commands.import_recbole: `unirep import-recbole` turns a RecBole checkpoint into a run."""

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import argument, data_path_key, key_option, option
from recbole_unirep.commands.types import Place, Switch, Text
from recbole_unirep.compat.pickle_guard import FLAG


@command(
    "import-recbole",
    takes_keys=True,
    example=f"unirep import-recbole saved/SASRec-Nov-25-2026_18-49-28.pth --{FLAG}=True",
)
@argument("checkpoint", "FILE.pth", "a checkpoint that RecBole itself saved", type=Place("FILE"))
@option(f"--{FLAG}", Switch(), "Load the file although it is a pickle, which can run any code.", default="False")
@option("--run_dir", Place("FOLDER"), "Folder of the run.", shown="a new one under runs/")
@data_path_key
@key_option("--protocol", Text("NAMES"))
def import_recbole(checkpoint, unsafe_pickle, run_dir, keys):
    """Turn a checkpoint of RecBole into a run folder, ranked on the test items.

    Config keys override those in the file.
    """
    from recbole_unirep.study.recbole_checkpoint import import_checkpoint

    return import_checkpoint(checkpoint, unsafe_pickle, run_dir, keys)

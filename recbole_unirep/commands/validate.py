"""recbole_unirep.commands.validate: `unirep validate` checks a dataset's files as RecBole will read them."""

from pathlib import Path

from recbole_unirep.commands.command import command
from recbole_unirep.commands.dataset_files import DATA_PATH, log_to_stdout, separator_of
from recbole_unirep.commands.parameters import argument, option
from recbole_unirep.commands.types import Place, Text


@command("validate", needs_recbole=False, example="unirep validate beauty --data_path=FOLDER")
@argument("dataset", "DATASET", "the name of a dataset")
@option("--data_path", Place("FOLDER"), "Folder that holds the datasets' folders.", default=DATA_PATH)
@option("--USER_ID_FIELD", Text("COLUMN"), "User column.", default="user_id")
@option("--ITEM_ID_FIELD", Text("COLUMN"), "Item column.", default="item_id")
@option("--TIME_FIELD", Text("COLUMN"), "Time column.", default="timestamp")
@option("--field_separator", Text("CHARACTER"), "Between columns.", default="tab")
@option("--memory", Text("SIZE"), "Memory limit of the database.", default="2GB")
def validate(dataset, data_path, user_id_field, item_id_field, time_field, field_separator, memory):
    """Check a dataset's files as RecBole will read them; the exit code is 1 if it stops or reads them wrongly.

    Errors are what RecBole stops at, drops or misreads; warnings are what silently changes the task.
    """
    separator = separator_of(field_separator)
    if len(separator) != 1:
        raise ValueError(f"field_separator='{separator}' is not one character: give one, or tab")

    from dataset_prep.validate import Fields
    from dataset_prep.validate import validate as validate_files

    fields = Fields(user_id_field, item_id_field, time_field, separator)
    with log_to_stdout():
        return validate_files(Path(data_path), dataset, fields, memory)

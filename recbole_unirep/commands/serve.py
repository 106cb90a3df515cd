"""recbole_unirep.commands.serve: `unirep serve` serves a finished run or an export over HTTP."""

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import INDEXES, argument, option, ranking_keys, run_data_path
from recbole_unirep.commands.types import OneOf, Place, Switch, Text, Whole


@command("serve", needs_recbole=False, example="unirep serve runs/ml-100k-UniRep-20261124-024401 --port=8000")
@argument("folder", "RUN", "the folder of a finished run or of an export", type=Place("FOLDER"))
@option("--port", Whole(0, 65535), "Port to listen on; 0 picks a free one.", default="8000")
@option("--host", Text("ADDRESS"), "Address to listen on; 0.0.0.0 also answers other machines.", default="127.0.0.1")
@option("--index", OneOf(*INDEXES), "How to search the items of a run.", shown="exact")
@run_data_path
@ranking_keys
@option("--debug", Switch(), "Show the traceback of an error, and log requests.", default="False")
def serve(folder, port, host, index, data_path, debug, keys):
    """Serve a finished run or an export over HTTP, with a page to try it.

    On the page you pick items and see recommendations. Ctrl-C stops the server. There is no password; the server
    answers other machines only if --host is set to allow it.
    """
    from recbole_unirep.serving.server import serve_folder

    given = {"index": index, "data_path": data_path, **keys}
    options = {key: value for key, value in given.items() if value is not None}
    serve_folder(folder, host, port, options, logs_requests=debug)

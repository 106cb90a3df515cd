"""recbole_unirep.commands.figures: `unirep figures` draws a finished run."""

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import option, run_argument, run_data_path
from recbole_unirep.commands.types import Place, Text


@command("figures", example="unirep figures runs/ml-100k-UniRep-20261124-024401")
@run_argument
@option("--out", Place("FOLDER"), "Folder of the figures.", shown="RUN/figures")
@run_data_path
@option(
    "--category_field", Text("COLUMN"), "Column of the .item file with the items' categories.", shown="a usual name"
)
def figures(run, out, data_path, category_field):
    """Draw a finished run: learning curve, codebook usage, items by category, t-SNE.

    Each figure is written as PNG and SVG, and as JSON with its caption and numbers.
    """
    from recbole_unirep.study.run_figures import write_run_figures

    for path in write_run_figures(run, out, data_path, category_field):
        print(path, flush=True)

"""recbole_unirep.commands.inspect_ids: `unirep inspect` checks the health of semantic IDs."""

from recbole_unirep.commands.command import command
from recbole_unirep.commands.parameters import argument, option
from recbole_unirep.commands.types import Place, Share, Text


@command("inspect", example="unirep inspect semantic_ids/amazon-beauty-RQKMeans --data_path=FOLDER --item=B000052YAN")
@argument("folder", "BUNDLE|RUN", "the folder of a bundle or of a finished run", type=Place("FOLDER"))
@option(
    "--data_path",
    Place("FOLDER"),
    "Current folder of the datasets; a bundle's dataset is read only if this is given.",
    shown="the folder that the run used",
)
@option("--item", Text("TOKEN"), "Show the neighbours of this item.", shown="none")
@option("--min_usage", Share(), "Minimum share of a level's codes that items use.", default="0.5")
@option("--min_perplexity", Share(), "Minimum perplexity of a level, as a share of its codes.", default="0.1")
@option("--min_coverage", Share(), "Minimum number of distinct IDs, as a share of the items.", default="0.8")
@option("--out", Place("FOLDER"), "Folder of the CSV, JSON and HTML files.", shown="FOLDER/inspection")
def inspect_ids(folder, data_path, item, min_usage, min_perplexity, min_coverage, out):
    """Check whether semantic IDs are healthy; the exit code is 1 if they are not.

    Prints usage, perplexity, entropy, dead codes and distortion of each level, the purity of category and
    brand under ID prefixes, and the items that share an ID.
    """
    from recbole_unirep.analysis.health import Thresholds
    from recbole_unirep.study.inspect_ids import inspect_folder

    thresholds = Thresholds(usage=min_usage, perplexity=min_perplexity, coverage=min_coverage)
    return inspect_folder(folder, thresholds, item, data_path, out)
